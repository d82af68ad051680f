"""Several inputs and targets by name, as the flat list of arrays that a program takes, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule import tree
from chainrule.data.standardize import Standardizer
from chainrule.errors import ArgumentError
from chainrule.nn.losses import Loss
from chainrule.nn.module import Module
from chainrule.nn.named_losses import NamedLosses
from chainrule.train import checks
from chainrule.tree import LEAF, Structure

Array = np.ndarray[Any, Any]
Standardizers = Standardizer | dict[str, Standardizer] | None
"""What standardises X: one array, or each floating-point input by its name."""


class Structures(NamedTuple):
    """How the arrays of a pass nest: X and y are an array each, or a dict of several by name."""

    X: Structure = LEAF
    y: Structure = LEAF

    @property
    def names(self) -> list[str]:
        """What messages call the arrays of X and y."""
        return [*labels(self.X, "X"), *labels(self.y, "y")]

    def apart(self, arrays: Sequence[Any]) -> tuple[Any, Any, list[Any]]:
        """X, y, and what follows them: the weights of the rows, where they have any."""
        width, both = self.X.size, self.X.size + self.y.size
        X, y = tree.unflatten(self.X, list(arrays[:width])), tree.unflatten(self.y, list(arrays[width:both]))
        return X, y, list(arrays[both:])


SINGLE = Structures()
"""One array X, and one y."""


def labels(structure: Structure, name: str) -> list[str]:
    """What messages call the arrays of X or y: "X", or "X['image']" and so on."""
    return [name] if structure is LEAF else [f"{name}[{key!r}]" for key in structure.keys]


def of(values: Any, name: str, like: Structure | None = None) -> tuple[list[Any], Structure]:
    """The arrays of X or y as they are given, and how they nest.

    Args:
        values: an array, or a dict of arrays by name.
        name: for messages.
        like: the structure that is wanted, whose order the arrays are given in.

    Raises:
        ArgumentError: a dict of something else, or not the names that are wanted.
    """
    if not isinstance(values, Mapping):
        found = [values], LEAF
    elif not values or not all(isinstance(key, str) for key in values):
        raise ArgumentError("not arrays by name", where=name, expected="{name: array}", got=list(values))
    else:
        found = list(values.values()), Structure(dict, tuple(values), (LEAF,) * len(values))
    if like is None or found[1] == like:
        return found
    if found[1] is LEAF or like is LEAF or set(like.keys) != set(found[1].keys):
        raise ArgumentError(
            "not the arrays the trainer was fitted on", where=name, expected=_said(like), got=_said(found[1])
        )
    return [values[key] for key in like.keys], like


def _said(structure: Structure) -> str:
    return "one array" if structure is LEAF else f"a dict of {[*structure.keys]}"


def features(
    X: Any, dtype: np.dtype[Any], name: str = "X", like: Structure | None = None
) -> tuple[list[Array], Structure]:
    """The arrays of X, checked and converted (see `checks.features` and `checks.named_features`), and how they nest."""
    given, structure = of(X, name, like)
    if structure is LEAF:
        return [checks.features(given[0], dtype, name)], structure
    names = labels(structure, name)
    found = [checks.named_features(x, dtype, at) for x, at in zip(given, names, strict=True)]
    for array, at in zip(found, names, strict=True):
        checks.equal_lengths(found[0], array, f"{names[0]} and {at}")
    return found, structure


def targets(
    y: Any, loss: Module, dtype: np.dtype[Any], name: str = "y", like: Structure | None = None
) -> tuple[list[Array], Structure]:
    """The arrays of y as their losses take them, and how they nest."""
    given, structure = of(y, name, like)
    parts = each_loss(loss, structure, name)
    names = labels(structure, name)
    return [checks.targets(t, part, dtype, at) for t, part, at in zip(given, parts, names, strict=True)], structure


def each_loss(loss: Module, structure: Structure, name: str = "y") -> list[Module]:
    """The loss of each target; one of the user's own of several is that of each.

    Raises:
        ArgumentError: targets and losses do not go together.
    """
    if isinstance(loss, NamedLosses):
        if structure is LEAF or set(structure.keys) != loss.losses.keys():
            raise ArgumentError(
                "not one target per loss",
                where=name,
                expected=f"a dict of {[*loss.losses]}",
                got=_said(structure),
            )
        return [loss.losses[key] for key in structure.keys]
    if structure is not LEAF and isinstance(loss, Loss):
        key = structure.keys[0]
        raise ArgumentError(
            "targets by name need losses by name", where="loss", got=type(loss).__name__,
            hint=f"loss={{{key!r}: {type(loss).__name__}(), …}}, or a function of (outputs, targets)",
        )  # fmt: skip
    return [loss] * structure.size


def fitted(arrays: Sequence[Array], structure: Structure, per: str) -> Standardizers:
    """What standardises these arrays: all floating-point ones, each by itself."""
    if structure is LEAF:
        return Standardizer.fit(arrays[0], per)
    named = zip(structure.keys, arrays, strict=True)
    return {key: Standardizer.fit(array, per) for key, array in named if array.dtype.kind == "f"}


def standardized(how: Standardizers, arrays: Sequence[Array], structure: Structure) -> list[Array]:
    """The arrays of X, standardised where that is wanted.

    Raises:
        ArgumentError: the trainer was fitted on one array, and several are given, or the other way round.
    """
    if how is None:
        return list(arrays)
    if isinstance(how, Standardizer):
        if structure is not LEAF:
            raise ArgumentError("the trainer was fitted on one array", where="X", got=_said(structure))
        return [how(arrays[0])]
    if structure is LEAF or not how.keys() <= set(structure.keys):
        raise ArgumentError(
            "not the inputs the trainer was fitted on", where="X", expected=f"a dict of {[*how]}", got=_said(structure)
        )
    named = zip(structure.keys, arrays, strict=True)
    return [how[key](array) if key in how else array for key, array in named]


def fit_dtypes(output: Any, X: Sequence[Array], structure: Structure, dtype: np.dtype[Any]) -> None:
    """Refuse outputs that whole numbers among the inputs have made wider than the training's precision."""
    whole = [name for name, x in zip(labels(structure, "X"), X, strict=True) if x.dtype.kind in "iu"]
    wide = any(y.dtype.kind == "f" and y.dtype.itemsize > dtype.itemsize for y in tree.flatten(output)[0])
    if whole and wide:
        raise ArgumentError(
            "the model turns integers, which are taken for indices, into float64", where=whole[0], expected=str(dtype),
            hint=f'give {whole[0]}.astype("float32") where it is not an index',
        )  # fmt: skip


def fit_labels(output: Any, loss: Module, name: str, arrays: Sequence[Array], how: Structures) -> None:
    """Refuse labels that are not among a classifier's outputs.

    Args:
        output: what the model gives.
        loss: of the training.
        name: what messages call y.
        arrays: they begin with those of X and y.
        how: how X and y nest.
    """
    for place, part in enumerate(each_loss(loss, how.y)):
        if checks.takes_labels(part):
            scores = _named(output, how.y.keys[place]) if isinstance(loss, NamedLosses) else output
            checks.labels_fit(arrays[how.X.size + place], scores.shape[-1], labels(how.y, name)[place])


def _named(output: Any, name: str) -> Any:
    if isinstance(output, Mapping) and name in output:
        return output[name]
    got = list(output) if isinstance(output, Mapping) else "one output"
    raise ArgumentError(
        "not among the outputs of the model", where=f"loss[{name!r}]", expected=f"a dict with {name!r}", got=got
    )
