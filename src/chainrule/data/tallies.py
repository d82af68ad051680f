"""What passes through a table tell about its columns, batch by batch, in memory that does not grow with the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chainrule.data.scale import quartiles

if TYPE_CHECKING:
    import polars as pl

MOST_TEXTS = 100_000
"""Different texts that are kept of a column."""
SAMPLE = 2**23
"""Numbers that are kept of all columns together, for their quartiles."""


@dataclass(frozen=True)
class Texts:
    """The different texts of a column.

    Args:
        text: each once.
        count: how often it occurs.
        first: the number of the first row that has it.
        met: how many cells of the column held anything.
        share: of all different texts, how many are here: 1 unless they were too many.
    """

    text: pl.Series
    count: np.ndarray
    first: np.ndarray
    met: int
    share: float = 1.0

    @property
    def present(self) -> int:
        """How many cells hold those that are here."""
        return int(self.count.sum())


class TextTally:
    """Counts the different texts of a column; of more than `MOST_TEXTS`, those by chance whose hash is divisible.

    Which are kept does not depend on the order of the rows, as it would if the first ones were.
    """

    def __init__(self) -> None:
        self._rows: dict[str, tuple[int, int]] = {}
        self._met, self._every = 0, 1

    def add(self, text: pl.Series, count: np.ndarray, first: np.ndarray) -> None:
        """Take in different texts of a batch, how often each occurs, and the first row of each."""
        self._met += int(count.sum())
        if self._every > 1:
            kept = (text.hash() % self._every == 0).to_numpy()
            text, count, first = text.filter(kept), count[kept], first[kept]
        for word, number, row in zip(text, count.tolist(), first.tolist(), strict=True):
            before, earlier = self._rows.get(word, (0, row))
            self._rows[word] = before + number, min(row, earlier)
        while len(self._rows) > MOST_TEXTS:
            self._every *= 2
            self._thin()

    def _thin(self) -> None:
        import polars as pl

        words = pl.Series(list(self._rows), dtype=pl.String)
        self._rows = {word: self._rows[word] for word in words.filter(words.hash() % self._every == 0)}

    def texts(self) -> Texts:
        """The texts that were kept."""
        import polars as pl

        numbers = np.array(list(self._rows.values()), dtype=np.int64).reshape(-1, 2)
        return Texts(
            pl.Series(list(self._rows), dtype=pl.String), numbers[:, 0], numbers[:, 1], self._met, 1 / self._every
        )


def tally_by_column(column: np.ndarray, text: pl.Series, row: np.ndarray, tallies: dict[int, TextTally]) -> None:
    """Take in cells of several columns, each by the number of its column, its text and its row."""
    import polars as pl

    if not len(text):
        return
    cells = pl.DataFrame({"column": column, "text": text, "row": row})
    found = cells.group_by("column", "text").agg(pl.len().alias("count"), pl.col("row").min()).sort("column", "row")
    numbers = found["column"].to_numpy()
    starts = np.flatnonzero(np.diff(numbers, prepend=-1))
    count, first = found["count"].to_numpy().astype(np.int64), found["row"].to_numpy()
    for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True):
        tally = tallies.setdefault(int(numbers[start]), TextTally())
        tally.add(found["text"][int(start) : int(stop)], count[start:stop], first[start:stop])


class NumberTally:
    """Counts, ranges and a sample of columns of numbers.

    Args:
        width: how many columns there are.
    """

    def __init__(self, width: int) -> None:
        self.rows = 0
        self.count = np.zeros(width, np.int64)
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
        self.whole = np.ones(width, bool)
        self._sample: list[np.ndarray] = []
        self._every = 1
        self._most = max(1024, SAMPLE // max(1, width))

    def add(self, values: np.ndarray) -> None:
        """Take in a batch, float64 (rows, columns), NaN where a number is missing."""
        if not values.size:
            return
        self.count += len(values) - np.isnan(values).sum(axis=0)
        self.low = np.fmin(self.low, np.fmin.reduce(values, axis=0))
        self.high = np.fmax(self.high, np.fmax.reduce(values, axis=0))
        self.whole &= ~((np.floor(values) != values) & ~np.isnan(values)).any(axis=0)
        self._sample.append(values[-self.rows % self._every :: self._every])
        self.rows += len(values)
        while sum(map(len, self._sample)) > self._most:
            self._sample = [np.concatenate(self._sample)[::2]]
            self._every *= 2

    @property
    def sample(self) -> np.ndarray:
        """Every k-th row, k being doubled whenever they become too many."""
        if len(self._sample) != 1:
            self._sample = [np.concatenate([np.empty((0, len(self.count))), *self._sample])]
        return self._sample[0]

    @property
    def is_complete(self) -> bool:
        """Whether the sample is everything."""
        return self._every == 1

    def quartiles(self) -> np.ndarray:
        """(3, columns), of the sample; the middle of the range where the sample has no number of a column."""
        found = quartiles(self.sample) if len(self.sample) else np.full((3, len(self.count)), np.nan)
        known = self.count > 0
        middle = np.where(known, np.where(known, self.low, 0) / 2 + np.where(known, self.high, 0) / 2, 0.0)
        return np.where(np.isnan(found), middle, found)
