"""What this process may use of the machine: cores and memory, within its affinity, control groups and batch job.

One number of threads holds for all that computes: the runtimes, the data workers of a training.
It is GOLF_THREADS (the command's --threads sets it), or what the process may use.
Source: the kernel's cgroup-v2.rst, and cgroup-v1/memory.rst and scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

from golfdeblur.errors import ConfigError

SETTING = "GOLF_THREADS"

BATCH_SETTINGS = ("SLURM_CPUS_PER_TASK", "PBS_NUM_PPN", "NSLOTS")
"""What SLURM, PBS and Grid Engine say a task may use; not all of them enforce it."""

GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")

ABILITIES = re.compile(r"avx2|avx512f|avx512_(vnni|bf16)|avx_vnni|amx_(tile|bf16|int8)|asimd|sve|bf16|i8mm")
"""What decides the speed of networks, as Linux names it."""

_asked: ContextVar[int | None] = ContextVar("threads", default=None)


def threads() -> int:
    """Return how many threads may compute at once. Raises ConfigError if GOLF_THREADS is no number above 0."""
    if (asked := _asked.get()) is not None:
        return asked
    given = os.environ.get(SETTING)
    return cores() if given is None else checked_threads(given)


def checked_threads(given: str | int) -> int:
    """Return a number of threads as it was given. Raises ConfigError unless it is 1 or more."""
    if not str(given).isdecimal() or int(given) < 1:
        raise ConfigError(f"{given} is no number of threads; give 1 or more, or leave it out.")
    return int(given)


@contextlib.contextmanager
def using(count: int | None) -> Iterator[None]:
    """Let `threads` be `count` inside the block, unless that is None."""
    before = _asked.set(_asked.get() if count is None else checked_threads(count))
    try:
        yield
    finally:
        _asked.reset(before)


def cores() -> int:
    """Return how many cores the process may use: its affinity, the quotas of its control groups, its batch job."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = [float(allowed), *_in_groups("cpu", _quota)]
    found += [float(value) for name in BATCH_SETTINGS if (value := os.environ.get(name, "")).isdecimal()]
    return max(1, math.ceil(min(found)))


def processor(description: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name, its cores that may be used, and what of vectors and bf16 Linux says it can."""
    text = description.read_text(errors="replace") if description.exists() else ""
    said = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    name = said.get("model name") or platform.processor() or platform.machine()
    able = [word for word in said.get("flags", said.get("features", "")).split() if ABILITIES.fullmatch(word)]
    return ", ".join([name, f"{cores()} cores", *able])


def free_bytes() -> int:
    """Return how much memory the process can still take. What the system keeps of files in memory counts as free."""
    import psutil

    return max(0, int(min([psutil.virtual_memory().available, *_in_groups("memory", _room)])))


def _in_groups(controller: str, read: Callable[[Path], float | None]) -> list[float]:
    """Return what `read` finds in the control groups of the process, from its own up to the root of what is mounted."""
    found = []
    for folder in _groups(controller):
        with contextlib.suppress(OSError, ValueError, KeyError):
            if (value := read(folder)) is not None:
                found.append(value)
    return found


def _groups(controller: str) -> list[Path]:
    """List the folders of the process's control groups, of version 1 and 2; in a container its root is one of them."""
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, names, path = line.split(":", 2)
        roots = [GROUPS, GROUPS / "unified"] if not names else [GROUPS / names, GROUPS / controller]
        if not names or controller in names.split(","):
            inside = Path(path.lstrip("/"))
            found += [root / part for root in roots for part in (inside, *inside.parents)]
    return list(dict.fromkeys(found))


def _quota(group: Path) -> float | None:
    """Return the cores of a group's quota, None without one."""
    if (group / "cpu.max").exists():
        quota, period = (group / "cpu.max").read_text().split()
    else:
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
    return None if quota in ("max", "-1") else int(quota) / int(period)


def _room(group: Path) -> float | None:
    """Return the bytes that are left below a group's limit, None without one."""
    second = (group / "memory.current").exists()
    limits = ("memory.max", "memory.high") if second else ("memory.limit_in_bytes",)
    given = [text for name in limits if (text := (group / name).read_text().strip()) != "max"]
    if not given:
        return None
    used = int((group / ("memory.current" if second else "memory.usage_in_bytes")).read_text())
    counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    prefix = "" if second else "total_"
    cache = sum(int(counts[f"{prefix}{kind}_file"]) for kind in ("active", "inactive"))
    return min(map(int, given)) - (used - cache)
