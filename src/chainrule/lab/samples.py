"""Small data sets that several labs share."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from chainrule.data.sources import load

Array = np.ndarray[Any, Any]


@functools.cache
def digits() -> tuple[Array, Array]:
    """scikit-learn's 1,797 digits: pixels from 0 to 1, (1797, 64), and labels 0…9, in a random order."""
    frame = load("digits").frame
    assert frame is not None, "digits is a table"
    table = frame.to_numpy()
    table = table[np.random.default_rng(0).permutation(len(table))]
    X, y = (table[:, :-1] / 16).astype(np.float32), table[:, -1].astype(np.int64)
    # They are shared, so nobody may write into them.
    X.flags.writeable = y.flags.writeable = False
    return X, y
