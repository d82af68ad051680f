"""From a source to the arrays that a network trains on, and back from its outputs to the user's values.

Everything is learnt from the training rows, is written as plain JSON values, and gives the same bits when read back.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from chainrule.data.arrays import ArrayFeatures
from chainrule.data.columns import KINDS, Category, Column, Number, learn, shortened
from chainrule.data.layout import Feature, FeatureKind
from chainrule.data.sources import Source
from chainrule.data.target import Target, labelled_rows, target_from_dict
from chainrule.errors import DataError, nearest


@dataclass(frozen=True)
class TableFeatures:
    """The columns of a table that are used, in order, and how each is turned into numbers."""

    encoders: list[Column]

    @classmethod
    def fit(cls, source: Source, target: str, rows: np.ndarray, notes: list[str]) -> TableFeatures:
        """Learn every column but the target; the columns left out are named in `notes`."""
        assert source.frame is not None
        columns = source.frame.iter_columns()
        found = {column.name: learn(column, rows) for column in columns if column.name != target}
        return cls.of(found, source.name, target, notes)

    @classmethod
    def of(cls, found: dict[str, Column | str], where: str, target: str, notes: list[str]) -> TableFeatures:
        """The columns that are used out of all; of the others the reason is known, and is put into `notes`."""
        left_out: dict[str, list[str]] = defaultdict(list)
        for name, column in found.items():
            if isinstance(column, str):
                left_out[column].append(name)
        notes.extend(_left_out(left_out))
        encoders = [column for column in found.values() if not isinstance(column, str)]
        if not encoders:
            why = "; ".join(_left_out(left_out)) or f"{target!r} is the only one"
            raise DataError("no column is left to learn from", where=where, got=why)
        return cls(encoders)

    @property
    def columns(self) -> list[str]:
        """The names of the columns read."""
        return [encoder.name for encoder in self.encoders]

    @property
    def feature_names(self) -> list[str]:
        """The names of the columns that `transform` returns."""
        return [name for encoder in self.encoders for name in encoder.features]

    def transform(self, source: Source, notes: list[str]) -> np.ndarray:
        """float32 (n, features)."""
        assert source.frame is not None
        absent = [name for name in self.columns if name not in source.frame.columns]
        if absent:
            near = ", ".join(repr(name) for name in nearest(absent[0], source.frame.columns)[:3])
            listed = shortened([repr(name) for name in absent], most=10)
            raise DataError(
                f"columns that are missing: {listed}", where=source.name, got=f"nearest to {absent[0]!r}: {near}"
            )
        out = np.empty((source.rows, len(self.feature_names)), dtype=np.float32)
        start = 0
        for encoder in self.encoders:
            block = encoder.encode(source.frame[encoder.name], notes)
            out[:, start : start + block.shape[1]] = block
            start += block.shape[1]
        return out

    def to_dict(self) -> list[dict[str, Any]]:
        """Plain values for a JSON file."""
        return [{"kind": encoder.kind, **asdict(encoder)} for encoder in self.encoders]

    @classmethod
    def from_dict(cls, saved: list[dict[str, Any]]) -> TableFeatures:
        """The features that `to_dict` wrote."""
        return cls([KINDS[entry["kind"]](**{k: v for k, v in entry.items() if k != "kind"}) for entry in saved])


@dataclass(frozen=True)
class Preprocessor:
    """The way from a source to features and targets, learnt from training rows.

    Example:
        >>> from chainrule.data import load
        >>> wine = load("wine")
        >>> preprocessor = Preprocessor.fit(wine, rows=np.arange(0, 178, 2))
        >>> preprocessor.task, preprocessor.transform(wine).shape
        ('classify', (178, 13))
    """

    features: TableFeatures | ArrayFeatures
    fitted_target: Target
    notes: list[str] = field(default_factory=list)

    @classmethod
    def fit(cls, source: Source, target: str | None = None, task: str = "auto", rows: Any = None) -> Preprocessor:
        """Learn from the given rows of a source; rows without a target are passed over.

        Args:
            source: what `load` returned.
            target: the column to predict; the source's own default, or the last column, if None.
            task: "classify", "regress", or "auto" to infer it from the target.
            rows: row numbers; all of them if None.

        Raises:
            ArgumentError: if there is no such target column.
            DataError: if a value, the target, or every column cannot be used.
        """
        rows = np.arange(source.rows) if rows is None else np.asarray(rows)
        fitted = Target.fit(source, target, task, rows)
        rows = np.intersect1d(rows, labelled_rows(source, fitted.name))
        notes = list(fitted.notes)
        features: TableFeatures | ArrayFeatures
        if source.frame is None:
            features = ArrayFeatures.fit(source, rows, notes)
        else:
            features = TableFeatures.fit(source, fitted.name, rows, notes)
        return cls(features, fitted, notes)

    @property
    def task(self) -> str:
        """What is done with the target, "classify" or "regress"."""
        return self.fitted_target.task

    @property
    def target(self) -> str:
        """The name of the target column."""
        return self.fitted_target.name

    @property
    def classes(self) -> list[Any] | None:
        """The labels in the order of their numbers; None for regression."""
        return self.fitted_target.classes

    @property
    def columns(self) -> list[str]:
        """The columns of the source that are used."""
        return self.features.columns

    @property
    def feature_names(self) -> list[str]:
        """The names of the columns that `transform` returns."""
        return self.features.feature_names

    @property
    def layout(self) -> list[Feature]:
        """What the columns that `transform` returns mean, in their order."""
        kinds: list[tuple[str, FeatureKind, int]] = []
        if isinstance(self.features, ArrayFeatures):
            kinds += [(name, "number", 1) for name in self.features.columns]
            kinds += [(str(number), "indicator", 1) for number in self.features.holed]
        else:
            for encoder in self.features.encoders:
                if isinstance(encoder, Category):
                    kinds.append((encoder.name, "onehot", len(encoder.features)))
                else:
                    kinds.append((encoder.name, "number" if isinstance(encoder, Number) else "binary", 1))
                if isinstance(encoder, Number) and encoder.indicator:
                    kinds.append((encoder.name, "indicator", 1))
        starts = np.cumsum([0, *(width for _, _, width in kinds)]).tolist()
        return [Feature(name, kind, start, width) for (name, kind, width), start in zip(kinds, starts, strict=False)]

    def transform(self, source: Source, rows: Any = None, notes: list[str] | None = None) -> np.ndarray:
        """The features, float32 (n, features); what the user should be told is added to `notes`.

        Raises:
            DataError: if columns are missing or hold something else than in training.
            ShapeError: if an array has another number of features than in training.
        """
        notes = [] if notes is None else notes
        if (source.frame is None) != isinstance(self.features, ArrayFeatures):
            kinds = ("arrays", "a table") if source.frame is not None else ("a table", "arrays")
            raise DataError(
                "another kind of source than in training", where=source.name, expected=kinds[0], got=kinds[1]
            )
        # All rows are encoded even when few are wanted, so that an error counts rows as the file does.
        encoded = self.features.transform(source, notes)
        return encoded if rows is None else encoded[np.asarray(rows)]

    def target_values(self, source: Source, rows: Any = None) -> np.ndarray:
        """int32 (n,) class numbers, or float32 (n, 1) standardised numbers; all labelled rows if `rows` is None."""
        return self.fitted_target.values(source, None if rows is None else np.asarray(rows))

    def decode(self, outputs: Any) -> np.ndarray:
        """Labels from scores or class numbers; numbers in the user's units from standardised ones."""
        return self.fitted_target.decode(outputs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file, from which `from_dict` restores every bit."""
        kind = "arrays" if isinstance(self.features, ArrayFeatures) else "table"
        return {
            "kind": kind,
            "features": self.features.to_dict(),
            "target": self.fitted_target.to_dict(),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Preprocessor:
        """The preprocessor that `to_dict` wrote."""
        kind: Any = {"arrays": ArrayFeatures, "table": TableFeatures}[saved["kind"]]
        return cls(kind.from_dict(saved["features"]), target_from_dict(saved["target"]), list(saved["notes"]))


def _left_out(reasons: dict[str, list[str]]) -> list[str]:
    """A line per column, or a line per reason where many columns share it."""
    lines = []
    for reason, names in reasons.items():
        if len(names) > 3:
            lines.append(f"{len(names)} columns left out, {reason}: {shortened(names)}")
        else:
            lines.extend(f"{name}: left out, {reason}" for name in names)
    return lines
