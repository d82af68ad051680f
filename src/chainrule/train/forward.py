"""A model and its loss on tensors, as a training, an evaluation and a prediction trace them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from chainrule.errors import ArgumentError, ShapeError
from chainrule.graph import functions as F
from chainrule.graph.mode import setting
from chainrule.graph.random import keyed
from chainrule.graph.tensor import Tensor, constant, placeholder
from chainrule.nn.losses import Loss
from chainrule.nn.module import Module, in_mode
from chainrule.nn.named_losses import NamedLosses, added
from chainrule.train import checks

Named = dict[str, Tensor]


@contextlib.contextmanager
def untouched(*, training: bool) -> Iterator[None]:
    """Within this block models are traced in a mode, and tracing draws nothing from the generator that `seed` sets."""
    with in_mode(training=training), keyed(constant(np.zeros(2, np.uint32))):
        yield


def output_of(
    model: Module, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], X: Any
) -> tuple[Any, Named]:
    """What a model gives with these parameters and buffers, and what becomes of the buffers; it stays as it is."""
    stand_in = model.tree_rebuild({**parameters, **buffers})
    updates: dict[int, tuple[Tensor, Tensor]] = {}
    with setting(updates=updates):
        output = stand_in(X)
    return output, {name: updates.get(b.id, (b, b))[1] for name, b in buffers.items()}


def cost_of(loss: Callable[[Any, Any], Any], output: Any, target: Any, weight: Tensor | None = None) -> Tensor:
    """The loss of an output, one number; with weights Σ wᵢ·Cᵢ over the rows, divided by their number for a mean."""
    if isinstance(loss, NamedLosses):
        # Each term is weighted and checked by itself.
        terms = loss.terms(output, target)
        return added(cost_of(term.loss, term.output, term.target, weight) * term.weight for term in terms)
    with setting(trusted=checks.labels_checked(loss)):
        value = F.as_tensor(loss(output, target)) if weight is None else _weighted(loss, output, target, weight)
    if value.size != 1:
        raise ShapeError(
            "the loss gives more than one number",
            where="loss",
            got=value.shape,
            hint='use reduction="mean" or "sum"',
        )
    return value


def _weighted(loss: Any, output: Any, target: Tensor, weight: Tensor) -> Tensor:
    if not isinstance(loss, Loss):
        raise ArgumentError(
            "a loss of your own gives one number for all rows, so single rows cannot be weighted",
            where="sample_weight", got=type(loss).__name__,
            hint="weight the rows within the loss, or use a loss of chainrule.nn",
        )  # fmt: skip
    each = copy.copy(loss)
    each.reduction = "none"
    values = each(output, target)
    values = values * F.cast(F.reshape(weight, (-1, *(1,) * (values.ndim - 1))), values.dtype)
    return F.sum(values) if loss.reduction == "sum" else F.mean(values)


def spec(array: Any, name: str) -> Tensor:
    """A placeholder of the shape and dtype of an array."""
    return placeholder(array.shape, array.dtype, name)
