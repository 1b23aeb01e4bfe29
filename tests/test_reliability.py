"""The campaign: damaged input, killed runs, full disks, many threads (make test-slow; figures in docs/reliability.md).

GOLF_CAMPAIGN scales the counts: 1 is the whole campaign, which takes hours; a hundredth if it is not set.
"""

import http.client
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

import golfdeblur
from golfdeblur import page
from golfdeblur.album import MANIFEST, file_hash

from .conftest import GUARD_S
from .test_cli import golf

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="signals and limits are other things there"),
]

ROOT = Path(__file__).parent.parent
SCALE = float(os.environ.get("GOLF_CAMPAIGN", "0.01"))


def scaled(count: int) -> int:
    return max(2, round(count * SCALE))


@pytest.mark.parametrize(
    ("what", "kind", "count"),
    [
        *(("images", kind, 10_000) for kind in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF")),
        *(("clips", kind, 2_000) for kind in ("mp4", "mkv")),
        *(("models", file, 1_000) for file in ("config.json", "F.onnx", "G.onnx")),
    ],
)
def test_damaged_input_gives_a_result_or_one_sentence(what: str, kind: str, count: int) -> None:
    """No crash, no other exception, no hang, no memory over the limit, nothing left behind (campaign.py)."""
    command = [sys.executable, "-m", "tests.campaign", what, kind, "0", str(scaled(count))]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=GUARD_S * SCALE * 100 + GUARD_S, check=False
    )
    lines = result.stdout.splitlines()
    assert result.returncode == 0, (result.returncode, lines[-1:], result.stderr[-2000:])
    assert sum(json.loads(lines[-1]).values()) == scaled(count)
    print(what, kind, lines[-1])


def test_damaged_safetensors_give_a_network_or_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from golfdeblur.errors import GolfError
    from golfdeblur.learning import checkpoint
    from golfdeblur.learning.networks import ResidualUNet

    from .campaign import mutated

    checkpoint.save_network(tmp_path / "F.safetensors", ResidualUNet((4, 8), (1, 1)), {})
    content, rng = (tmp_path / "F.safetensors").read_bytes(), np.random.default_rng(0)
    for _ in range(scaled(1_000)):
        (tmp_path / "F.safetensors").write_bytes(mutated(content, rng))
        try:
            checkpoint.load_network(tmp_path / "F.safetensors")
        except GolfError:
            continue


