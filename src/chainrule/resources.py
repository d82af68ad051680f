"""The processors and the memory that this process may use: the machine's, or what its container leaves of them."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_ROOT = Path("/")
"""Above /proc and /sys."""


def cores() -> int:
    """How many processors this process may use: those that it may run on, or as many as the quota of its container
    comes to, rounded up.

    Example:
        >>> cores() >= 1
        True
    """
    # macOS and the BSDs bind no process to processors.
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(mine, quota() or mine)


def quota() -> int | None:
    """As many processors as the container's quota of their time comes to, rounded up; None where there is none."""
    return min((max(1, math.ceil(share)) for share in _quotas()), default=None)


def available_memory() -> int:
    """Bytes of memory that can be had without others being moved to disk, in the machine and in the container."""
    import psutil

    return max(0, min([psutil.virtual_memory().available, *_left_in_containers()]))


def resident_memory() -> int:
    """Bytes of memory that this process has now."""
    resident: int = _process(os.getpid()).memory_info().rss
    return resident


@functools.cache
def _process(number: int) -> psutil.Process:
    # Finding out when a process began takes longer than asking for its memory.
    import psutil

    return psutil.Process(number)


def _quotas() -> Iterator[float]:
    """The processors' time per time that each control group around this process has."""
    for folder in _control_groups("cpu"):
        time, period = [*_read(folder / "cpu.max").split(), "", ""][:2]
        if not time.isdigit():
            time, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if time.isdigit() and period.isdigit() and int(period):
            yield int(time) / int(period)


def _left_in_containers() -> Iterator[int]:
    """The bytes that are left in each control group around this process that has a limit."""
    names = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    for folder in _control_groups("memory"):
        for limit, used in ((_read(folder / limit), _read(folder / used)) for limit, used in names):
            if limit.isdigit() and used.isdigit():
                yield int(limit) - int(used) + _file_cache(folder)


def _file_cache(folder: Path) -> int:
    """Bytes of files that are counted as used and given back when they are wanted."""
    known = dict(line.split(maxsplit=1) for line in _read(folder / "memory.stat").splitlines() if " " in line)
    return int(known.get("total_inactive_file", known.get("inactive_file", 0)))


def _control_groups(controller: str) -> Iterator[Path]:
    """The folders of the control groups around this process, innermost first, by version 2 and by version 1.

    A container that has no name space of its own sees the names that its groups have outside, and only the outermost
    folder.
    """
    for line in _read(_ROOT / "proc/self/cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = _ROOT / "sys/fs/cgroup" / (controller if controllers else "")
        inner = top / name.lstrip("/")
        yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(top) and folder.is_dir())


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
