"""Estimators for tables as they are: what `chainrule fit` does, on frames of pandas and polars and on arrays."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from chainrule.data import Preprocessor, Reading, Source
from chainrule.data.notes import shortened
from chainrule.errors import ArgumentError, DataError
from chainrule.sklearn.frames import named, put_in_order, table_of
from chainrule.sklearn.merging import Merged, merge
from chainrule.tabular.model import Rows, TabularModel
from chainrule.tabular.settings import Settings

Array = np.ndarray[Any, Any]
LIKE_SETTINGS = (
    "activation", "optimizer", "batch_size", "epochs", "lr", "schedule", "dropout", "bins", "l1", "l2", "folds",
    "members", "patience", "time_budget", "backend", "precision",
)  # fmt: skip
"""The parameters that `Settings` has by the same name, plain values all of them."""


class BaseTable(BaseEstimator, ABC):
    """A model of a table; what is to be predicted is said by the estimators derived from it."""

    task: str

    def __init__(
        self,
        *,
        layers: Any = None,
        activation: str | None = None,
        optimizer: str | None = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        lr: float | None = None,
        schedule: str | None = None,
        dropout: float | None = None,
        bins: int | None = None,
        l1: float | None = None,
        l2: float | None = None,
        folds: int | None = None,
        members: int | None = None,
        patience: int | None = None,
        metric: Any = None,
        time_budget: float | None = None,
        backend: str | None = None,
        precision: str | None = None,
        random_state: Any = None,
        na: Any = None,
        ignore: Any = None,
        categorical: Any = None,
        numeric: Any = None,
        reorder_columns: bool = False,
        verbose: Any = False,
    ) -> None:
        self.layers = layers
        self.activation = activation
        self.optimizer = optimizer
        self.batch_size = batch_size
        self.epochs = epochs
        self.lr = lr
        self.schedule = schedule
        self.dropout = dropout
        self.bins = bins
        self.l1 = l1
        self.l2 = l2
        self.folds = folds
        self.members = members
        self.patience = patience
        self.metric = metric
        self.time_budget = time_budget
        self.backend = backend
        self.precision = precision
        self.random_state = random_state
        self.na = na
        self.ignore = ignore
        self.categorical = categorical
        self.numeric = numeric
        self.reorder_columns = reorder_columns
        self.verbose = verbose

    @abstractmethod
    def encode(self, y: Any, counted: Array) -> tuple[Array, list[Any] | None]:
        """The targets as numbers (n,), and the labels that numbers from 0 stand for, if they do.

        Args:
            y: as `fit` takes it.
            counted: (n,) which rows have a weight above 0.
        """

    # ---- fitting

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from all rows.

        Args:
            X: (n, columns), a frame of pandas or polars, or an array; numbers, names, truths, dates, and missing ones.
            y: (n,) none of them missing.
            sample_weight: (n,) how much each row counts, at least 0.

        Returns:
            The estimator.

        Raises:
            ValueError: a table or a parameter that cannot be used as it is.
            TypeError: a sparse X.
            NotFiniteError: the loss became NaN or infinite.
        """
        import polars as pl

        table = table_of(self, X, first=True)
        if y is None:
            raise ValueError(f"This {type(self).__name__} estimator requires y to be passed, but the target y is None.")
        check_consistent_length(X, y)
        weight = _check_sample_weight(sample_weight, table, dtype=np.float64, ensure_non_negative=True)
        if not weight.any():
            raise DataError("no row has a weight above 0", where="sample_weight")
        numbers, labels = self.encode(y, weight > 0)
        self._names = table.columns
        reading, target = self._reading(), pl.Series(_unused("y", table.columns), numbers)
        # Rows that differ in what is ignored are alike.
        merged = merge(pl.DataFrame([*(c for c in table if c.name not in reading.ignore), target]), weight)
        source = Source("X", frame=table.with_columns(target))
        model, rows = self._prepared(source, target.name, merged, labels, reading)
        self.n_iter_ = model.fit(rows, progress=bool(self.verbose)).epochs
        self._take(model, rows, merged)
        self._warn_of_columns_left_out(reading)
        return self

    def _prepared(
        self, source: Source, target: str, merged: Merged, labels: list[Any] | None, reading: Reading
    ) -> tuple[TabularModel, Rows]:
        if len(merged.rows) < 2:
            raise DataError(
                "there is nothing to learn from", where="X", expected="two different rows", got="n_samples=1"
            )
        preprocessor = Preprocessor.fit(source, target, self.task, merged.rows, reading)
        weight = np.zeros(source.rows)
        weight[merged.rows] = merged.weight
        rows = Rows.of(preprocessor, source, merged.rows, weight)
        if labels is not None:
            # The model speaks of the user's labels, and not of the numbers that stood for them.
            preprocessor = replace(preprocessor, fitted_target=replace(preprocessor.fitted_target, classes=labels))
        return TabularModel.of(preprocessor, rows, self._settings(labels)), rows

    def _reading(self) -> Reading:
        columns = {name: named(name, getattr(self, name), self._names) for name in ("ignore", "categorical", "numeric")}
        return Reading(na=None if self.na is None else tuple(map(str, self.na)), **columns)

    def _settings(self, labels: list[Any] | None) -> Settings:
        plain = {name: _plain(getattr(self, name)) for name in LIKE_SETTINGS}
        metric = [self.metric] if isinstance(self.metric, str) else self.metric
        return Settings(
            **plain, layers=_widths(self.layers), metric=None if metric is None else list(metric), seed=self._seed(),
            class_weight=self._class_weight(labels),
        )  # fmt: skip

    def _class_weight(self, labels: list[Any] | None) -> str | list[float] | None:
        """What each class counts, in the order of the labels."""
        return None

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _take(self, model: TabularModel, rows: Rows, merged: Merged) -> None:
        self.model_ = model
        self.scores_ = model.out_of_fold_scores(rows)
        self.notes_ = list(dict.fromkeys([*model.preprocessor.notes, *model.notes]))
        width = [] if model.preprocessor.classes is None else [model.width]
        # Place −1, that of the rows that do not count, is the last one.
        found = np.full((len(rows) + 1, *width), np.nan)
        if len(model.held_out):
            found[model.held_out] = model.out_of_fold
        self.out_of_fold_ = found[merged.place]

    def _warn_of_columns_left_out(self, reading: Reading) -> None:
        used = {*self.model_.preprocessor.columns, *reading.ignore}
        left = [name for name in self._names if name not in used]
        if left:
            said = f"columns that are left out: {shortened(left)}; notes_ says why, and ignore= says that it is meant"
            warnings.warn(said, UserWarning, stacklevel=4)

    # ---- predicting

    def _source(self, X: Any) -> Source:
        check_is_fitted(self, "model_")
        ordered = put_in_order(X, getattr(self, "feature_names_in_", ()))
        try:
            table = table_of(self, ordered if self.reorder_columns else X, first=False)
        except ValueError as error:
            if ordered is not X:
                error.add_note("reorder_columns=True puts them in order")
            raise
        return Source("X", frame=table.rename(dict(zip(table.columns, self._names, strict=True))))

    def answer(self, X: Any) -> Array:
        """(n, classes) probabilities, or (n,) numbers; what stands out in X is warned of."""
        source, notes = self._source(X), []  # type: ignore[var-annotated]
        found = self.model_.answer(self.model_.preprocessor.transform(source, notes=notes))
        if notes:
            warnings.warn("\n".join(notes), UserWarning, stacklevel=3)
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags


def _plain(value: Any) -> Any:
    """A value as Python's own: a search may give NumPy's."""
    return value.item() if isinstance(value, np.generic) else value


def _widths(layers: Any) -> list[int] | None:
    """The widths of the hidden layers, of which one may be given as a number."""
    if layers is None:
        return None
    widths = [int(width) for width in np.atleast_1d(layers)]
    if min(widths, default=1) < 1:
        raise ArgumentError("a layer without units", where="layers", expected="widths of at least 1", got=layers)
    return widths


def _unused(name: str, names: Sequence[str]) -> str:
    """A name that no column has."""
    while name in names:
        name = f"{name}_"
    return name
