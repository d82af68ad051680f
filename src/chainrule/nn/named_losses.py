"""A loss for a model with several outputs: one loss per output, added up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from chainrule.errors import ArgumentError, ShapeError, check_number
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor
from chainrule.nn.layers import Lambda
from chainrule.nn.losses import Loss
from chainrule.nn.module import Module


class LossTerm(NamedTuple):
    """One term of the sum: a loss, its weight, and the output it is of."""

    weight: float
    loss: Module
    output: Any
    target: Any


class NamedLosses(Module):
    """C = Σ wₖ·Cₖ over the outputs k of a model that gives them by name, each with its own loss and target.

    Args:
        losses: {output: loss}; a loss is one of this package, or a function (output, target) → one number.
        weights: {output: w}, at least 0; 1 by default.

    Raises:
        ArgumentError: no losses, a weight for an unknown loss, or losses of which some are means and some are sums.

    Example:
        >>> import chainrule as cr
        >>> loss = cr.nn.NamedLosses({"kind": cr.nn.CrossEntropyLoss(), "price": cr.nn.MSELoss()}, {"price": 0.5})
        >>> outputs = {"kind": cr.tensor([[0.0, 0.0]]), "price": cr.tensor([[3.0]])}
        >>> round(loss(outputs, {"kind": [1], "price": [[1.0]]}).item(), 4)
        2.6931
    """

    def __init__(
        self,
        losses: Mapping[str, Module | Callable[[Any, Any], Any]],
        weights: Mapping[str, float] | None = None,
    ) -> None:
        if not losses or not all(isinstance(name, str) for name in losses):
            raise ArgumentError(
                "not a dict of losses by name", where="loss", expected="{output: loss}", got=dict(losses)
            )
        self.losses = {name: _checked(name, loss) for name, loss in losses.items()}
        self.weights = {name: _weight(name, value, self.losses) for name, value in (weights or {}).items()}
        kinds = {name: getattr(loss, "reduction", "mean") for name, loss in self.losses.items()}
        if len(set(kinds.values())) > 1:
            raise ArgumentError(
                "means and sums cannot be combined over the batches of an epoch", where="loss",
                expected="one reduction for all", got=kinds, hint='use reduction="mean", and weights for the scale',
            )  # fmt: skip

    @property
    def reduction(self) -> str:
        """That of all the losses."""
        return str(getattr(next(iter(self.losses.values())), "reduction", "mean"))

    def terms(self, outputs: Any, targets: Any) -> Iterator[LossTerm]:
        """The terms of the sum.

        Raises:
            ShapeError: an output or a target is missing.
        """
        for what, given in (("outputs of the model", outputs), ("targets", targets)):
            if not isinstance(given, Mapping) or not self.losses.keys() <= given.keys():
                got = list(given) if isinstance(given, Mapping) else type(given).__name__
                raise ShapeError(
                    f"the {what} are not those of the losses", expected=f"a dict of {[*self.losses]}", got=got
                )
        for name, loss in self.losses.items():
            yield LossTerm(self.weights.get(name, 1.0), loss, outputs[name], targets[name])

    def forward(self, outputs: Any, targets: Any) -> Tensor:
        """The sum."""
        return added(term.loss(term.output, term.target) * term.weight for term in self.terms(outputs, targets))


def added(values: Iterator[Tensor]) -> Tensor:
    """The sum of tensors."""
    found = F.as_tensor(next(values))
    for value in values:
        found = found + value
    return found


def _checked(name: str, loss: Any) -> Module:
    where = f"loss[{name!r}]"
    if callable(loss) and not isinstance(loss, (Module, type)):
        return Lambda(loss)
    if isinstance(loss, type):
        raise ArgumentError("a class was passed instead of an instance", where=where, hint=f"write {loss.__name__}(…)")
    if not isinstance(loss, Module):
        raise ArgumentError("not a loss", where=where, expected="a loss, or a function", got=type(loss).__name__)
    if isinstance(loss, Loss) and loss.reduction == "none":
        raise ArgumentError(
            "a scalar loss is needed, and this one returns a value per row",
                where=where, got=f"{type(loss).__name__}('none')",
            hint='use reduction="mean" or "sum"',
        )  # fmt: skip
    return loss


def _weight(name: str, value: Any, losses: Mapping[str, Module]) -> float:
    if name not in losses:
        raise ArgumentError(
            "a weight for an unknown loss", where="loss_weights", expected=f"one of {[*losses]}", got=repr(name)
        )
    return float(check_number(f"loss_weights[{name!r}]", value, low=0))
