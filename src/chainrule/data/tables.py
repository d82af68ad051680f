"""Delimited text: where its header is, what divides the fields, and the cells of its rows.

Nothing is typed here. What a column holds is learnt from all of its rows, and kept.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chainrule.data.cells import Cells
from chainrule.data.notes import counted
from chainrule.errors import DataError

_DELIMITERS = ",;\t|"
_SEPARATOR = re.compile(r'^"?sep=(.)"?$', re.IGNORECASE)
_TOGETHER = 2**27
"""Characters that are split at a time."""
_LOOKED_AT = 20_000
"""Characters by which the delimiter is found."""


@dataclass
class Passed:
    """Lines that are no rows.

    Args:
        blank, comments: how many of each.
        first: the number of the first blank line.
    """

    blank: int = 0
    comments: int = 0
    first: int = 0

    def notes(self, name: str) -> list[str]:
        """What the user should be told."""
        found = []
        if self.blank == 1:
            found.append(f"{name}: line {self.first:,} is blank and is no row")
        elif self.blank:
            found.append(
                f"{name}: {self.blank:,} lines are blank and are no rows, the first of them line {self.first:,}"
            )
        if self.comments:
            found.append(f"{name}: {counted(self.comments, 'line')} that begin with # passed over, being no rows")
        return found


@dataclass(frozen=True)
class Layout:
    """How a text file is laid out, as its first lines tell.

    Args:
        delimiter: between fields.
        names: of the columns, exactly as they stand in the header.
        nameless: those of them that are ours, since the file has none for them.
        header: how many lines come before the first row.
        comments: how many of those begin with #.
    """

    delimiter: str
    names: list[str]
    nameless: frozenset[str]
    header: int
    comments: int

    @classmethod
    def of(cls, text: str, path: Path) -> Layout:
        """The layout of the beginning of a file.

        Raises:
            DataError: there is no header, or a name in it occurs twice.
        """
        lines = text.split("\n")
        at = next((i for i, line in enumerate(lines) if line.strip()), len(lines))
        told = _SEPARATOR.match(lines[at].strip()) if at < len(lines) else None
        at += told is not None
        delimiter, comments = told[1] if told else None, 0
        while at < len(lines) and (not lines[at].strip() or _is_comment(lines[at:], delimiter)):
            comments += bool(lines[at].strip())
            at += 1
        rest = "\n".join(lines[at:])
        if not rest.strip():
            raise empty(path)
        delimiter = delimiter or _sniff(rest)
        given, height = _first_row(rest, delimiter, path, at + 1)
        names = _header(given, path)
        nameless = frozenset(name for name, own in zip(names, given, strict=True) if not own.strip())
        return cls(delimiter, names, nameless, at + height, comments)

    def read(self, text: str, path: Path, line: int, passed: Passed) -> Cells:
        """The cells of a piece of the file whose first line has this number; blank lines and comments are `passed`.

        Raises:
            DataError: a line does not fit the header, or a quotation mark is not closed.
        """
        if line == 1:
            lines = text.split("\n", self.header)
            text, line = lines[self.header] if len(lines) > self.header else "", self.header + 1
        text = text.removesuffix("\n")
        if '"' not in text:
            return self._unquoted(text, path, line, passed)
        return self._quoted(text, path, line, passed)

    def _unquoted(self, text: str, path: Path, line: int, passed: Passed) -> Cells:
        import polars as pl

        width = len(self.names)
        lines = text.split("\n") if text else []
        kept = [
            row
            for number, row in enumerate(lines, line)
            if self._is_row(row, row.count(self.delimiter) + 1, path, number, passed)
        ]
        step = max(1, _TOGETHER // (1 + max(map(len, kept), default=0)))
        pieces = [self.delimiter.join(kept[i : i + step]) for i in range(0, len(kept), step)]
        texts = pl.Series("cells", pieces, dtype=pl.String).str.split(self.delimiter).explode()
        assert len(texts) == len(kept) * width, "as many cells as the rows have fields"
        return Cells(self.names, texts, len(kept), spaced=_may_be_spaced(text, self.delimiter))

    def _quoted(self, text: str, path: Path, line: int, passed: Passed) -> Cells:
        import polars as pl

        cells: list[str] = []
        rows = 0
        for number, row in _fields(text, self.delimiter, path, line):
            if self._is_row(row[0] if row else "", len(row), path, number, passed):
                cells += row or [""]
                rows += 1
        return Cells(self.names, pl.Series("cells", cells, dtype=pl.String), rows)

    def _is_row(self, start: str, fields: int, path: Path, number: int, passed: Passed) -> bool:
        """Whether a line is a row of the table.

        Args:
            start: its first field, or all of it.
            fields: how many it has.
        """
        width = len(self.names)
        if fields <= 1 < width and not start.strip(" \t"):
            passed.first = passed.first or number
            passed.blank += 1
            return False
        if max(fields, 1) == width:
            return True
        if start.startswith("#"):
            passed.comments += 1
            return False
        where = f"{path}, line {number}"
        raise DataError("a line that does not fit the header", where=where, expected=f"{width} fields", got=fields)


def in_order(cells: Cells, names: list[str]) -> Cells:
    """Some columns of the cells, in this order."""
    if names == cells.names:
        return cells
    number = {name: i for i, name in enumerate(cells.names)}
    places = np.arange(len(cells.texts)).reshape(cells.rows, len(cells.names))[:, [number[name] for name in names]]
    return Cells(names, cells.texts.gather(places.ravel()), cells.rows, spaced=cells.spaced)


def _may_be_spaced(text: str, delimiter: str) -> bool:
    """Whether cells may have spaces around them."""
    return not text.isascii() or any(space in text for space in " \t\v\f" if space != delimiter)


def empty(path: Path) -> DataError:
    """The error about a file without any text."""
    return DataError("the file is empty", where=str(path), expected="a header line and rows")


def _is_comment(lines: list[str], delimiter: str | None) -> bool:
    """Whether the first of some lines is a comment, and not a header that begins with #."""
    if not lines[0].startswith("#"):
        return False
    following = next((line for line in lines[1:] if line.strip() and not line.startswith("#")), "")
    sign = delimiter or _sniff(following)
    return not following or lines[0].count(sign) != following.count(sign) or not lines[0].count(sign)


