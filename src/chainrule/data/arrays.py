"""Standardise an array of features all at once; for arrays, which have neither names nor types a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from chainrule.data.columns import EPS, standardise, wrong_value
from chainrule.data.sources import Source
from chainrule.data.standardize import Moments
from chainrule.errors import DataError, ShapeError

_BLOCK = 4096
"""Rows that are widened to float64 at a time, so that an array of bytes does not become eight times as large."""


@dataclass(frozen=True)
class ArrayFeatures:
    """What the training rows tell about every column of an array.

    Args:
        mean: one per column.
        sigma: one per column; 1 where the column never changes, which keeps its place and its scale.
        median: one for each of the columns in `holed`.
        holed: the columns with missing values in training; each gets an indicator column at the end.
    """

    mean: np.ndarray
    sigma: np.ndarray
    median: np.ndarray
    holed: np.ndarray
    kind: ClassVar[str] = "arrays"

    @classmethod
    def fit(cls, source: Source, rows: np.ndarray, notes: list[str]) -> ArrayFeatures:
        """Learn from the given rows; columns that never change or are all missing are counted in `notes`."""
        X = source.array
        check_finite(X)
        seen = X[rows]
        holed = np.flatnonzero(np.isnan(seen).any(axis=0)) if X.dtype.kind == "f" else np.empty(0, dtype=int)
        empty = holed[np.isnan(seen[:, holed]).all(axis=0)]
        kept = seen[:, holed]
        kept[:, np.isin(holed, empty)] = 0
        median = np.nanmedian(kept, axis=0).astype(np.float64) if holed.size else np.empty(0)
        if holed.size:
            seen[:, holed] = np.where(np.isnan(kept), median, kept)
        same = seen.min(axis=0) == seen.max(axis=0)
        if empty.size:
            notes.append(f"{empty.size} columns are all missing and say nothing")
        _note_same(same, empty.size, source.name, notes)
        return cls(*_moments(seen), median, holed)

    @classmethod
    def of(cls, moments: Moments, same: np.ndarray, where: str, notes: list[str]) -> ArrayFeatures:
        """The features of an array without holes, met block by block, in which the columns `same` never change."""
        _note_same(same, 0, where, notes)
        none = np.empty(0, dtype=int)
        return cls(moments.mean, _usable(moments.mean, moments.sigma), np.empty(0), none)

    @property
    def columns(self) -> list[str]:
        """The names of the columns read: their numbers."""
        return [str(number) for number in range(len(self.mean))]

    @property
    def feature_names(self) -> list[str]:
        """The names of the columns that `transform` returns."""
        return self.columns + [f"{number} is missing" for number in self.holed]

    def transform(self, source: Source, notes: list[str]) -> np.ndarray:
        """float32 (n, features)."""
        X = source.array
        if X.shape[1] != len(self.mean):
            raise ShapeError("wrong number of features", where=source.name, expected=len(self.mean), got=X.shape[1])
        check_finite(X)
        fill = self.mean.copy()
        fill[self.holed] = self.median
        missing = np.isnan(X) if X.dtype.kind == "f" else np.zeros((len(X), 0), dtype=bool)
        new = np.setdiff1d(np.flatnonzero(missing.any(axis=0)), self.holed)
        if new.size:
            notes.append(f"values are missing in {new.size} columns where none was in training; the mean is taken")
        indicators = missing[:, self.holed] if missing.size else np.zeros((len(X), self.holed.size))
        out = np.empty((len(X), len(self.feature_names)), dtype=np.float32)
        width = len(self.mean)
        for start in range(0, len(X), _BLOCK):
            block = X[start : start + _BLOCK]
            block = np.where(np.isnan(block), fill, block) if X.dtype.kind == "f" else block
            out[start : start + _BLOCK, :width] = standardise(block, self.mean, self.sigma)
        out[:, width:] = indicators
        return out

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {name: getattr(self, name).tolist() for name in ("mean", "sigma", "median", "holed")}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> ArrayFeatures:
        """The features that `to_dict` wrote."""
        mean, sigma, median = (np.array(saved[name], dtype=np.float64) for name in ("mean", "sigma", "median"))
        return cls(mean, sigma, median, np.array(saved["holed"], dtype=int))


def _moments(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = X.mean(axis=0, dtype=np.float64)
    squares = np.zeros_like(mean)
    for start in range(0, len(X), _BLOCK):
        squares += ((X[start : start + _BLOCK] - mean) ** 2).sum(axis=0)
    return mean, _usable(mean, np.sqrt(squares / len(X)))


def _usable(mean: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    return np.where(sigma > 1e-13 * np.abs(mean), np.maximum(sigma, EPS), 1.0)


def _note_same(same: np.ndarray, empty: int, where: str, notes: list[str]) -> None:
    if same.sum() > empty:
        notes.append(f"{same.sum() - empty} of {len(same)} columns never change and say nothing")
    if same.all():
        raise DataError("no column is usable, every one is always the same or missing", where=where)


def check_finite(X: np.ndarray) -> None:
    """Refuse infinite numbers."""
    if X.dtype.kind == "f" and np.isinf(X).any():
        row, column = np.argwhere(np.isinf(X))[0]
        raise wrong_value(str(column), row, float(X[row, column]), "a finite number")
