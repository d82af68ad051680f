"""How much memory a source would take if it were read as a whole, and whether there is as much."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from chainrule import resources
from chainrule.data.batches import CSV, PACKED_TIMES, PARQUET, tables
from chainrule.data.rows import in_npz, npz_bytes
from chainrule.data.textfile import PACKED, ending
from chainrule.errors import DataError

SHARE = 0.5
"""Of the memory that is available, what a training in memory may be expected to take."""
SMALL = 2**17
"""Bytes of a file below which it is read without asking for memory."""
TEXT_TIMES, CELL_BYTES, ARRAY_TIMES = 9, 32, 4
"""What reading and preparing takes at its peak, measured: times the bytes of a text file, bytes a value of a table,
times the bytes of arrays."""


def needed(source: Any) -> int:
    """About how many bytes of memory it takes to read a file as a whole and to make it ready; 0 where unknown."""
    path = Path(source)
    if ending(path) in CSV:
        return TEXT_TIMES * os.path.getsize(path) * (PACKED_TIMES if path.suffix.lower() in PACKED else 1)
    if ending(path) in PARQUET:
        table = tables(path)
        return CELL_BYTES * table.about * len(table.columns)
    return ARRAY_TIMES * npz_bytes(path) if path.suffix.lower() == ".npz" else 0


def fits(source: Any) -> bool:
    """Whether a file can be expected to be trained on in memory."""
    return needed(source) <= SHARE * resources.available_memory()


def check(source: Any) -> None:
    """Refuse a file that is larger, read as a whole, than the memory that is free.

    Raises:
        DataError: says what would be needed, what there is, and whether the file can be streamed.
    """
    if os.path.getsize(source) > SMALL and needed(source) > resources.available_memory():
        raise too_large(source)


def too_large(source: Any) -> DataError:
    """The error for a file that does not fit."""
    free = worded(resources.available_memory())
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
