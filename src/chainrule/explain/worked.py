"""The numbers of a derivation: every step run on all rows and sample by sample, and the two compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.errors import ChainruleError, TraceError
from chainrule.explain.lines import backward_lines, forward_lines
from chainrule.explain.names import Names
from chainrule.explain.steps import Array, NamedArrays, Recipe, SampleGraph, UpdateGraph
from chainrule.explain.typeset import key
from chainrule.explain.update import Update
from chainrule.graph.tensor import Tensor
from chainrule.nn.losses import CrossEntropyLoss, NLLLoss
from chainrule.train import checks

DOUBLE = np.dtype(np.float64)
NodeValue = Callable[[Tensor], Array]


@dataclass(frozen=True)
class Iteration:
    """What one step computed.

    Attributes:
        loss: L.
        before, after, gradient, buffers: arrays by path; `buffers` are those after the step.
        state: the optimizer's new state.
        samples: for each sample, the value of each node of its graph.
        inner: the value of each node of the update.
    """

    loss: float
    before: NamedArrays
    after: NamedArrays
    gradient: NamedArrays
    buffers: NamedArrays
    state: Any
    samples: list[NodeValue]
    inner: NodeValue


class Worked:
    """Graphs, names, lines and numbers of all steps.

    Attributes:
        step, sample: the graphs of the step on all rows, and of one sample's cost.
        names: the names of the sample's nodes.
        forward, backward: the lines of a sample; `update` has those of the optimizer.
        iterations: the numbers, one per step.
        mean: whether the loss is a mean over the samples, and not a sum.
    """

    def __init__(self, recipe: Recipe, X: Array, Y: Array, picked: bool) -> None:
        self.recipe, self.X, self.Y = recipe, X, Y
        self._parameters = {name: np.asarray(p.value, DOUBLE) for name, p in recipe.model.named_parameters()}
        self._buffers = {name: _double(b.value) for name, b in recipe.model.named_buffers()}
        optimizer = recipe.optimizer
        self._state: Any = {} if optimizer is None else tree.map(lambda t: t.value, optimizer.init(self._parameters))
        try:
            self.step = UpdateGraph(recipe, self._parameters, self._buffers, self._state, X, Y)
        except TraceError as error:
            raise TraceError(
                "the model has no graph that all samples share", where=error.where, got=error.what,
                hint="choose with cr.where, or derive the parts separately",
            ) from None  # fmt: skip
        if isinstance(recipe.loss, (CrossEntropyLoss, NLLLoss)):
            checks.labels_fit(Y, self.step.output.shape[-1])
        self.sample = SampleGraph(recipe, self._parameters, self._buffers, X, Y, picked)
        self.names = Names(self.sample)
        self.forward, self.backward = forward_lines(self.sample, self.names), backward_lines(self.sample, self.names)
        self.update = Update(self.step, self.names)
        self.iterations: list[Iteration] = []
        self.mean: bool | None = None

    @classmethod
    def attempt(cls, recipe: Recipe, X: Array, Y: Array, steps: int, picked: bool) -> Worked | None:
        """All steps; None where the samples' gradients do not average to the whole one, or a sample cannot be alone."""
        try:
            worked = cls(recipe, X, Y, picked)
        except ChainruleError:
            # What is wrong with the whole batch was said by then, unless it is raised again for all rows.
            if picked:
                raise
            return None
        return worked if all(worked._go(step) for step in range(steps)) else None

    def _go(self, count: int) -> bool:
        """Run one more step; whether the samples agree with it."""
        dropout_key = np.array([0, count], np.uint32)
        arguments = (self._parameters, self._buffers, self._state, self.X, self.Y, dropout_key)
        given, inner = self.step.run(arguments, self.update.inner)
        rows = [self._arguments(i, given["draws"], dropout_key) for i in range(len(self.X))]
        samples = [self.sample.run(row) for row in rows if row is not None]
        if len(samples) < len(rows) or not self._agree(samples, given):
            return False
        values = dict(zip((node.id for node in self.update.inner), inner, strict=True))
        values |= {x.id: v for x, v in zip(self.step.graph.inputs, tree.flatten(arguments)[0], strict=True)}
        self.iterations.append(
            Iteration(
                loss=float(given["loss"]),
                before=self._parameters,
                after=given["parameters"],
                gradient=given["gradient"],
                buffers=given["buffers"],
                state=given["state"],
                samples=samples,
                inner=lambda node: values[node.id],
            )
        )
        if not self.update.lines:
            self.update.compose(self.iterations[0].inner)
        self._parameters, self._buffers, self._state = given["parameters"], given["buffers"], given["state"]
        return True

    def _arguments(self, i: int, draws: Sequence[Array], dropout_key: Array) -> list[Array] | None:
        """The inputs of sample i; None where the batch's random numbers have no row of its own."""
        own = [*self._parameters.values(), *self._buffers.values()]
        if self.sample.picked:
            return [*own, self.X, self.Y, np.array([i]), dropout_key]
        if len(draws) != len(self.sample.draws):
            return None
        mine = [_row_of(draw, node.shape, i) for draw, node in zip(draws, self.sample.draws, strict=True)]
        found = [m for m in mine if m is not None]
        return [*own, self.X[i : i + 1], self.Y[i : i + 1], *found] if len(found) == len(mine) else None

    def _agree(self, samples: Sequence[NodeValue], given: NamedArrays) -> bool:
        if not self.sample.picked:
            outputs = [value(self.sample.output) for value in samples]
            if not _close(np.concatenate(outputs) if outputs[0].ndim else np.array(outputs), given["output"]):
                return False
        pairs = [([value(self.sample.cost) for value in samples], given["loss"])]
        for path, node in self.sample.parameters.items():
            pairs.append(([value(self.sample.gradients[node.id]) for value in samples], given["gradient"][path]))
        # What cancels within a sample (a bias before normalisation) is rounding, as large as the terms that cancelled.
        size = max(float(np.max(np.abs(own), initial=0.0)) for own, _ in pairs)
        for mean in (True, False) if self.mean is None else (self.mean,):
            share = 1 / len(samples) if mean else 1.0
            if all(_close(share * np.sum(own, axis=0), whole, size) for own, whole in pairs):
                self.mean = mean
                return True
        return False

    def legend(self) -> dict[str, str]:
        """What each name stands for."""
        named = {key(self.names.parameters[path]): path for path in self.names.parameters}
        return named | {key(self.names.by_node[line.node.id]): line.note for line in self.forward}


def _double(array: Any) -> Array:
    return np.asarray(array, DOUBLE) if array.dtype.kind == "f" else array


def _row_of(draw: Array, shape: tuple[int, ...], i: int) -> Array | None:
    """Sample i's part of the batch's random numbers: all of them, or a slice of the one axis that differs."""
    if draw.shape == shape:
        return draw
    differs = [axis for axis, (whole, own) in enumerate(zip(draw.shape, shape, strict=False)) if whole != own]
    if draw.ndim != len(shape) or len(differs) != 1 or shape[differs[0]] != 1:
        return None
    return np.take(draw, [i], axis=differs[0])


def _close(own: Any, whole: Any, size: Any = 1.0) -> bool:
    """Whether two results of the same sum agree, given the size of its terms."""
    if np.shape(own) != np.shape(whole):
        return False
    with np.errstate(all="ignore"):
        allowed = 1e-9 * np.abs(whole) + 1e-12 * size
        return bool(np.all((np.abs(own - whole) <= allowed) | (own == whole) | ~np.isfinite(own)))
