"""A server: POST a photo to /deblur, and the sharper one comes back.

pip install fastapi[standard] golfdeblur, then: fastapi run examples/server.py
"""

import threading

from fastapi import FastAPI, HTTPException, Response, UploadFile

import golfdeblur

LARGEST = 50 * 2**20
app = FastAPI()
model = golfdeblur.load(max_memory=2 * 2**30, max_pixels=50_000_000)
turn = threading.Lock()  # one photo uses all cores; more at once would take memory and no less time


@app.post("/deblur")
def deblur(photo: UploadFile, strength: float = 1.0) -> Response:
    """Return the deblurred photo in its own format; FastAPI runs this in a thread of its own."""
    content = photo.file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise HTTPException(413, f"The photo has more than {LARGEST >> 20} MB; send a smaller one.")
    try:
        with turn:
            return Response(model.deblur_bytes(content, strength=strength), media_type="application/octet-stream")
    except golfdeblur.GolfError as error:
        raise HTTPException(422, str(error)) from error
