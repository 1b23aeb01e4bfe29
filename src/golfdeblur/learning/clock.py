"""The time of a run: how fast it is, how much is left, and when it is told to stop."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

from golfdeblur.learning.mixture import Mixture


class Clock:
    """Measures the speed of the loop between two rows of the log, validation left out."""

    def __init__(self) -> None:
        self.since = self.began = time.monotonic()
        self.steps = 0

    def seconds_a_step(self) -> float:
        """Count one more step, and return the mean time of all so far."""
        self.steps += 1
        return (time.monotonic() - self.began) / self.steps

    def row(self, mixture: Mixture, steps: int) -> dict[str, float]:
        """Return the log's figures of the last `steps`: their speed, and the share of the time spent on batches."""
        now = time.monotonic()
        seconds = max(now - self.since, 1e-9)
        pixels = steps * mixture.config.batch * mixture.config.patch_px**2
        row = {"mpx_per_s": pixels / seconds / 1e6, "waiting": mixture.seconds_waited / seconds}
        self.since, mixture.seconds_waited = now, 0.0
        return row

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens meanwhile."""
        started = time.monotonic()
        yield
        self.since += time.monotonic() - started
        self.began += time.monotonic() - started


@contextlib.contextmanager
def stop_signal() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list instead of dying of them; a second one kills as usual."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def remember(number: int, frame: Any) -> None:
        caught.append(number)
        signal.signal(number, before[number])

    before = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, remember)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