@pytest.fixture
def album(tmp_path: Path, photo: np.ndarray) -> Path:
    """A folder of small pictures, one in a hundred of them damaged."""
    folder = tmp_path / "album"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(max(10, scaled(1_000))):
        height, width = rng.integers(8, 40, 2)
        Image.fromarray(photo[:height, :width]).save(folder / f"{index:04}.png")
    for index in range(0, max(10, scaled(1_000)), 100):
        (folder / f"{index:04}.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {p.name: file_hash(p) for p in folder.iterdir() if p.name != MANIFEST}


def command(album: Path, out: Path, model: Path) -> list[str]:
    words = [
        sys.executable,
        "-m",
        "golfdeblur",
        "deblur",
        album,
        "-r",
        "--out-dir",
        out,
        "-m",
        model,
        "--steps",
        1,
        "-q",
    ]
    return [str(word) for word in words]


def test_a_folder_interrupted_by_two_processes_is_as_one_clean_run(
    album: Path, tmp_path: Path, tiny_model: Path
) -> None:
    clean, out = tmp_path / "clean", tmp_path / "out"
    subprocess.run(command(album, clean, tiny_model), capture_output=True, timeout=GUARD_S, check=False)
    for chance in range(5):
        both = [subprocess.Popen(command(album, out, tiny_model), stderr=subprocess.DEVNULL) for _ in range(2)]
        time.sleep(random.Random(chance).uniform(0.5, 4))
        for process in both:
            process.send_signal(signal.SIGKILL if chance % 2 else signal.SIGINT)
            process.wait(GUARD_S)
    last = subprocess.run(command(album, out, tiny_model), capture_output=True, text=True, timeout=GUARD_S, check=False)
    assert "Traceback" not in last.stderr
    assert hashes(out) == hashes(clean)
    bad = len(range(0, max(10, scaled(1_000)), 100))
    assert f"{bad} failed, as named above" in last.stderr


def ended_at_random(words: list[object], whole: Callable[[], bool], *, seed: int, longest_s: float) -> None:
    """Kill a command at random moments; `whole` tells each time whether what lies there is right."""
    chance = random.Random(seed)
    for index in range(scaled(200)):
        process = subprocess.Popen(
            [sys.executable, "-m", "golfdeblur", *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        time.sleep(chance.uniform(0, longest_s))
        process.send_signal(signal.SIGKILL if index % 2 else signal.SIGTERM)
        _, said = process.communicate(timeout=GUARD_S)
        assert b"Traceback" not in said
        assert whole(), index


def lasts(words: list[object]) -> float:
    started = time.perf_counter()
    result = golf(*words)
    assert result.returncode == 0, result.stderr
    return time.perf_counter() - started


def test_a_killed_photo_is_the_old_or_the_new_one(tmp_path: Path, jpeg: Path, tiny_model: Path) -> None:
    out = tmp_path / "out.jpg"
    words = ["deblur", jpeg, "-o", out, "-m", tiny_model, "--force", "-q"]
    longest_s = lasts(words)
    new = file_hash(out)
    out.write_bytes(b"old")
    old = file_hash(out)
    ended_at_random(words, lambda: file_hash(out) in (old, new), seed=1, longest_s=longest_s)
    assert golf(*words).returncode == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.jpg", "photo.jpg"]


def test_a_killed_clip_is_the_old_or_the_new_one(tmp_path: Path, tiny_model: Path) -> None:
    source, out = tmp_path / "in.mp4", tmp_path / "out.mp4"
    shutil.copy(Path(__file__).parent / "cases" / "interlaced.mp4", source)
    words = ["video", source, "-o", out, "-m", tiny_model, "--force", "-q"]
    longest_s = lasts(words)
    new = file_hash(out)
    out.write_bytes(b"old")
    old = file_hash(out)
    ended_at_random(words, lambda: file_hash(out) in (old, new), seed=2, longest_s=longest_s)
    assert golf(*words).returncode == 0
    assert {p.name for p in tmp_path.iterdir()} <= {"in.mp4", "out.mp4", "out-partial.mp4"}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".bmp"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, photo: np.ndarray, tiny_model: Path, suffix: str) -> None:
    """Files of this process may not grow over a limit, which is what a full disk is to it."""
    source, out = tmp_path / "in.png", tmp_path / f"out{suffix}"
    Image.fromarray(photo).save(source)
    words = ["deblur", source, "-o", out, "-m", tiny_model, "--force", "-q"]
    assert golf(*words).returncode == 0
    size = out.stat().st_size
    chance = random.Random(3)
    for limit in [0, 1, size - 1, *(chance.randrange(size) for _ in range(scaled(100)))]:
        out.write_bytes(b"")  # what was there, and fits

        def limited(limit: int = limit) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        result = golf(*words, preexec_fn=limited)
        assert result.returncode == 1
        assert "cannot be written" in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert out.read_bytes() == b""
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted([source.name, out.name])


def test_a_model_serves_many_threads_without_growing(tiny_model: Path, photo: np.ndarray) -> None:
    model, rng = golfdeblur.load(tiny_model, threads=1), np.random.default_rng(0)
    cuts = [(int(h), int(w)) for h, w in rng.integers(8, 90, (20, 2))]
    expected = [model.deblur(photo[:h, :w]) for h, w in cuts]

    def work(seed: int) -> bool:
        order = np.random.default_rng(seed).integers(0, len(cuts), scaled(1_000))
        return all(np.array_equal(model.deblur(photo[: cuts[i][0], : cuts[i][1]]), expected[i]) for i in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    before = psutil.Process().memory_info().rss
    for index in range(scaled(5_000)):
        model.deblur(photo[: 20 + index % 60, : 30 + index % 90])
    assert psutil.Process().memory_info().rss - before < 50 << 20


ODD = [
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET //etc/passwd HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET /..%5c..%5csecret HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET /%00 HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET /link HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc",
    b"PUT /index.html HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc",
    b"DELETE /index.html HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: {host}\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: {host}\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"\r\n\r\n",
    b"",
]


def test_odd_requests_get_nothing(tmp_path: Path) -> None:
    root = tmp_path / "page"
    root.mkdir()
    (root / "index.html").write_text("the page")
    (tmp_path / "secret").write_text("outside")
    (root / "link").symlink_to(tmp_path / "secret")
    server = page.serve(root, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address, chance = server.server_address[:2], random.Random(0)
    assert address[0] == "127.0.0.1"
    host = f"127.0.0.1:{address[1]}".encode()
    try:
        for index in range(max(len(ODD), scaled(1_000))):
            request = ODD[index % len(ODD)].replace(b"{host}", host)
            if index >= len(ODD) and request:
                place = chance.randrange(len(request))
                request = request[:place] + bytes([chance.randrange(256)]) + request[place + 1 :]
            with socket.create_connection(address, timeout=GUARD_S) as sent:
                sent.sendall(request)
                sent.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: sent.recv(65536), b""))
            assert b"outside" not in answer
            assert b"root:" not in answer
            if index < len(ODD):
                assert b" 200 " not in answer.partition(b"\r\n")[0]
        connection = http.client.HTTPConnection(*address, timeout=GUARD_S)
        connection.request("GET", "/index.html")
        assert connection.getresponse().read() == b"the page"
        assert (root / "index.html").read_text() == "the page"
    finally:
        server.shutdown()
        server.server_close()
