"""Read a delimited text file into a table of typed columns.

Everything is read as text first and typed column by column afterwards, so that the same file gives the same types
whatever its first rows hold, and so that a value that does not fit can be named with its row.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

MISSING = ("", "NA", "N/A", "nan", "NaN", "?", "null", "None")
"""What counts as a missing value in a text file."""

_DELIMITERS = ",;\t|"
_BLANK = re.compile(r"\n *\n")
_DATE = r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]\d{1,2}:\d{2}.*)?$"


@dataclass(frozen=True)
class Layout:
    """How a text file is laid out, as its first lines tell.

    Args:
        delimiter: between fields.
        names: of the columns.
        nameless: those of them that are ours, since the file has none for them.
    """

    delimiter: str
    names: list[str]
    nameless: frozenset[str]

    @classmethod
    def of(cls, text: str, path: Path) -> Layout:
        """The layout of a text that begins with the header."""
        delimiter = _sniff(text)
        given = [name.strip() for name in _raw_header(text, delimiter)]
        names = _header(given, path)
        nameless = frozenset(name for name, own in zip(names, given, strict=True) if not own)
        return cls(delimiter, names, nameless)

    def read(self, text: str, path: Path, line: int = 1) -> pl.DataFrame:
        """The columns of a text as text; it begins with the header where its first line has the number 1."""
        _check_widths(text, self.delimiter, len(self.names), path, line)
        # The reader takes the first line as the measure of all.
        return _read(text.lstrip(" \n"), self.delimiter, self.names, header=line == 1)


def read_csv(path: str | Path) -> pl.DataFrame:
    """The table in a text file with a header line; the delimiter is a comma, semicolon, tab or bar, whichever fits.

    Raises:
        DataError: if the file is empty, is not UTF-8, has no header, repeats a column name, or has a line with more
            or fewer fields than the header.
    """
    import polars as pl

    path = Path(path)
    text = decode(path.read_bytes(), path).lstrip("\n")
    if not text.strip():
        raise empty(path)
    layout = Layout.of(text, path)
    typed = [typed_column(column, layout.delimiter != ",") for column in layout.read(text, path).iter_columns()]
    return pl.DataFrame([c for c in typed if not (c.name in layout.nameless and c.null_count() == len(c))])


def _read(text: str, delimiter: str, names: list[str], header: bool) -> pl.DataFrame:
    import polars as pl

    schema = dict.fromkeys(names, pl.String)
    try:
        frame = pl.read_csv(text.encode(), separator=delimiter, has_header=False, skip_rows=int(header), schema=schema)
    except pl.exceptions.NoDataError:
        return pl.DataFrame(schema=schema)
    # A blank line is a row of nothing to the reader, yet no row to anyone who looks at the file.
    return frame.filter(~pl.all_horizontal(pl.all().is_null())) if _BLANK.search(text) else frame


def typed_column(column: pl.Series, decimal_comma: bool = False) -> pl.Series:
    """A column of text as whole numbers, numbers, booleans or dates, if every value present is one.

    Example:
        >>> import polars as pl
        >>> typed_column(pl.Series("age", ["31", " 40", "NA"])).to_list()
        [31, 40, None]
    """
    text = present(column)
    for kind in ("missing", "whole", "number", *(["comma"] if decimal_comma else []), "boolean"):
        found = as_kind(text, kind)
        if found is not None:
            return found
    return text


def as_kind(text: pl.Series, kind: str) -> pl.Series | None:
    """A column of text as values of a kind, or None if a value present is none of that kind.

    Args:
        text: without marks of missing values, as `present` gives it.
        kind: "missing" (nothing is there), "whole", "number", "comma" (a decimal one), "boolean" or "text".
    """
    import polars as pl

    missing = text.null_count()
    if kind == "missing":
        return text.cast(pl.Null) if missing == len(text) else None
    if kind in ("whole", "number"):
        numbers = text.cast(pl.Int64 if kind == "whole" else pl.Float64, strict=False)
        return numbers if numbers.null_count() == missing else None
    known = text.drop_nulls()
    if kind == "comma":
        fits = known.str.contains(r"^[-+]?\d*,?\d+([eE][-+]?\d+)?$").all()
        return text.str.replace(",", ".", literal=True).cast(pl.Float64) if fits else None
    if kind == "boolean":
        lower = text.str.to_lowercase()
        return lower == "true" if lower.drop_nulls().is_in(["true", "false"]).all() else None
    return text


def present(column: pl.Series) -> pl.Series:
    """A column of text without the spaces around values, and without the marks of missing ones."""
    text = column.str.strip_chars()
    return text.set(text.is_in(MISSING), None)


def is_date_text(column: pl.Series) -> bool:
    """Whether every text present looks like a date: 2024-03-01, 1/3/24, 01.03.2024 10:15."""
    present = column.drop_nulls()
    return not present.is_empty() and bool(present.str.contains(_DATE).all())


def decode(data: bytes, path: Path, line: int = 1) -> str:
    """The text of bytes that begin at a line of a file, with line ends of one kind."""
    try:
        text = data.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        raise DataError("not UTF-8 text", where=f"{path}, line {line}", hint="save the table as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def empty(path: Path) -> DataError:
    """The error about a file without any text."""
    return DataError("the file is empty", where=str(path), expected="a header line and rows")


def _sniff(text: str) -> str:
    """The delimiter that splits the first lines into the same number of fields, more than one."""

    def fitness(delimiter: str) -> tuple[bool, float, int]:
        widths = [len(row) for row, _ in zip(_rows(text[:20_000], delimiter), range(20), strict=False)]
        alike = sum(width == widths[0] for width in widths) / len(widths)
        return widths[0] > 1, alike, widths[0]

    return max(_DELIMITERS, key=fitness)


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter)
    return (row for row in reader if row)


def _raw_header(text: str, delimiter: str) -> list[str]:
    return next(_rows(text, delimiter))


def _header(names: list[str], path: Path) -> list[str]:
    if _holds_values(names):
        raise DataError("the first line holds values, not column names", where=str(path), hint="add a header line")
    names = [name or f"column_{i + 1}" for i, name in enumerate(names)]
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


def _check_widths(text: str, delimiter: str, width: int, path: Path, first: int) -> None:
    """Refuse a line with more or fewer fields than the header: silently filled gaps shift values between columns."""
    for number, found in _widths(text, delimiter):
        if found != width:
            raise DataError(
                "a line that does not fit the header",
                where=f"{path}, line {first - 1 + number}",
                expected=f"{width} fields",
                got=found,
            )


def _widths(text: str, delimiter: str) -> Iterator[tuple[int, int]]:
    if '"' not in text:
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip(" "):
                yield number, line.count(delimiter) + 1
        return
    reader = csv.reader(text.split("\n"), delimiter=delimiter)
    while True:
        start = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise DataError(f"cannot be read as a table ({error})", where=f"line {start}") from None
        if row is None:
            return
        if row:
            yield start, len(row)
