"""Tables that are read a batch of rows after the other: CSV and Parquet files, one or several."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chainrule.data.rows import Rows
from chainrule.data.sources import Source, from_arrays
from chainrule.data.tables import Layout, as_kind, decode, empty, present
from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

TEXT = 2**23
"""Bytes of a text file that are read at a time."""
CELLS = 2**22
"""Values of a Parquet file that are read at a time."""
CSV, PARQUET = (".csv", ".tsv", ".txt"), (".parquet",)
_WIDER = {
    "missing": ("whole", "number", "comma", "boolean", "text"),
    "whole": ("number", "comma", "text"),
    "number": ("text",),
    "comma": ("text",),
    "boolean": ("text",),
}
"""What a column of text can turn out to be after all."""


class Widened(Exception):  # whoever reads the table begins again
    """A column holds something else than the rows before have said; from now on it is read as text."""


class Batches(Protocol):
    """Rows that come batch by batch, as often as wanted.

    Attributes:
        name: of the file.
        columns: their names; of arrays, only the target has one.
        about: how many rows there are, exactly or about.
    """

    name: str
    columns: list[str]
    about: int

    def batches(self) -> Iterator[tuple[int, Source]]:
        """Batches of rows, each with the number of its first one.

        Raises:
            DataError: the file cannot be read.
            Widened: see there.
        """


def tables(source: Any) -> Batches:
    """The table in a CSV or Parquet file, or in several of them: a list, or a pattern such as `parts/*.parquet`.

    Raises:
        DataError: if there is no such file, or it is not a table.
    """
    paths = _paths(source)
    parts: list[Batches] = []
    kinds: dict[str, str] = {}
    for path in paths:
        if not path.is_file():
            raise DataError("no such file", where=str(path))
        try:
            parts.append(ParquetTable(path) if path.suffix.lower() in PARQUET else CsvTable(path, kinds))
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror or error})", where=str(path)) from error
    return parts[0] if len(parts) == 1 else SeveralTables(parts)


def is_table(source: Any) -> bool:
    """Whether a source is one that `tables` reads, by its name."""
    several = isinstance(source, Sequence) and not isinstance(source, (str, os.PathLike)) and len(source) > 0
    names = source if several else [source]
    return all(isinstance(n, (str, os.PathLike)) and Path(n).suffix.lower() in (*CSV, *PARQUET) for n in names)


def _paths(source: Any) -> list[Path]:
    if isinstance(source, (str, os.PathLike)) and not Path(source).exists() and glob.has_magic(str(source)):
        found = sorted(glob.glob(str(source)))
        if not found:
            raise DataError("no file fits the pattern", where=str(source))
        return [Path(name) for name in found]
    return [Path(source)] if isinstance(source, (str, os.PathLike)) else [Path(name) for name in source]


class ParquetTable:
    """The table in a Parquet file."""

    def __init__(self, path: Path) -> None:
        import polars as pl

        self.path, self.name = path, str(path)
        try:
            self._scan = pl.scan_parquet(path, glob=False)
            self.columns = self._scan.collect_schema().names()
            self.about = int(self._scan.select(pl.len()).collect().item())
        except pl.exceptions.PolarsError as error:
            raise DataError("not a Parquet file", where=self.name, got=str(error).splitlines()[0]) from error

    def batches(self) -> Iterator[tuple[int, Source]]:
        """Batches of rows, each with the number of its first one."""
        import polars as pl

        size = max(1, CELLS // max(1, len(self.columns)))
        for first in range(0, self.about, size):
            try:
                batch = self._scan.slice(first, size).collect()
            except (pl.exceptions.PolarsError, OSError) as error:
                last = min(first + size, self.about)
                why = str(error).splitlines()[0]
                raise DataError(f"rows {first + 1:,} to {last:,} cannot be read ({why})", where=self.name) from error
            yield first, Source(self.name, frame=batch)


class CsvTable:
    """The table in a text file with a header line.

    What a column holds is known when all of it has been read: until then it is what the rows so far say, `kinds`.
    """

    def __init__(self, path: Path, kinds: dict[str, str]) -> None:
        self.path, self.name, self.kinds = path, str(path), kinds
        text = next((text for _, text in self._texts()), "")
        if not text.strip():
            raise empty(path)
        self._layout = Layout.of(text, path)
        first = self._layout.read(text, path)
        unused = {name for name in self._layout.nameless if present(first[name]).null_count() == first.height}
        self.columns = [name for name in self._layout.names if name not in unused]
        self.about = max(1, round(first.height * os.path.getsize(path) / len(text.encode())))

    def batches(self) -> Iterator[tuple[int, Source]]:
        """Batches of rows, each with the number of its first one."""
        import polars as pl

        row = 0
        for line, text in self._texts():
            try:
                frame = self._layout.read(text, self.path, line).select(self.columns)
            except pl.exceptions.PolarsError as error:
                why = str(error).splitlines()[0]
                raise DataError(f"from line {line:,} on it is no table ({why})", where=self.name) from error
            typed = pl.DataFrame([self._typed(column) for column in frame.iter_columns()])
            yield row, Source(self.name, frame=typed)
            row += frame.height

    def _typed(self, column: pl.Series) -> pl.Series:
        text, before = present(column), self.kinds.get(column.name, "missing")
        found = as_kind(text, before)
        if found is not None:
            return found
        wider = [kind for kind in _WIDER[before] if kind != "comma" or self._layout.delimiter != ","]
        kind, found = next((kind, found) for kind in wider if (found := as_kind(text, kind)) is not None)
        self.kinds[column.name] = kind
        if before != "missing" and kind == "text":
            raise Widened
        return found

    def _texts(self) -> Iterator[tuple[int, str]]:
        """The file in texts of whole rows, each with the number of its first line."""
        line, rest = 1, b""
        with open(self.path, "rb") as file:
            while data := file.read(TEXT):
                rest += data
                end = _last_row_end(rest)
                if not end and len(rest) > 4 * TEXT:
                    raise DataError(
                        "a row that does not end", where=f"{self.path}, line {line}", hint="is a quotation mark open?"
                    )
                if end:
                    text = decode(rest[:end], self.path, line)
                    rest = rest[end:]
                    yield line, text if line > 1 else text.lstrip("\n")
                    line += text.count("\n")
            if rest:
                text = decode(rest, self.path, line)
                yield line, text if line > 1 else text.lstrip("\n")


def _last_row_end(data: bytes) -> int:
    """The place behind the last line end that is not within quotation marks; 0 where there is none."""
    if b'"' not in data:
        return data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, -1) + 1
    bytes_ = np.frombuffer(data, np.uint8)
    outside = ~np.logical_xor.accumulate(bytes_ == ord('"'))
    ends = np.flatnonzero(outside & (bytes_ == ord("\n")))
    return int(ends[-1]) + 1 if len(ends) else 0


class SeveralTables:
    """Tables with the same columns, one after the other."""

    def __init__(self, parts: list[Batches]) -> None:
        self.parts, self.name, self.columns = parts, f"{parts[0].name} and {len(parts) - 1} more", parts[0].columns
        self.about = sum(part.about for part in parts)
        for part in parts[1:]:
            if set(part.columns) != set(self.columns):
                missing = [name for name in self.columns if name not in part.columns]
                extra = [name for name in part.columns if name not in self.columns]
                found = [f"no {missing[0]!r}"] if missing else []
                found += [f"{extra[0]!r} besides"] if extra else []
                raise DataError(f"other columns than {parts[0].name}", where=part.name, got=", ".join(found))

    def batches(self) -> Iterator[tuple[int, Source]]:
        """Batches of rows, each with the number of its first one."""
        row = 0
        types: dict[str, Any] = {}
        for part in self.parts:
            height = 0
            for first, batch in part.batches():
                assert batch.frame is not None, "files of tables"
                self._check(part.name, types, batch.frame)
                height = first + batch.rows
                yield row + first, Source(part.name, frame=batch.frame.select(self.columns))
            row += height

    def _check(self, name: str, types: dict[str, Any], batch: pl.DataFrame) -> None:
        """Refuse a column that is of another kind here than in the files before."""
        for column, dtype in batch.schema.items():
            kind = "numbers" if dtype.is_numeric() else str(dtype)
            if kind != "Null" and types.setdefault(column, kind) != kind:
                raise DataError(
                    "the column is of another kind than in the files before",
                    where=f"{name}, column {column!r}", expected=types[column], got=kind,
                )  # fmt: skip


class ArrayBatches:
    """The rows of two arrays."""

    def __init__(self, X: Rows, y: Rows, target: str) -> None:
        self.X, self.y, self.name, self.columns, self.about = X, y, X.name, [target], X.shape[0]

    def batches(self) -> Iterator[tuple[int, Source]]:
        """Batches of rows, each with the number of its first one."""
        size = max(1, CELLS // max(1, math.prod(self.X.shape[1:])))
        for first in range(0, self.about, size):
            count = min(size, self.about - first)
            X = np.empty((count, *self.X.shape[1:]), self.X.dtype)
            y = np.empty((count, *self.y.shape[1:]), self.y.dtype)
            self.X.read(first, X)
            self.y.read(first, y)
            yield first, from_arrays(X, y, self.name, self.columns[0])
