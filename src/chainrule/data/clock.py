"""How dates, moments and times of day are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from chainrule.data.cells import of_clock

if TYPE_CHECKING:
    import polars as pl

_DATES = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%m/%d/%y",
    "%d/%m/%y", "%d.%m.%y", "%d-%m-%y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%b %d %Y", "%d %B %Y",
    "%B %d, %Y", "%Y-%m", "%Y/%m",
)  # fmt: skip
_TIMES = ("%H:%M", "%H:%M:%S%.f", "%I:%M %p", "%I:%M:%S %p")
_BETWEEN = (" ", "T")
_ZONES = ("", "Z", "%z", " %z")
_PIECES = {
    "%Y": r"\d{4}", "%m": r"\d{1,2}", "%d": r"\d{1,2}", "%y": r"\d{2}", "%b": "[A-Za-z]{3}", "%B": "[A-Za-z]{3,9}",
    "%H": r"\d{1,2}", "%M": r"\d{2}", "%S": r"\d{2}", "%I": r"\d{1,2}", "%p": "[AaPp][Mm]", "%z": r"[+-]\d{2}:?\d{2}",
    "%.f": r"(\.\d+)?",
}  # fmt: skip
_SPAN = r"^(\d{1,4}):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?$"
_LOOKS = re.compile(
    r"^(\d{1,4}[-/. ](\d{1,2}|[A-Za-z]{3,9})[-/. ]\d|\d{4}[-/]\d{2}$|\d{1,4}:\d{2}|[A-Za-z]{3,9} \d{1,2},? \d{4})"
)
_TRIED = 64
"""Texts by which formats are ruled out before all are read."""


@dataclass(frozen=True)
class ClockFormat:
    """How the dates or times of a column are written.

    Args:
        kind: "moment" (a date, with or without a time of day), "time" (a time of day) or "span" (a duration).
        format: as `strptime` has it; of a duration, hours may be any number.

    Example:
        >>> import polars as pl
        >>> ClockFormat("moment", "%d.%m.%Y").read(pl.Series(["02.01.1970", "31.02.1970"])).tolist()
        [1.0, nan]
    """

    kind: Literal["moment", "time", "span"]
    format: str

    def read(self, texts: pl.Series) -> np.ndarray:
        """Days since 1970 (in UTC, where the text names a zone), or hours; NaN where a text is neither."""
        import polars as pl

        fitting = texts.set(~texts.str.contains(self.pattern).fill_null(False), None)
        if self.kind == "time":
            return of_clock(fitting.str.to_time(self.format, strict=False))
        if self.kind == "span":
            parts = fitting.str.extract_groups(_SPAN).struct
            hours, minutes, seconds = (parts.field(name).cast(pl.Float64).to_numpy() for name in "123")
            return hours + minutes / 60 + np.where(np.isnan(seconds), 0, seconds) / 3600
        if "%d" not in self.format:
            return of_clock((fitting + "-1").str.to_date(f"{self.format}-%d", strict=False))
        if not re.search("%[HI]", self.format):
            return of_clock(fitting.str.to_date(self.format, strict=False))
        zoned = "%z" in self.format
        read = fitting.str.to_datetime(self.format, strict=False, time_unit="us", time_zone="UTC" if zoned else None)
        return of_clock(read.dt.replace_time_zone(None) if zoned else read.cast(pl.Datetime("us")))

    @property
    def pattern(self) -> str:
        """What a text must look like: `strptime` would take a year of two digits for one of the first century."""
        if self.kind == "span":
            return _SPAN
        pieces = re.split(r"(%\.f|%[A-Za-z])", self.format)
        return "^" + "".join(_PIECES.get(piece, re.escape(piece)) for piece in pieces) + "$"


def _likely(sample: pl.Series) -> list[ClockFormat]:
    """The formats of which at least half of some texts look like."""

    def fit(formats: list[ClockFormat]) -> list[ClockFormat]:
        return [found for found in formats if 2 * int(sample.str.contains(found.pattern).sum()) >= len(sample)]

    days = sample.str.extract(r"^(.*?)(?:[ T]\d{1,2}:\d{2}.*)?$")
    dates = [
        date for date in _DATES if 2 * int(days.str.contains(ClockFormat("moment", date).pattern).sum()) >= len(days)
    ]
    found = fit([ClockFormat("moment", date) for date in dates])
    if not found:
        endings = [f"{between}{time}{zone}" for between in _BETWEEN for time in _TIMES for zone in _ZONES]
        found = fit([ClockFormat("moment", date + ending) for date in dates for ending in endings])
    # A duration comes last: of those that read as many cells, the first is taken.
    return found or fit([*(ClockFormat("time", time) for time in _TIMES), ClockFormat("span", "%H:%M:%S")])


@dataclass(frozen=True)
class Clocked:
    """The format that reads most of some texts.

    Args:
        format: the format.
        values: what it makes of the texts; NaN where one is neither date nor time.
        ambiguous: a text that another format reads as another date, where both read as many.
    """

    format: ClockFormat
    values: np.ndarray
    ambiguous: str | None


def find_clock(texts: pl.Series, counts: np.ndarray) -> Clocked | None:
    """The format that reads most cells, or None where hardly one looks like a date or a time.

    Args:
        texts: different ones.
        counts: how often each occurs.
    """
    sample = texts.head(_TRIED)
    if not len(sample) or 2 * sum(_LOOKS.match(text) is not None for text in sample) < len(sample):
        return None
    read = [(found, found.read(texts)) for found in _likely(sample)]
    scores = [int(counts[~np.isnan(values)].sum()) for _, values in read]
    if not scores or not max(scores):
        return None
    best = int(np.argmax(scores))
    found, values = read[best]
    for score, (_, others) in zip(scores, read, strict=True):
        differ = np.flatnonzero(~np.isnan(values) & ~np.isnan(others) & (values != others))
        if score == scores[best] and differ.size:
            return Clocked(found, values, str(texts[int(differ[0])]))
    return Clocked(found, values, None)
