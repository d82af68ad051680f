"""How numbers are written: with a decimal comma, with marks between thousands, with a currency or a percent sign."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl

_MONEY = r"(?:[A-Z]{0,2}\$|[€£¥₹₩₽₺₫฿]|(?:USD|EUR|GBP|JPY|CHF|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN|BRL|Rs|kr)\b\.?)"
_WRITTEN = (
    rf"(?i)^(\()?\s*([-+−])?\s*{_MONEY}?\s*([-+−])?\s*(\d[\d.,'’_\s]*|[.,]\d+)(e[-+]?\d+)?\s*(?:{_MONEY}|%)?\s*(\))?$"
)
_NUMBER = re.compile(_WRITTEN)
_TRIED = 64
"""Texts none of which is a number where a column holds none."""
_SIGNS = re.compile(rf"{_MONEY}|%|\(|(?<=\d)[.,'’_\s](?=\d{{3}})", re.IGNORECASE)


@dataclass(frozen=True)
class NumberFormat:
    """How the numbers of a column are written. A currency, a percent sign and brackets for a minus may stand in any.

    Args:
        decimal: "." or ",".
        thousands: what may stand between groups of three digits.

    Example:
        >>> import polars as pl
        >>> NumberFormat(".", ",").read(pl.Series(["$1,234.50", "(12)", "5 %", "12,34"])).tolist()
        [1234.5, -12.0, 5.0, nan]
    """

    decimal: str
    thousands: str

    def read(self, texts: pl.Series) -> np.ndarray:
        """The numbers, float64; NaN where a text is no finite one."""
        return self.read_pieces(_Pieces.of(texts))

    def read_pieces(self, pieces: _Pieces) -> np.ndarray:
        """As `read`, of texts that have been taken apart."""
        import polars as pl

        point, mark = re.escape(self.decimal), f"[{_MARKS[self.thousands]}]"
        fits = pieces.digits.str.contains(rf"^(\d+|\d{{1,3}}({mark}\d{{3}})+)?({point}\d*)?$")
        plain = pieces.digits.str.replace_all(mark, "").str.replace(self.decimal, ".", literal=True)
        values = (plain + pieces.exponent).set(~fits.fill_null(False), None).cast(pl.Float64, strict=False)
        numbers = values.fill_null(np.nan).to_numpy() * pieces.sign
        return np.where(np.isfinite(numbers), numbers, np.nan)


@dataclass(frozen=True)
class _Pieces:
    """Texts taken apart.

    Args:
        digits: with the marks between them; null where a text is no number in any format.
        exponent: empty where there is none.
        sign: 1 or -1, NaN where only one bracket stands.
    """

    digits: pl.Series
    exponent: pl.Series
    sign: np.ndarray

    @classmethod
    def of(cls, texts: pl.Series) -> _Pieces:
        parts = texts.str.extract_groups(_WRITTEN).struct
        opened, closed = (parts.field(name).is_not_null().to_numpy() for name in ("1", "6"))
        minus = [parts.field(name).is_in(["-", "−"]).fill_null(False).to_numpy() for name in ("2", "3")]
        sign = np.where(opened != closed, np.nan, np.where(minus[0] | minus[1] | opened, -1.0, 1.0))
        return cls(parts.field("4").str.strip_chars(), parts.field("5").fill_null(""), sign)


_MARKS = {",": ",", ".": ".", " ": r"\s_", "'": "'’"}
FORMATS = tuple(NumberFormat(*pair) for pair in ((".", ","), (",", "."), (".", " "), (",", " "), (".", "'")))
"""Those that are tried, likelier ones first."""


@dataclass(frozen=True)
class Written:
    """The format that reads most of some texts.

    Args:
        format: the format.
        values: what it makes of the texts; NaN where one is no number.
        ambiguous: a text that another format reads as another number, where both read as many.
    """

    format: NumberFormat
    values: np.ndarray
    ambiguous: str | None


def find_format(texts: pl.Series, counts: np.ndarray, decimal_comma: bool) -> Written:
    """The format that reads most cells.

    Args:
        texts: different ones.
        counts: how often each occurs.
        decimal_comma: whether a comma is rather a decimal one where both is possible, as where semicolons divide.
    """
    order = sorted(FORMATS, key=lambda f: (f.decimal == ",") != decimal_comma)
    # Most columns of text hold no number at all, and there may be thousands of them.
    if not any(_NUMBER.match(text) for text in texts.head(_TRIED)):
        return Written(order[0], np.full(len(texts), np.nan), None)
    pieces = _Pieces.of(texts)
    read = [(format_, format_.read_pieces(pieces)) for format_ in order]
    # With as many cells read the earlier format is taken, and one that leaves fewer is not rivalled.
    scores = [int(counts[~np.isnan(values)].sum()) for _, values in read]
    best = int(np.argmax(scores))
    format_, values = read[best]
    for score, (_, others) in zip(scores, read, strict=True):
        both = ~np.isnan(values) & ~np.isnan(others)
        differ = np.flatnonzero(both & (values != others))
        if score == scores[best] and differ.size:
            return Written(format_, values, str(texts[int(differ[0])]))
    return Written(format_, values, None)


def signs_in(texts: pl.Series, values: np.ndarray) -> list[str]:
    """What stands beside the digits of those texts that are numbers: currencies, percent signs, marks in thousands."""
    found = {
        sign for text, value in zip(texts, values, strict=True) if not np.isnan(value) for sign in _SIGNS.findall(text)
    }
    return sorted(found)
