"""Tables that are read a batch of rows after the other: CSV and Parquet files, one or several."""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from chainrule.data.cells import Cells
from chainrule.data.rows import Rows
from chainrule.data.sources import Source, from_arrays
from chainrule.data.tables import Layout, Passed, empty, in_order
from chainrule.data.textfile import PACKED, TextFile, ending
from chainrule.errors import DataError

TEXT = 2**23
"""Bytes of a text file that are read at a time."""
CELLS = 2**22
"""Values of a Parquet file that are read at a time."""
CSV, PARQUET = (".csv", ".tsv", ".txt"), (".parquet",)
PACKED_TIMES = 4
"""How many bytes a byte of a packed text is, about."""


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
        """

    @property
    def notes(self) -> list[str]:
        """What was noticed in the last pass."""


def tables(source: Any) -> Batches:
    """The table in a CSV or Parquet file, or in several of them: a list, or a pattern such as `parts/*.parquet`.

    Raises:
        DataError: if there is no such file, or it is not a table.
    """
    paths = _paths(source)
    parts: list[Batches] = []
    for path in paths:
        if not os.path.isfile(path):
            raise DataError("no such file", where=str(path))
        try:
            parts.append(ParquetTable(path) if path.suffix.lower() in PARQUET else CsvTable(path))
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror or error})", where=str(path)) from error
    return parts[0] if len(parts) == 1 else SeveralTables(parts)


def is_table(source: Any) -> bool:
    """Whether a source is one that `tables` reads, by its name."""
    several = isinstance(source, Sequence) and not isinstance(source, (str, os.PathLike)) and len(source) > 0
    names = source if several else [source]
    return all(isinstance(n, (str, os.PathLike)) and ending(n) in (*CSV, *PARQUET) for n in names)


def _paths(source: Any) -> list[Path]:
    if isinstance(source, (str, os.PathLike)) and not os.path.exists(source) and glob.has_magic(str(source)):
        found = sorted(glob.glob(str(source)))
        if not found:
            raise DataError("no file fits the pattern", where=str(source))
        return [Path(name) for name in found]
    return [Path(source)] if isinstance(source, (str, os.PathLike)) else [Path(name) for name in source]


class ParquetTable:
    """The table in a Parquet file."""

    notes: ClassVar[list[str]] = []

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
    """The table in a text file with a header line."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        self._file, self._passed = TextFile(path), Passed()
        text = next((text for _, text in self._file.texts(TEXT)), "")
        if not text.strip():
            raise empty(path)
        self._layout = Layout.of(text, path)
        unused: set[str] = set()
        rows = text.rstrip("\n").count("\n") + 1 - self._layout.header
        if self._layout.nameless or '"' in text or "\n\n" in text or "\n " in text:
            first = self._layout.read(text, path, 1, Passed())
            unused = {name for name in self._layout.nameless if _is_blank(first, name)}
            rows = first.rows
        self.columns = [name for name in self._layout.names if name not in unused]
        share = os.path.getsize(path) / len(text.encode())
        packed = PACKED_TIMES if path.suffix.lower() in PACKED else 1
        self.about = max(1, round(rows * share * packed))

    def batches(self, size: int | None = None) -> Iterator[tuple[int, Source]]:
        """Batches of about so many bytes, each with the number of its first row."""
        row, self._passed = 0, Passed(comments=self._layout.comments)
        for line, text in self._file.texts(TEXT if size is None else size):
            cells = in_order(self._layout.read(text, self.path, line, self._passed), self.columns)
            yield row, Source(self.name, cells=cells, decimal_comma=self._layout.delimiter != ",")
            row += cells.rows

    @property
    def notes(self) -> list[str]:
        """What was noticed in the last pass."""
        return [*self._file.notes, *self._passed.notes(self.path.name)]


def _is_blank(cells: Cells, name: str) -> bool:
    column = cells.column(cells.names.index(name))
    return bool((column.str.strip_chars() == "").all())


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
        for part in self.parts:
            height = 0
            for first, batch in part.batches():
                height = first + batch.rows
                yield row + first, batch
            row += height

    @property
    def notes(self) -> list[str]:
        """What was noticed in the last pass."""
        return [note for part in self.parts for note in part.notes]


class ArrayBatches:
    """The rows of two arrays."""

    notes: ClassVar[list[str]] = []

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
