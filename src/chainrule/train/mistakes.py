"""Mistakes that the theory names, told from the graph of a step before the first one is made.

Only what is certain is said: an output is traced back through what leaves its numbers as they are to the operation that
made them, whatever module or function that stands in. What cannot be told is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from chainrule.graph.graph import ancestors
from chainrule.graph.tensor import Tensor, placeholder
from chainrule.nn.layers import Dropout
from chainrule.nn.losses import NLLLoss
from chainrule.nn.module import Module
from chainrule.nn.named_losses import NamedLosses
from chainrule.train.forward import cost_of, output_of, spec, untouched
from chainrule.train.label_order import LabelOrder
from chainrule.train.step import TrainingStep
from chainrule.train.structures import labels

SAME = ("reshape", "identity", "cast", "transpose", "materialize", "stop_gradient", "getitem", "depends_on", "flip")
"""Operations that leave numbers as they are."""
SOFT = ("softmax", "sigmoid")
"""Operations that give probabilities."""
BEYOND = ("log_softmax", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "log")
"""Operations whose results are no probabilities, whatever they are given."""


def find(step: TrainingStep, arrays: Sequence[Any], batch: int) -> list[str]:
    """The mistakes in how a model, its outputs and its loss go together, a line each with the way out.

    Args:
        step: of a training.
        arrays: X and y, and perhaps weights; only shapes and dtypes matter.
        batch: rows per step.
    """
    rows = [placeholder((batch, *x.shape[1:]), x.dtype) for x in arrays]
    X, target, _ = step.structures.apart(rows)
    with untouched(training=True):
        output, _ = output_of(step.model, {name: spec(x, name) for name, x in step.named_tensors}, {}, X)
        value = cost_of(step.loss, output, target)
    nodes = ancestors([value])
    found = [*_dropped(step), *_of_losses(nodes)]
    for loss, each in _pairs(step.loss, output, target):
        if isinstance(loss, NLLLoss):
            found += _of_log_likelihood(each)
    if not found:
        reached = {node.id for node in nodes}
        idle = [name for name, x in zip(labels(step.structures.X, "X"), rows, strict=False) if x.id not in reached]
        found += [
            f"in training the output does not depend on {name}: nothing can be learnt of it; look into the model"
            for name in idle
        ]
    return list(dict.fromkeys(found))


def _pairs(loss: Module, output: Any, target: Any) -> list[tuple[Module, Any]]:
    """The losses and their outputs."""
    if not isinstance(loss, NamedLosses):
        return [(loss, output)]
    return [(term.loss, term.output) for term in loss.terms(output, target)]


def in_order(order: LabelOrder, batch: int) -> list[str]:
    """What is wrong with labels that are trained on in this order, in batches of so many."""
    if order.rows <= batch or not order.are_sorted:
        return []
    return [
        "the labels are sorted and nothing shuffles them: each batch is of one class, and the "
        f'{len(order.classes)} are learnt and forgotten in turn; use shuffle="epoch", or shuffle what the batches are '
        "made of"
    ]


def _source(x: Tensor) -> Tensor:
    """The node that made the numbers that stand in x."""
    while x.op in SAME:
        x = x.inputs[0]
    return x


def _is_soft(x: Tensor) -> bool:
    if x.op == "divide" and x.inputs[0].op == "exp":
        # Written out: eˣ over its own sum.
        below = x.inputs[1]
        while below.op in (*SAME, "broadcast_to"):
            below = below.inputs[0]
        return below.op == "sum" and below.inputs[0] is x.inputs[0]
    return x.op in SOFT


def _is_affine(x: Tensor) -> bool:
    if x.op in ("add", "subtract"):
        # A bias beside a product.
        return _is_affine(x.inputs[0]) and x.inputs[1].op in ("broadcast_to", "constant", "input")
    # A product with a matrix of weights, not one of what gates and experts say, say.
    return x.op in ("linear", "matmul") and any(_source(y).op == "input" for y in x.inputs[:2])


def _of_losses(nodes: list[Tensor]) -> Iterator[str]:
    for node in nodes:
        if node.op not in ("cross_entropy", "binary_cross_entropy", "binary_cross_entropy_with_logits"):
            continue
        made = _source(node.inputs[0])
        if made.op in ("softmax", "log_softmax") and made.shape[made.attrs["axis"]] == 1:
            yield f"{_place(made)} is a softmax over one unit, which is always 1: use two outputs, or a sigmoid"
        elif node.op == "cross_entropy" and node.inputs[0].shape[-1] == 1:
            yield (
                "the cross-entropy over one class is always 0: give the last layer an output a class, or use "
                "BCEWithLogitsLoss for two classes with one output"
            )
        elif node.op == "cross_entropy" and _is_soft(made):
            yield (
                f"{_place(made)} gives probabilities to a cross-entropy that takes the softmax of what it gets: taken "
                "twice it cannot come near 0, and its gradients all but vanish; leave out that layer (predictions are "
                "then logits), or use LogSoftmax with NLLLoss"
            )
        elif node.op == "binary_cross_entropy_with_logits" and _is_soft(made):
            yield (
                f"{_place(made)} gives probabilities to a loss that takes the sigmoid of what it gets: taken twice it "
                "cannot come near 0; leave out that layer, or use BCELoss"
            )
        elif node.op == "binary_cross_entropy" and (made.op in BEYOND or _is_affine(made)):
            yield (
                f"{_place(made)} gives numbers outside of [0, 1] to a loss for probabilities (BCELoss): end the model "
                "in a Sigmoid, or use BCEWithLogitsLoss on what it gives"
            )


def _of_log_likelihood(output: Any) -> Iterator[str]:
    made = _source(output) if isinstance(output, Tensor) else None
    if made is None:
        return
    if made.op in ("softmax", "log_softmax") and made.shape[made.attrs["axis"]] == 1:
        yield f"{_place(made)} is a softmax over one unit, which is always 1: use two outputs, or a sigmoid"
    elif _is_soft(made) or _is_affine(made) or made.op in ("relu", "tanh"):
        what = "probabilities" if _is_soft(made) else "numbers that are no logarithms of probabilities"
        yield (
            f"{_place(made)} gives {what} to NLLLoss, which takes log-probabilities: minus those it has no least value "
            "to come to; end the model in LogSoftmax, or use CrossEntropyLoss on logits"
        )


def _dropped(step: TrainingStep) -> Iterator[str]:
    for path, module in step.model.named_modules():
        if isinstance(module, Dropout) and module.p == 1:
            yield f"layer {path or 'Dropout'} drops everything (p=1): nothing before it is trained; use p below 1"


def _place(node: Tensor) -> str:
    return f"layer {node.module}" if node.module else f"the last operation of the model ({node.op})"
