"""The recipe for a table where the user has not said otherwise. `benchmarks/defaults.py` measures it.

Each function gives one option's default from the options chosen before it, the task and the number of training rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from chainrule.cli.choices import OPTIMIZERS

STEPS = 2000
"""About how many updates a network of this size needs; small tables are gone through more often for it."""
LEAST_EPOCHS, MOST_EPOCHS = 40, 200
PATIENCE = 20
"""Epochs without a better validation loss before the training stops."""
DROPOUT = {"classify": 0.2, "regress": 0.0}
"""Dropout adds noise to a number that is predicted, where there is much data more than it gains."""
SMOOTHING = 0.05
"""Labels a little uncertain: without it the validation loss turns upwards long before the errors do."""
Chosen = Mapping[str, Any]


def batch_size(chosen: Chosen, task: str, rows: int) -> int:
    """32 for small tables, up to 512 where there are many rows; all rows for what reads curvature from its steps.

    Example:
        >>> [batch_size({"optimizer": "adam"}, "classify", rows) for rows in (1000, 50_000, 10**7)]
        [32, 128, 512]
    """
    return rows if _full_batch(chosen) else min(max(2 ** round(math.log2(max(rows, 1) / 400)), 32), 512)


def epochs(chosen: Chosen, task: str, rows: int) -> int:
    """As many as make about `STEPS` updates."""
    steps = math.ceil(rows / min(chosen["batch_size"], rows))
    return min(max(math.ceil(STEPS / steps), LEAST_EPOCHS), MOST_EPOCHS)


def rate(chosen: Chosen, task: str, rows: int) -> float:
    """The optimizer's own."""
    return OPTIMIZERS[chosen["optimizer"]].rate


def schedule(chosen: Chosen, task: str, rows: int) -> str:
    """Down to nothing along a cosine; what finds its own step length is left alone."""
    return "constant" if _full_batch(chosen) else "cosine"


def dropout(chosen: Chosen, task: str, rows: int) -> float:
    """By the task; none where every step must see the same network."""
    return 0.0 if _full_batch(chosen) else DROPOUT[task]


def _full_batch(chosen: Chosen) -> bool:
    return bool(chosen["optimizer"] == "lbfgs")
