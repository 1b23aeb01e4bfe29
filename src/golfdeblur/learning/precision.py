"""Which precision a machine trains in: bf16 where it computes that faster, else float32.

A processor without instructions for bf16 emulates them and takes three to ten times as long; one that has them gains
up to three times, but not every one does. So a convolution is timed in both, which takes less than a second.
"""

from __future__ import annotations

import functools
import time

import torch
import torch.nn.functional as nf

PRECISIONS = ("auto", "bf16", "float32")

GAIN = 1.1
"""So many times as fast bf16 must be to be chosen: it rounds."""

CLEARLY = 2.0
"""A run leaves the precision that it began in only where that takes so many times as long as the other."""

CHANNELS, SIDE_PX, CUDA_SIDE_PX, ROUNDS = 64, 32, 1024, 3


def settle(wished: str, before: str | None, device: torch.device) -> tuple[str, str | None]:
    """Return `bf16` or `float32`, and a sentence about it where it was not the recipe that chose.

    `wished` is one of PRECISIONS, `before` what the run that is resumed computed in.
    """
    if wished != "auto":
        return wished, None
    ratio = gain(device)
    here = "bf16" if ratio > GAIN else "float32"
    measured = f"bf16 runs at {ratio:.1f} times the speed of float32 on this machine"
    if before in (None, here):
        return here, f"Precision: {here} ({measured})."
    if (ratio if before == "float32" else 1 / ratio) < CLEARLY:
        return before, f"Precision: {before}, as this run began ({measured})."
    return here, (
        f"Precision: {here} from here on, {before} before: the run began on another kind of machine ({measured}). "
        "The weights will differ a little from those of an unbroken run."
    )


@functools.cache
def gain(device: torch.device) -> float:
    """Measure how many times as fast as in float32 a convolution and its gradients are in bf16."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several would wait for each other on a busy machine
    try:
        return _seconds(device, bf16=False) / _seconds(device, bf16=True)
    finally:
        torch.set_num_threads(threads)


def _seconds(device: torch.device, *, bf16: bool) -> float:
    """Return the shortest time of a convolution, forward and backward."""
    side = CUDA_SIDE_PX if device.type == "cuda" else SIDE_PX
    kernels, x = (
        torch.zeros(shape, device=device).contiguous(memory_format=torch.channels_last).requires_grad_()
        for shape in ((CHANNELS, CHANNELS, 3, 3), (1, CHANNELS, side, side))
    )
    found = []
    for _ in range(1 + ROUNDS):
        _wait(device)
        started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            y = nf.conv2d(x, kernels, padding=1)
        y.sum().backward()
        _wait(device)
        found.append(time.perf_counter() - started)
    return min(found[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
