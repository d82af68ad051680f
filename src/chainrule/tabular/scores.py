"""How good predictions are, on rows that their networks have not seen: each figure with its standard error.

Figures that are means over rows have the usual error, s/√n. The others have that of the jackknife over 20 groups of
rows: of the values without each group, √(Σ (v − v̄)²·19/20) (Efron 1982, "The jackknife, the bootstrap and other
resampling plans").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Figure = Callable[[Array, Array, Array], float]
"""(truth, prediction, weight) → a number; of a classifier predictions are (n, classes) probabilities."""
GROUPS = 20


@dataclass(frozen=True)
class Score:
    """A figure and its standard error, None where it is not known.

    Example:
        >>> print(Score(0.99957, 0.00412))
        0.9996 ± 0.0041
    """

    value: float
    error: float | None

    def __str__(self) -> str:
        """The figure to the second digit of its error, which no further one says anything about."""
        if self.error is None:
            return plain_number(self.value)
        # An error of rounding is none.
        if self.error <= 1e-12 * abs(self.value):
            return f"{plain_number(self.value)} ± 0"
        places = 1 - math.floor(math.log10(self.error))
        if not 0 <= places <= PLACES:
            return f"{plain_number(self.value)} ± {plain_number(self.error, 2)}"
        return f"{self.value:,.{places}f} ± {self.error:.{places}f}"


PLACES = 6
"""Decimals that are written out, at most."""


def plain_number(number: float, digits: int = 4) -> str:
    """A number for people: so many digits, and powers of ten only where it is very large or small.

    Example:
        >>> plain_number(234567.8), plain_number(0.123456), plain_number(1e-9)
        ('234,600', '0.1235', '1e-09')
    """
    rounded = float(f"{number:.{digits}g}")
    return f"{rounded:,.{digits}g}" if not 10**digits <= abs(rounded) < 1e9 else f"{rounded:,.0f}"


def accuracy(truth: Array, chances: Array, weight: Array) -> float:
    """The share of rows whose likeliest class is theirs."""
    return float(np.average(chances.argmax(axis=1) == truth, weights=weight))


def balanced_accuracy(truth: Array, chances: Array, weight: Array) -> float:
    """The mean over the classes of the share of their rows that are found."""
    hits = chances.argmax(axis=1) == truth
    return float(np.mean([np.average(hits[truth == c], weights=weight[truth == c]) for c in np.unique(truth)]))


def row_log_losses(truth: Array, chances: Array) -> Array:
    """(n,) −ln of the probability of each row's class; that of the smallest number for 0."""
    own: Array = chances[np.arange(len(truth)), truth]
    return -np.log(np.maximum(own, np.finfo(np.float64).tiny))


def log_loss(truth: Array, chances: Array, weight: Array) -> float:
    """−ln of the probability of a row's class, on average."""
    return float(np.average(row_log_losses(truth, chances), weights=weight))


def auc(truth: Array, chances: Array, weight: Array) -> float:
    """The chance that a row of a class scores higher for it than one of another; the mean over classes beyond two."""
    classes = [1] if chances.shape[1] == 2 else np.unique(truth)
    found = [_auc(truth == c, chances[:, c], weight) for c in classes]
    return float(np.mean(found))


def _auc(positive: Array, score: Array, weight: Array) -> float:
    """The Mann–Whitney statistic; ties count half."""
    values, place = np.unique(score, return_inverse=True)
    above = np.bincount(place, weight * positive, len(values))
    below = np.bincount(place, weight * ~positive, len(values))
    pairs = above.sum() * below.sum()
    return float((above * (np.cumsum(below) - below / 2)).sum() / pairs) if pairs else np.nan


def f1(truth: Array, chances: Array, weight: Array) -> float:
    """2·hits/(predicted + actual), of class 1 of two, or the mean over the classes that occur, beyond two."""
    predicted = chances.argmax(axis=1)
    classes = [1] if chances.shape[1] == 2 else np.union1d(truth, predicted)
    found = []
    for c in classes:
        hits = (weight * ((predicted == c) & (truth == c))).sum()
        either = (weight * (predicted == c)).sum() + (weight * (truth == c)).sum()
        found.append(2 * hits / either if either else 0.0)
    return float(np.mean(found))


