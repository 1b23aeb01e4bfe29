"""A Space of one screen: a photo in, a sharper one out. It needs Gradio and golfdeblur, no torch."""

import gradio
from PIL import Image

import golfdeblur

MODEL = golfdeblur.load()


def deblur(photo: Image.Image | None, strength: float, strokes: int) -> tuple[Image.Image, Image.Image]:
    """Return the photo and its result, for the slider that compares them."""
    if photo is None:
        raise gradio.Error("There is no photo yet; choose one first.")
    try:
        return photo, MODEL.deblur(photo, steps=int(strokes), strength=strength)
    except golfdeblur.GolfError as error:
        raise gradio.Error(str(error)) from error


demo = gradio.Interface(
    deblur,
    [
        gradio.Image(type="pil", label="Blurry photo"),
        gradio.Slider(0, 1, value=1, label="Strength"),
        gradio.Slider(0, 10, value=3, step=1, label="Corrections"),
    ],
    gradio.ImageSlider(type="pil", label="Before and after"),
    title="golfdeblur",
    description="Takes the motion blur of a hand or a subject out of photographs. It does not mend defocus.",
)

if __name__ == "__main__":
    demo.launch()
