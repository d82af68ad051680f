"""What counts as missing, and texts out of cells of any type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

MISSING = (
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null", "?",
)  # fmt: skip
"""The words for a missing value in a text file: those of pandas, and the question mark. An empty cell always is one."""


@dataclass(frozen=True)
class Reading:
    """How a table is to be read, where it should not be found out.

    Args:
        na: further words for a missing value; with an empty one among them they replace the usual ones. The usual ones
            count in text files; what a data frame does not have as missing is not.
        ignore: columns to leave out.
        categorical: columns whose values are names, even if they look like numbers.
        numeric: columns that hold numbers, even if many cells do not, or if they look like codes or row numbers.
    """

    na: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()

    def words(self, is_text: bool) -> list[str]:
        """The words for a missing value in a text file, or in a table that has types.

        Example:
            >>> Reading(na=("", "none")).words(is_text=True), "NULL" in Reading(na=("none",)).words(is_text=True)
            (['none'], True)
        """
        given = self.na or ()
        usual = MISSING if is_text and "" not in given else ()
        return [*usual, *(word for word in given if word)]


def present(texts: pl.Series, words: Sequence[str]) -> pl.Series:
    """Texts without the spaces around them; null where nothing stands, or a word for a missing value."""
    stripped = texts.str.strip_chars()
    return stripped.set(stripped.is_in(["", *words]).fill_null(False), None)


def as_text(column: pl.Series, words: Sequence[str]) -> pl.Series:
    """A column of any type as text, null where a value is missing: whole numbers without decimals, true and false."""
    import polars as pl

    if column.dtype == pl.String:
        return present(column, words)
    if column.dtype.is_float():
        column = column.fill_nan(None)
        whole = column.cast(pl.Int64, strict=False)
        same = (whole.cast(pl.Float64) == column.cast(pl.Float64)).fill_null(False)
        return whole.cast(pl.String).zip_with(same, column.cast(pl.String)).alias(column.name)
    return column.cast(pl.String, strict=False)


def found_levels(texts: pl.Series, levels: Sequence[str], is_boolean: bool) -> pl.Series:
    """The number of each text's level, from 0; null where it is none of them.

    True and False of a table with types are the levels that are so called, however these are written.
    """
    import polars as pl

    if is_boolean:
        names = {level.lower(): level for level in levels if level.lower() in ("true", "false")}
        texts = texts.replace(list(names), list(names.values())) if names else texts
    return texts.replace_strict(list(levels), list(range(len(levels))), default=None, return_dtype=pl.Int64)
