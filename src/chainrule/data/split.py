"""Divide rows into those that train, those that choose when to stop, and those that judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, check_number

VALIDATION, TEST = 0.15, 0.2
"""Shares of the rows, where nothing else is said."""


@dataclass(frozen=True)
class Split:
    """Row numbers in ascending order; together they are every row exactly once."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split(y: Any, task: str, validation: float = VALIDATION, test: float = TEST, seed: int = 0) -> Split:
    """A random split of the rows of `y`, the same for the same seed.

    For classification every class is divided in proportion, and each has a row to train on; a class with fewer than
    three rows is trained on only.

    Args:
        y: one target per row.
        task: "classify" or "regress".
        validation: the share of rows held back to stop early, between 0 and 1.
        test: the share of rows held back to judge, between 0 and 1.
        seed: of the shuffle.

    Example:
        >>> parts = split([0, 1] * 50, "classify")
        >>> len(parts.train), len(parts.validation), len(parts.test)
        (65, 15, 20)
    """
    check_number("validation", validation, low=0, high=1, high_open=True)
    check_number("test", test, low=0, high=1, high_open=True)
    if validation + test >= 1:
        raise ArgumentError(
            "no rows are left to train on", where="split", got=f"validation + test = {validation + test:g}"
        )
    y = np.asarray(y).reshape(len(y))
    rng = np.random.default_rng(seed)
    groups = _groups(y if task == "classify" else np.zeros(len(y)), rng)
    free = np.array([max(len(g) - 1, 0) if task == "regress" or len(g) >= 3 else 0 for g in groups], dtype=int)
    sizes = np.array([len(group) for group in groups], dtype=int)
    tested = _allocate(sizes, free, _share(test, len(y)))
    held = _allocate(sizes, free - tested, _share(validation, len(y)))
    parts: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    for group, t, v in zip(groups, tested, held, strict=True):
        for name, rows in zip(("test", "validation", "train"), np.split(group, [t, t + v]), strict=True):
            parts[name].append(rows)
    empty = np.empty(0, dtype=np.int64)
    return Split(**{name: np.sort(np.concatenate([empty, *rows])) for name, rows in parts.items()})


def folds(y: Any, task: str, k: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """K pairs of row numbers, to train on and to judge by; every row judges once.

    For classification every class is dealt out evenly over the folds.

    Args:
        y: one target per row.
        task: "classify" or "regress".
        k: how many folds, from 2 to the number of rows.
        seed: of the shuffle.

    Example:
        >>> [(len(train), len(held)) for train, held in folds([0, 1] * 5, "classify", 5)]
        [(8, 2), (8, 2), (8, 2), (8, 2), (8, 2)]
    """
    y = np.asarray(y)
    check_number("folds", k, low=2, high=len(y), integer=True)
    labels = y.reshape(len(y), -1)[:, 0] if task == "classify" else np.zeros(len(y))
    dealt = np.concatenate(_groups(labels, np.random.default_rng(seed)))
    held = [np.sort(dealt[i::k]) for i in range(k)]
    return [(np.setdiff1d(np.arange(len(y)), rows), rows) for rows in held]


def _groups(labels: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    order = rng.permutation(len(labels))
    classes = np.unique(labels)
    return [order[labels[order] == label] for label in classes]


def _share(fraction: float, rows: int) -> int:
    return max(1, round(fraction * rows)) if fraction > 0 else 0


def _allocate(sizes: np.ndarray, free: np.ndarray, total: int) -> np.ndarray:
    """`total` divided in proportion to `sizes`, by largest remainder, nowhere more than is `free`."""
    quota = sizes * (total / max(sizes.sum(), 1))
    given = np.minimum(np.floor(quota).astype(int), free)
    while given.sum() < min(total, free.sum()):
        wanting = np.where(given < free, quota - given, -np.inf)
        given[np.argmax(wanting)] += 1
    return given
