"""Measure how like real blur the synthetic is: what F gains on each, and on blur of every length.

    python research/scripts/likeness.py F.safetensors gopro240.mp4 PHOTOS

First, runs of 11 frames of the video are averaged, and the middle frame is blurred synthetically by the same motion,
known ever more closely: one shift for the whole crop, an affine motion, the optical flow. Then longer and longer runs
of frames are averaged. Last, held-out photographs are blurred along bent paths of growing length. Needs the extra
`train` and opencv-python-headless.
"""

import dataclasses
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from golfdeblur.learning import blur, checkpoint, data, golf, sources

FRAMES, CROP_PX, MARGIN_PX = 11, 320, 96
CORNERS = ((120, 150), (200, 480), (120, 800))
ROWS, COLUMNS = slice(150, 550), slice(300, 1004)
LENGTHS_PX = ((2, 8), (8, 16), (16, 24), (24, 32), (32, 40), (40, 50), (50, 60))
PHOTOS = 36


def psnr_db(a: Tensor, b: Tensor) -> Tensor:
    """Return the PSNR of every image of two batches."""
    return -10 * torch.log10(((a - b) ** 2).mean((1, 2, 3)))


def gain(f: golf.Propagator, blurry: Tensor, sharp: Tensor) -> tuple[float, float]:
    """Return the mean PSNR of the blurry images, as files have them, and what F adds."""
    y = (255 * blurry.clamp(0, 1)).round() / 255
    with torch.no_grad():
        made = torch.cat([f(part).clamp(0, 1) for part in y.split(4)])
    before = psnr_db(y, sharp)
    return float(before.mean()), float((psnr_db(made, sharp) - before).mean())


def images(frames: list[np.ndarray]) -> Tensor:
    """Return (H, W, 3) arrays as a batch."""
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float()


def motions(flow: np.ndarray) -> dict[str, np.ndarray]:
    """Return a measured flow, (H, W, 2), and the affine motion and the shift that come nearest to it in the crop."""
    rows, columns = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float32)
    place = np.stack([columns, rows, np.ones_like(rows)], -1)
    inner = (slice(MARGIN_PX, -MARGIN_PX),) * 2
    x, y, weights = place[inner].reshape(-1, 3), flow[inner].reshape(-1, 2), 1.0
    for _ in range(5):  # iteratively reweighted: people walk through
        found = np.linalg.lstsq(x * weights, y * weights, rcond=None)[0]
        weights = 1 / np.sqrt(1 + (np.hypot(*(y - x @ found).T)[:, None] / 0.5) ** 2)
    return {
        "one shift": np.broadcast_to(np.median(y, 0), flow.shape),
        "affine": (place.reshape(-1, 3) @ found).reshape(flow.shape),
        "optical flow": flow,
    }


def moved(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return `image` sampled at every pixel plus its flow."""
    rows, columns = np.mgrid[: flow.shape[0], : flow.shape[1]]
    x, y = ((n + flow[..., i]).astype(np.float32) for i, n in enumerate((columns, rows)))
    return cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def print_same_motion(f: golf.Propagator, video: Tensor) -> None:
    """Compare real averages with blur made of the middle frame by the same motion."""
    finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    inner = (slice(MARGIN_PX, -MARGIN_PX),) * 2
    made: dict[str, list[np.ndarray]] = {}
    sharp, middle = [], FRAMES // 2
    for first in range(0, len(video) - FRAMES + 1, 36):
        for top, left in CORNERS:
            side = CROP_PX + 2 * MARGIN_PX
            rows = slice(top - MARGIN_PX, top - MARGIN_PX + side)
            columns = slice(left - MARGIN_PX, left - MARGIN_PX + side)
            clip = video[first : first + FRAMES, :, rows, columns].permute(0, 2, 3, 1).numpy()
            grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip]
            still = clip[middle].astype(np.float32) / 255
            sums: dict[str, np.ndarray] = {}
            for frame in grey:
                for name, flow in motions(finder.calc(frame, grey[middle], None)).items():
                    sums[name] = sums.get(name, 0) + moved(still, flow)[inner] / FRAMES
            sums["real average"] = clip.astype(np.float32).mean(0)[inner] / 255
            sharp.append(still[inner])
            for name, blurry in sums.items():
                made.setdefault(name, []).append(blurry)
    for name, blurry in made.items():
        before, added = gain(f, images(blurry), images(sharp))
        print(f"{name:14} input {before:.2f} dB, gain {added:+.2f}", flush=True)


def print_by_frames(f: golf.Propagator, video: Tensor) -> None:
    """Average more and more frames."""
    for frames in (7, 11, 15, 19, 25):
        clips = [video[i : i + frames, :, ROWS, COLUMNS].float() / 255 for i in range(0, len(video) - frames, 30)]
        before, added = gain(f, torch.stack([c.mean(0) for c in clips]), torch.stack([c[frames // 2] for c in clips]))
        print(f"{frames:2} frames      input {before:.2f} dB, gain {added:+.2f}", flush=True)


def print_by_length(f: golf.Propagator, photos: Path) -> None:
    """Blur held-out photographs along longer and longer paths."""
    wide = blur.BlurConfig(bend_px=(1.4, 6), length_px=LENGTHS_PX[-1], linear_light=0, jpeg=0, noisy=0)
    held_out = data.load_photos(photos, held_out=True, smallest_px=256 + 2 * wide.margin_px)
    for length in LENGTHS_PX:
        source = sources.PhotoSource(held_out, dataclasses.replace(wide, length_px=length))
        pairs = source.crops(sources.seeded_generator(0, 9, length[0]), PHOTOS, size_px=256, device=torch.device("cpu"))
        before, added = gain(f, torch.stack([b for b, _, _ in pairs]), torch.stack([s for _, s, _ in pairs]))
        print(f"{length[0]:2} to {length[1]:2} px    input {before:.2f} dB, gain {added:+.2f}", flush=True)


def main(network: Path, video: Path, photos: Path) -> None:
    """Print all three tables."""
    f = golf.Propagator(checkpoint.load_network(network)[0])
    frames = data.load_video(video)
    print_same_motion(f, frames)
    print_by_frames(f, frames)
    print_by_length(f, photos)


main(*(Path(argument) for argument in sys.argv[1:]))
