"""Rows that stay where they are, and are read a run at a time: arrays in files, and whatever is read by slices.

Files are read, not mapped: mapped pages count as the process's own memory as long as the system has some to spare,
and a file that has become shorter would end the process instead of raising an error.
"""

from __future__ import annotations

import io
import math
import os
import struct
import threading
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from chainrule.errors import DataError

_turn = threading.Lock()
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class Rows(Protocol):
    """Rows of numbers, one after the other.

    Attributes:
        name: of the file, for messages.
        shape: (N, …).
        dtype: as stored.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, start: int, out: np.ndarray[Any, Any]) -> None:
        """The rows from `start` on, as many as `out` has, in its dtype.

        Raises:
            DataError: they cannot be read.
        """


def refuse_masked(values: Any, name: str) -> None:
    """Refuse an array in which elements are masked: taken as an array, they would be what lies under the mask.

    Raises:
        DataError: naming it.
    """
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        hint = "fill them in, as with array.filled(…), or leave out such rows"
        raise DataError("masked elements", where=name, got=f"{np.ma.count_masked(values):,} of them", hint=hint)


class ArrayRows:
    """Rows of an array, or of anything else with `shape`, `dtype` and rows by slices (HDF5, Zarr)."""

    def __init__(self, array: Any, name: str) -> None:
        self.array, self.name = array, name
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)

    def read(self, start: int, out: np.ndarray[Any, Any]) -> None:
        """The rows from `start` on, as many as `out` has, in its dtype."""
        try:
            rows = self.array[start : start + len(out)]
            refuse_masked(rows, f"{self.name}, rows {start + 1:,} to {start + len(out):,}")
            out[...] = rows
        except DataError:
            raise
        except (OSError, ValueError, RuntimeError) as error:
            raise _unreadable(self.name, start, len(out), str(error)) from error


class FileRows:
    """Rows that lie in a file as plain numbers; several threads or processes may read them at once.

    Args:
        file: opened for reading, unbuffered.
        name: for messages.
        offset: where the first row begins, in bytes.
        shape: (N, …).
        dtype: as stored.
    """

    def __init__(self, file: BinaryIO, name: str, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.file, self.name, self.offset, self.shape, self.dtype = file, name, offset, shape, dtype
        self._row = math.prod(shape[1:]) * dtype.itemsize
        self._written = _written(file)

    def read(self, start: int, out: np.ndarray[Any, Any]) -> None:
        """The rows from `start` on, as many as `out` has, in its dtype."""
        straight = out.dtype == self.dtype and out.flags.c_contiguous
        rows = out if straight else np.empty(out.shape, self.dtype)
        try:
            _fill(self.file, self.offset + start * self._row, bytes_of(rows))
            if _written(self.file) != self._written:
                raise OSError("the file has changed since it was opened")
        except OSError as error:
            raise _unreadable(self.name, start, len(out), error.strerror or str(error)) from error
        if not straight:
            out[...] = rows


def _written(file: BinaryIO) -> tuple[int, int]:
    """Tells one state of a file from another: its size and when it was last written to."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _fill(file: BinaryIO, at: int, view: memoryview) -> None:
    """The bytes from a place on; not from where the file stands, since that is shared by all who have it open."""
    done = 0
    while done < len(view):
        count = _read_at(file, at + done, view[done:])
        if not count:
            raise OSError("the file ends before")
        done += count


def _read_at(file: BinaryIO, at: int, view: memoryview) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [view], at)
    with _turn:
        file.seek(at)
        return int(file.readinto(view))  # type: ignore[attr-defined]


def bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    """The bytes of a contiguous array."""
    view: Any = array.reshape(-1).view(np.uint8)
    return memoryview(view)


def _unreadable(name: str, start: int, count: int, why: str) -> DataError:
    return DataError(f"rows {start + 1:,} to {start + count:,} cannot be read ({why.splitlines()[0]})", where=name)


def in_npy(path: str | os.PathLike[str]) -> FileRows:
    """The rows of a `.npy` file.

    Raises:
        DataError: if it is not such a file, is shorter than it says, or is stored column by column.
    """
    file = _opened(path)
    try:
        return _array_at(file, str(path), os.fstat(file.fileno()).st_size)
    except DataError:
        file.close()
        raise


def in_npz(path: str | os.PathLike[str]) -> dict[str, FileRows]:
    """The arrays of an `.npz` file that is not compressed, by name.

    Raises:
        DataError: if it is not such a file, or is compressed.
    """
    found = {}
    for member in _members(path):
        if member.compress_type != zipfile.ZIP_STORED:
            raise DataError(
                "compressed, so it can only be read as a whole",
                where=str(path),
                hint="save it with np.savez, or X and y with np.save as two files",
            )
        file = _opened(path)
        file.seek(member.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
        file.seek(member.header_offset + 30 + name + extra)
        found[member.filename.removesuffix(".npy")] = _array_at(file, str(path), file.tell() + member.file_size)
    return found


def npz_bytes(path: str | os.PathLike[str]) -> int:
    """The memory that the arrays of an `.npz` file take."""
    return sum(member.file_size for member in _members(path))


def _members(path: str | os.PathLike[str]) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except zipfile.BadZipFile as error:
        raise DataError("not an .npz file of plain arrays", where=str(path), got=str(error)) from None
    except OSError as error:
        raise _no_file(path, error) from None


def in_map(array: np.memmap[Any, Any]) -> Rows | None:
    """The rows of a mapped file, to be read from the file itself; None where they do not lie in it one by one."""
    root: Any = array
    while isinstance(root.base, np.memmap):
        root = root.base
    if array.filename is None or not array.flags.c_contiguous:
        return None
    offset = root.offset + array.ctypes.data - root.ctypes.data
    return FileRows(_opened(array.filename), str(array.filename), offset, array.shape, array.dtype)


def _opened(path: Any) -> BinaryIO:
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise _no_file(path, error) from None


def _no_file(path: Any, error: OSError) -> DataError:
    return DataError(f"cannot be read ({error.strerror or error})", where=str(Path(path)))


def _array_at(file: BinaryIO, name: str, end: int) -> FileRows:
    """The array whose header is next in the file."""
    begin = file.tell()
    head = io.BytesIO(file.read(2**16))
    try:
        shape, by_columns, dtype = _HEADERS[np.lib.format.read_magic(head)](head)
    except (ValueError, KeyError, EOFError) as error:
        raise DataError("not a .npy file of plain numbers", where=name, got=str(error).splitlines()[0]) from None
    if by_columns and len(shape) > 1:
        hint = "save it again: np.save(path, np.ascontiguousarray(X))"
        raise DataError("stored column by column, so its rows cannot be read one by one", where=name, hint=hint)
    rows = FileRows(file, name, begin + head.tell(), shape, dtype)
    wanted = rows.offset + math.prod(shape) * dtype.itemsize
    if end < wanted:
        raise DataError("the file is shorter than its header says", where=name, expected=f"{wanted} bytes", got=end)
    return rows
