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


def read_csv(path: str | Path) -> pl.DataFrame:
    """The table in a text file with a header line; the delimiter is a comma, semicolon, tab or bar, whichever fits.

    Raises:
        DataError: if the file is empty, is not UTF-8, has no header, repeats a column name, or has a line with more
            or fewer fields than the header.
    """
    import polars as pl

    path = Path(path)
    text = _decode(path)
    delimiter = _sniff(text)
    names = _header(text, delimiter, path)
    _check_widths(text, delimiter, len(names), path)
    frame = _read(text, delimiter, names)
    typed = [typed_column(column, decimal_comma=delimiter != ",") for column in frame.iter_columns()]
    nameless = {f"column_{i + 1}" for i, name in enumerate(_raw_header(text, delimiter)) if not name.strip()}
    return pl.DataFrame([c for c in typed if not (c.name in nameless and c.null_count() == len(c))])


def _read(text: str, delimiter: str, names: list[str]) -> pl.DataFrame:
    import polars as pl

    try:
        frame = pl.read_csv(
            text.encode(), separator=delimiter, has_header=False, skip_rows=1, infer_schema=False, new_columns=names
        )
    except pl.exceptions.NoDataError:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    # A blank line is a row of nothing to the reader, yet no row to anyone who looks at the file.
    return frame.filter(~pl.all_horizontal(pl.all().is_null())) if _BLANK.search(text) else frame


def typed_column(column: pl.Series, decimal_comma: bool = False) -> pl.Series:
    """A column of text as whole numbers, numbers, booleans or dates, if every value present is one.

    Example:
        >>> import polars as pl
        >>> typed_column(pl.Series("age", ["31", " 40", "NA"])).to_list()
        [31, 40, None]
    """
    import polars as pl

    text = column.str.strip_chars()
    text = text.set(text.is_in(MISSING), None)
    present = text.drop_nulls()
    if present.is_empty():
        return text.cast(pl.Null)
    for kind in (pl.Int64, pl.Float64):
        numbers = text.cast(kind, strict=False)
        if numbers.null_count() == text.null_count():
            return numbers
    if decimal_comma and present.str.contains(r"^[-+]?\d*,?\d+([eE][-+]?\d+)?$").all():
        return text.str.replace(",", ".", literal=True).cast(pl.Float64)
    lower = text.str.to_lowercase()
    if lower.drop_nulls().is_in(["true", "false"]).all():
        return lower == "true"
    return text


def is_date_text(column: pl.Series) -> bool:
    """Whether every text present looks like a date: 2024-03-01, 1/3/24, 01.03.2024 10:15."""
    present = column.drop_nulls()
    return not present.is_empty() and bool(present.str.contains(_DATE).all())


def _decode(path: Path) -> str:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError("not UTF-8 text", where=f"{path}, line {line}", hint="save the table as UTF-8") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\n")
    if not text.strip():
        raise DataError("the file is empty", where=str(path), expected="a header line and rows")
    return text


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


def _header(text: str, delimiter: str, path: Path) -> list[str]:
    names = [name.strip() for name in _raw_header(text, delimiter)]
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


def _check_widths(text: str, delimiter: str, width: int, path: Path) -> None:
    """Refuse a line with more or fewer fields than the header: silently filled gaps shift values between columns."""
    for number, found in _widths(text, delimiter):
        if found != width:
            raise DataError(
                "a line that does not fit the header",
                where=f"{path}, line {number}",
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
