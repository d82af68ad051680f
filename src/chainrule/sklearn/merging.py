"""Rows that are alike as one row that counts for several, in an order that is that of no table.

So a fit does not depend on the order of the rows, and a row of weight 3 is the same as three of them: neither stands on
both sides of a fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.cells import kind_of

if TYPE_CHECKING:
    import polars as pl

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Merged:
    """What the rows of a table are merged into.

    Attributes:
        rows: (m,) for each row that is left, the number of the first one that it stands for.
        weight: (m,) how much it counts.
        place: (n,) which of them stands for each row of the table; −1 for rows of weight 0.
    """

    rows: Array
    weight: Array
    place: Array


def merge(table: pl.DataFrame, weight: Array) -> Merged:
    """Merge the rows of a table that are alike, unless they may be so by chance.

    Where independent rows are expected to coincide, as with a few columns of few values, equal rows are different
    observations and are left as they are.

    Args:
        table: n rows.
        weight: (n,) how much each counts, at least 0, and one of them more.

    Example:
        >>> import polars as pl
        >>> merged = merge(pl.DataFrame({"a": [2.5, 1.5, 2.5], "b": [1.2, 3.4, 1.2]}), np.array([1.0, 1.0, 2.0]))
        >>> merged.rows.tolist(), merged.weight.tolist(), merged.place.tolist()
        ([1, 0], [1.0, 3.0], [1, 0, 1])
    """
    import polars as pl

    counted = np.flatnonzero(weight > 0)
    # What the reader can make nothing of cannot tell rows apart, and need not have an order.
    table = table.select(c.alias(str(i)) for i, c in enumerate(table) if kind_of(c.dtype) != str(c.dtype))[counted]
    order = table.select(pl.arg_sort_by(map(pl.col, table.columns), maintain_order=True)).to_series().to_numpy()
    first = table[order].select(pl.any_horizontal(pl.all().ne_missing(pl.all().shift()))).to_series().to_numpy().copy()
    first[0] = True
    if not first.all() and may_coincide(table):
        first[:] = True
    group, sources = np.cumsum(first) - 1, counted[order]
    place = np.full(len(weight), -1)
    place[sources] = group
    return Merged(sources[first], np.bincount(group, weight[sources]), place)


def may_coincide(table: pl.DataFrame) -> bool:
    """Whether two rows would be alike if the values of each column were dealt out anew: n(n − 1)/2·∏ Σ p² ≥ 1.

    Example:
        >>> import polars as pl
        >>> may_coincide(pl.DataFrame({"a": ["x", "y"] * 10, "b": [True] * 20}))
        True
        >>> may_coincide(pl.DataFrame({"a": np.arange(9.0), "b": np.arange(9.0)}))
        False
    """
    pairs = table.height * (table.height - 1) / 2
    for column in table:
        pairs *= float(np.sum((column.unique_counts().to_numpy() / table.height) ** 2))
        if pairs < 1:
            return False
    return True
