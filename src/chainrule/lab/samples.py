"""Small data sets that several labs share."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from chainrule.data import bundled

Array = np.ndarray[Any, Any]


@functools.cache
def digits() -> tuple[Array, Array]:
    """The 1,797 bundled digits: pixels from 0 to 1, (1797, 64), and labels 0…9, in a random order."""
    X, y = bundled.arrays("digits")
    order = np.random.default_rng(0).permutation(len(X))
    X, y = (X[order] / 16).astype(np.float32), y[order]
    # They are shared, so nobody may write into them.
    X.flags.writeable = y.flags.writeable = False
    return X, y


def irises() -> tuple[Array, Array]:
    """The 150 bundled irises: standardised features, (150, 4), and classes 0…2, in their own order."""
    X, y = bundled.arrays("iris")
    return (X - X.mean(0)) / X.std(0), y
