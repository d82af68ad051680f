"""How much memory there is, and how much a source would take if it were read as a whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from chainrule.data.batches import CSV, PARQUET, tables
from chainrule.data.rows import in_npz, npz_bytes
from chainrule.errors import DataError

SHARE = 0.5
"""Of the memory that is available, what a training in memory may be expected to take."""
SMALL = 2**17
"""Bytes of a file below which it is read without asking for memory."""
TEXT_TIMES, CELL_BYTES, ARRAY_TIMES = 9, 32, 4
"""What reading and preparing takes at its height, measured: times the bytes of a text file, bytes a value of a table,
times the bytes of arrays."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_USED = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def available() -> int | None:
    """Bytes of memory that can be had without others being moved to disk; None where the system does not say."""
    free = [size for size in (_of_system(), _of_container()) if size is not None]
    return min(free, default=None)


def needed(source: Any) -> int:
    """About how many bytes of memory it takes to read a file as a whole and to make it ready; 0 where unknown."""
    path = Path(source)
    if path.suffix.lower() in CSV:
        return TEXT_TIMES * os.path.getsize(path)
    if path.suffix.lower() in PARQUET:
        table = tables(path)
        return CELL_BYTES * table.about * len(table.columns)
    return ARRAY_TIMES * npz_bytes(path) if path.suffix.lower() == ".npz" else 0


def fits(source: Any) -> bool:
    """Whether a file can be expected to be trained on in memory."""
    free = available()
    return free is None or needed(source) <= SHARE * free


def check(source: Any) -> None:
    """Refuse a file that is larger, read as a whole, than the memory that is free.

    Raises:
        DataError: says what would be needed, what there is, and whether the file can be streamed.
    """
    free = available() if os.path.getsize(source) > SMALL else None
    if free is not None and needed(source) > free:
        raise too_large(source)


def too_large(source: Any) -> DataError:
    """The error for a file that does not fit."""
    free = worded(available() or 0)
    what = f"does not fit into memory (about {worded(needed(source))} are needed, {free} are free)"
    whole = only_whole(source)
    if whole is not None:
        return DataError(f"{what}, and cannot be streamed: {whole.what}", where=str(source), hint=whole.hint)
    hint = "read a part of it, or train on it as a stream: chainrule.data.stream, chainrule fit --stream"
    return DataError(what, where=str(source), hint=hint)


def only_whole(source: Any) -> DataError | None:
    """Why a file can only be read as a whole; None where it can be read in parts."""
    try:
        if Path(source).suffix.lower() == ".npz":
            in_npz(source)
        return None
    except DataError as error:
        return error


def worded(size: float) -> str:
    """A number of bytes for people.

    Example:
        >>> worded(188_160_000), worded(900)
        ('188 MB', '1 kB')
    """
    power = next((power for power in (1, 2) if size < 999.5 * 1000**power), 3)
    return f"{max(size / 1000**power, 1):.3g} {('kB', 'MB', 'GB')[power - 1]}"


def _of_system() -> int | None:
    lines = _read("/proc/meminfo").splitlines()
    found = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return int(found) * 1024 if found else None


def _of_container() -> int | None:
    limit, used = (next((text for name in names if (text := _read(name))), "") for names in (_LIMITS, _USED))
    return max(0, int(limit) - int(used)) if limit.isdigit() and used.isdigit() else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