def r2(truth: Array, found: Array, weight: Array) -> float:
    """1 − Σ(y − ŷ)²/Σ(y − ȳ)²."""
    spread = (weight * (truth - np.average(truth, weights=weight)) ** 2).sum()
    return float(1 - (weight * (truth - found) ** 2).sum() / spread) if spread > 0 else np.nan


def rmse(truth: Array, found: Array, weight: Array) -> float:
    """√ of the mean of (y − ŷ)²."""
    return float(np.average((truth - found) ** 2, weights=weight) ** 0.5)


def mae(truth: Array, found: Array, weight: Array) -> float:
    """The mean of |y − ŷ|."""
    return float(np.average(np.abs(truth - found), weights=weight))


CLASSES: dict[str, Figure] = {
    "accuracy": accuracy, "balanced_accuracy": balanced_accuracy, "auc": auc, "f1": f1, "log_loss": log_loss,
}  # fmt: skip
NUMBERS: dict[str, Figure] = {"r2": r2, "rmse": rmse, "mae": mae}
LESS_IS_BETTER = ("log_loss", "rmse", "mae")


def figures(task: str) -> dict[str, Figure]:
    """What is said of a task."""
    return CLASSES if task == "classify" else NUMBERS


def scores(task: str, truth: Array, found: Array, weight: Array | None = None) -> dict[str, Score]:
    """Every figure of a task, with its standard error; NaN becomes no score at all.

    Args:
        task: "classify" or "regress".
        truth: (n,) class numbers, or numbers.
        found: (n, classes) probabilities, or (n,) numbers.
        weight: (n,) how much each row counts.

    Example:
        >>> found = scores("regress", np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.0]))
        >>> round(found["r2"].value, 2)
        0.5
    """
    if weight is not None:
        counted = weight > 0
        truth, found, weight = truth[counted], found[counted], weight[counted]
    weight = np.ones(len(truth)) if weight is None else weight
    result = {}
    for name, figure in figures(task).items():
        value = figure(truth, found, weight)
        if np.isfinite(value):
            result[name] = Score(value, _error(figure, truth, found, weight))
    return result


def _error(figure: Figure, truth: Array, found: Array, weight: Array) -> float | None:
    groups = min(GROUPS, len(truth))
    if groups < 3:
        return None
    of_row = np.random.default_rng(0).permutation(len(truth)) % groups
    rest = [of_row != group for group in range(groups)]
    with np.errstate(all="ignore"):
        values = np.array([figure(truth[rows], found[rows], weight[rows]) for rows in rest])
    values = values[np.isfinite(values)]
    if len(values) < 3:
        return None
    return float(np.sqrt(((values - values.mean()) ** 2).sum() * (len(values) - 1) / len(values)))


def confusion(truth: Array, chances: Array, classes: int, weight: Array | None = None) -> Array:
    """(classes, classes) the number of rows of each class by the likeliest one; where they have weights, the sum."""
    cells = truth * classes + chances.argmax(axis=1)
    return np.bincount(cells, weight, minlength=classes**2).reshape(classes, classes)


def calibration(truth: Array, chances: Array, groups: int = 10, weight: Array | None = None) -> list[dict[str, float]]:
    """Of rows grouped by the probability of class 1 (of the likeliest one, beyond two): what was said, what came.

    Groups are of equally many rows, as far as ties allow; each has "rows", "said", the mean probability, and "seen",
    the share of rows of which it was true, both by the weights of the rows.
    """
    weight = np.ones(len(truth)) if weight is None else weight
    two = chances.shape[1] == 2
    said = chances[:, 1] if two else chances.max(axis=1)
    true = truth == 1 if two else truth == chances.argmax(axis=1)
    edges = np.unique(np.quantile(said, np.linspace(0, 1, groups + 1)[1:-1]))
    place = np.searchsorted(edges, said, side="right")
    parts: Sequence[Array] = [place == g for g in np.unique(place)]

    def mean(values: Array, part: Array) -> float:
        return float(np.average(values[part], weights=weight[part]))

    return [{"rows": int(p.sum()), "said": mean(said, p), "seen": mean(true, p)} for p in parts]