def _sniff(text: str) -> str:
    """The delimiter that splits the first lines into the same number of fields, more than one."""

    def fitness(delimiter: str) -> tuple[bool, float, int]:
        widths = [len(row) for row, _ in zip(_lenient_rows(text[:_LOOKED_AT], delimiter), range(20), strict=False)]
        if not widths:
            return False, 0.0, 0
        alike = sum(width == widths[0] for width in widths) / len(widths)
        return widths[0] > 1, alike, widths[0]

    return max(_DELIMITERS, key=fitness)


def _lenient_rows(text: str, delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter)
    try:
        for row in reader:
            if row:
                yield row
    except csv.Error:
        return


def _fields(text: str, delimiter: str, path: Path, line: int) -> Iterator[tuple[int, list[str]]]:
    """Rows with quoted fields, each with the number of its first line."""
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True)
    while True:
        start = line + reader.line_num
        try:
            row = next(reader, None)
        except csv.Error as error:
            hint = "write a quotation mark within a quoted cell twice, and close each quoted cell"
            raise DataError(f"cannot be read as a row ({error})", where=f"{path}, line {start}", hint=hint) from None
        if row is None:
            return
        yield start, row


def _first_row(text: str, delimiter: str, path: Path, line: int) -> tuple[list[str], int]:
    """The fields of the header, and how many lines it takes."""
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True)
    try:
        return next(reader), reader.line_num
    except csv.Error as error:
        raise DataError(f"the header cannot be read ({error})", where=f"{path}, line {line}") from None


def _header(names: list[str], path: Path) -> list[str]:
    if _holds_values([name.strip() for name in names]):
        raise DataError("the first line holds values, not column names", where=str(path), hint="add a header line")
    names = [name if name.strip() else f"column_{i + 1}" for i, name in enumerate(names)]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        listed = ", ".join(repr(name) for name in repeated)
        raise DataError(f"column names that occur twice: {listed}", where=str(path), hint="rename them")
    return names


def _holds_values(names: list[str]) -> bool:
    """Whether a header is a row of data: nothing but numbers, or a number with decimals (a year may be a name)."""
    numbers = [name for name in names if _is_number(name)]
    return bool(numbers) and (len(numbers) == len(names) or any("." in number for number in numbers))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.lower() not in ("nan", "inf", "infinity")
