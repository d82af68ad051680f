"""How much the columns of a table matter to a model: what its loss gains when the values of one are shuffled.

Breiman (2001), "Random forests", section 10. The rows are those that networks held out, each judged by those networks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.tabular.model import Rows, TabularModel
from chainrule.tabular.scores import Score, row_log_losses

Array = np.ndarray[Any, Any]
ROWS = 500
"""Rows that are judged, at most."""
ELEMENTS = 2**24
"""Numbers in the matrix of shuffled rows, at most; where the columns are more, they are not told of."""


def importance(model: TabularModel, rows: Rows, seed: int = 0) -> dict[str, Score]:
    """For each column the mean gain in a row's loss, by the rows' weights, with its standard error, the largest first.

    The loss is −ln of the probability of the row's class, or the squared error over the variance of the target, so that
    a gain of 0.1 is a loss of 0.1 in R². Empty where no rows were held out, or columns are too many.

    Args:
        model: after `fit`.
        rows: those that it was fitted to, and those that it was stopped by after them.
        seed: of the shuffle.
    """
    columns = list(dict.fromkeys(feature.column for feature in model.preprocessor.layout))
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(model.held_out))[:ROWS])
    if not len(chosen) or (len(columns) + 1) * len(chosen) * rows.X.shape[1] > ELEMENTS:
        return {}
    places = model.held_out[chosen]
    some = rows.some(places)
    shuffled = np.tile(some.X, (len(columns) + 1, 1, 1))
    for i, column in enumerate(columns):
        order = rng.permutation(len(chosen))
        for feature in model.preprocessor.layout:
            if feature.column == column:
                shuffled[i, :, feature.slice] = some.X[order, feature.slice]
    losses = _losses(model, shuffled, some, places)
    gains = losses[:-1] - losses[-1]
    found = {column: _mean(gain, some.weight) for column, gain in zip(columns, gains, strict=True)}
    return dict(sorted(found.items(), key=lambda pair: -pair[1].value))


def _mean(gain: Array, weight: Array) -> Score:
    """The weighted mean and its standard error, √(Σ w²(g − ḡ)²·n/(n − 1))/Σ w."""
    mean, count = np.average(gain, weights=weight), len(gain)
    if count < 2:
        return Score(float(mean), None)
    spread = np.sqrt(((weight * (gain - mean)) ** 2).sum() * count / (count - 1))
    return Score(float(mean), float(spread / weight.sum()))


def _losses(model: TabularModel, versions: Array, rows: Rows, places: Array) -> Array:
    """(versions, n) the loss of each row."""
    outputs = model.outputs(versions.reshape(-1, versions.shape[-1]))
    counted = np.tile(model.counted(places), (len(versions), 1))
    found = model.answers.mean(model.answers.of_members(outputs), counted)
    truth = np.tile(rows.y, len(versions))
    if model.preprocessor.task == "classify":
        return row_log_losses(truth, found).reshape(len(versions), -1)
    centre = np.average(rows.y, weights=rows.weight)
    variance = np.average((rows.y - centre) ** 2, weights=rows.weight) or 1.0
    return ((found - truth) ** 2 / variance).reshape(len(versions), -1)
