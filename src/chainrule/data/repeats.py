"""Columns that say exactly what the target says: most often it has come into the table twice."""

from __future__ import annotations

import numpy as np

from chainrule.data.sources import Source

_LOOKED_AT = 10_000
"""Rows that are compared."""
_LEAST = 10
"""Rows from which such a column is no coincidence."""
_EXACT = 1e-9
"""How far from 1 or −1 a correlation may be, by rounding."""


def repeats(source: Source, target: str, names: list[str], rows: np.ndarray) -> list[str]:
    """The columns among `names` whose numbers are those of the target, shifted or stretched, or whose texts are its.

    Args:
        source: a table.
        target: the column to predict.
        names: of the columns of features.
        rows: that are compared, as far as they are labelled.

    Example:
        >>> import polars as pl
        >>> price = [float(i * i % 17) for i in range(20)]
        >>> frame = pl.DataFrame({"net": [0.8 * p for p in price], "size": range(20), "price": price})
        >>> repeats(Source.of_frame(frame), "price", ["net", "size"], np.arange(20))
        ['net']
    """
    rows, plain = rows[:_LOOKED_AT], source.plain
    if len(rows) < _LEAST:
        return []
    place = np.array([plain.index[name] for name in names], dtype=int)
    y = plain.values[rows, plain.index[target]]
    if not np.isnan(y).any():
        return [names[i] for i in np.flatnonzero(_alike(plain.values[rows][:, place], y))]
    words = source.column(target).gather(rows)
    candidates = set(place.tolist())
    for row, word in zip(rows[:_LEAST].tolist(), words.head(_LEAST).cast(str), strict=True):
        here = plain.odd.row == row
        candidates &= set(
            plain.odd.column[here][(plain.odd.text.filter(here) == str(word).strip()).to_numpy()].tolist()
        )
    return [plain.names[i] for i in sorted(candidates) if source.column(plain.names[i]).gather(rows).equals(words)]


def _alike(values: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which columns are correlated with y perfectly; none where a number is missing."""
    with np.errstate(all="ignore"):
        centred, of_y = values - values.mean(axis=0), y - y.mean()
        product = of_y @ centred / np.sqrt((centred**2).sum(axis=0) * (of_y**2).sum())
        return np.abs(product) >= 1 - _EXACT
