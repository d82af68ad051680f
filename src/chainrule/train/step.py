"""The training step as one graph: gather the rows, forward, gradient, update; and the evaluation of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.autodiff.reverse import adjoints, ones_seed
from chainrule.backends.loop import Phase
from chainrule.errors import ShapeError
from chainrule.graph import functions as F
from chainrule.graph.graph import Graph
from chainrule.graph.indexing import taken
from chainrule.graph.mode import setting
from chainrule.graph.random import keyed
from chainrule.graph.tensor import Tensor, placeholder
from chainrule.graph.trace import trace
from chainrule.nn.module import Module, in_mode
from chainrule.nn.normalization import SmallBatchError
from chainrule.optim.base import Optimizer
from chainrule.optim.penalties import Clip, Penalty
from chainrule.optim.schedules import Schedule
from chainrule.passes.pack import Layout
from chainrule.passes.precision import lowered
from chainrule.passes.ranges import voided
from chainrule.train import checks
from chainrule.train.metrics import Metric

State = dict[str, Any]
Named = dict[str, Tensor]
SMALL = 4096
"""Elements of a gradient that is summed up in every step."""


@dataclass
class Step:
    """Everything a training step is made of, and the graphs made of it."""

    model: Module
    loss: Module
    optimizer: Optimizer
    schedule: Schedule | None
    penalties: Sequence[Penalty]
    clip: Clip | None
    metrics: Sequence[Metric]
    seed: int
    dtype: np.dtype[Any]
    packed: bool = True
    products: str | None = None
    layout: Layout = field(init=False)

    def __post_init__(self) -> None:
        self.layout = Layout.of(self.model.tree_children())

    # ---- the state: a tree of arrays

    def state(self, optimizer: State | None = None, step: int = 0, start: int = 0, factor: float = 1.0) -> State:
        """The state to begin with: the model's parameters, the optimizer's state (by path) or a fresh one, and counts.

        Arrays are the model's and the optimizer's own where they can be: not to be written to.

        Args:
            optimizer: as `named_optimizer` gives it.
            step: steps done ever, which dropout draws by.
            start: the step at which this training began, from which the schedule counts.
            factor: what a schedule that observes the losses makes of the rate so far.
        """
        named = {name: np.asarray(p.value, self.dtype) for name, p in self.model.named_parameters()}
        parameters = np.concatenate([p.reshape(-1) for p in named.values()]) if self.packed else named
        if optimizer is None:
            laid_out = self.optimizer.init(parameters)
        else:
            laid_out = self._laid_out(optimizer)
        if self._proximal:
            laid_out = self.optimizer.tracked(laid_out)
        observed = {"factor": np.asarray(factor, self.dtype)} if self._observes else {}
        return {
            "parameters": parameters,
            "buffers": {name: b.value for name, b in self.model.named_buffers()},
            "optimizer": tree.map(lambda x: x.value if isinstance(x, Tensor) else x, laid_out),
            "step": np.asarray(step, np.int32),
            "start": np.asarray(start, np.int32),
            **observed,
        }

    @property
    def _observes(self) -> bool:
        return self.schedule is not None and self.schedule.observes

    @property
    def _proximal(self) -> list[Penalty]:
        return [penalty for penalty in self.penalties if penalty.proximal]

    @functools.cached_property
    def _by_path(self) -> frozenset[str]:
        """The entries of the optimizer's state that hold a tensor for each parameter."""
        apart = self.optimizer.init(self.model.tree_children())
        return frozenset(key for key, value in apart.items() if isinstance(value, dict))

    def named_parameters(self, parameters: Any) -> dict[str, Any]:
        """The parameters of a state as arrays by path."""
        if not self.packed:
            return dict(parameters)
        return {name: t.numpy() for name, t in self.layout.unpack(parameters).items()}

    def named_optimizer(self, optimizer: State) -> State:
        """The optimizer's state with its tensors by path."""
        return {k: self.named_parameters(value) if k in self._by_path else value for k, value in optimizer.items()}

    def _laid_out(self, optimizer: State) -> State:
        """An optimizer's state by path as this step lays it out."""
        if not self.packed:
            return optimizer
        return {
            key: np.concatenate([np.reshape(value[name], -1) for name, _ in self.layout.shapes])
            if key in self._by_path
            else value
            for key, value in optimizer.items()
        }

    # ---- graphs

    def training(self, state: State, X: Any, y: Any, rows: int) -> Graph:
        """(state…, X, y, rows) → (state…, record) for batches of so many rows; record = (loss, metrics…, pulse)."""
        return self.finished(self.traced("training", state, X, y, rows))

    def evaluation(self, state: State, X: Any, y: Any, rows: int) -> Graph:
        """(state…, X, y, rows) → record = (loss, metrics…), with the model in inference mode."""
        return self.finished(self.traced("evaluation", state, X, y, rows))

    def traced(self, kind: str, state: State, X: Any, y: Any, rows: int) -> Graph:
        """The graph of a "training" or an "evaluation" as it comes from tracing."""
        step = self._train if kind == "training" else self._evaluate
        with in_mode(training=kind == "training"):
            places = placeholder((rows,), np.int32, "rows")
            return voided(trace(step, _typed(state), _spec(X, "X"), _spec(y, "y"), places))

    def prediction(self, X: Any) -> Graph:
        """X → output, with the model in inference mode; the parameters are captured."""
        with in_mode(training=False):
            return self.finished(trace(self.model, _spec(X, "X")))

    def finished(self, graph: Graph) -> Graph:
        """A traced graph as it runs: simplified, its products in the precision asked for, checked."""
        graph = graph.simplify()
        return (graph if self.products is None else lowered(graph, self.products)).verify()

    def phase(self, kind: str, state: State, X: Any, y: Any, batch: int, data: tuple[int, int]) -> Phase:
        """The phase that trains on ("training") or evaluates ("evaluation") all rows of X and y in batches."""
        make = getattr(self, kind)
        rows = len(X)
        step = make(state, X, y, batch) if rows >= batch else None
        try:
            last = make(state, X, y, rows % batch) if rows % batch else None
        except SmallBatchError as error:
            raise checks.last_batch_too_small(error, rows, batch) from None
        return Phase(step, last, batch, rows, data, len(tree.flatten(state)[0]))

    def _train(self, state: State, X: Tensor, y: Tensor, rows: Tensor) -> tuple[State, Tensor]:
        parameters = self._by_name(state["parameters"])

        def forward(parameters: Named) -> Any:
            with keyed(self._key(state)):
                return self._forward(parameters, state["buffers"], X, y, rows)

        output, target, value, buffers = forward(parameters)
        found = adjoints([value], [ones_seed(value)], list(parameters.values()))
        gradients = dict(zip(parameters, found, strict=True))

        def objective(parameters: Any) -> Tensor:
            named = self._by_name(parameters)
            return functools.reduce(F.add, [p.value(named) for p in self.penalties], F.sum(forward(named)[2]))

        parameters, optimizer = self._update(state, parameters, gradients, objective)
        new = {
            "parameters": parameters,
            "buffers": buffers,
            "optimizer": optimizer,
            "step": state["step"] + np.int32(1),
        }
        return state | new, self._record(value, output, target, _pulse(gradients.values()))

    def _key(self, state: State) -> Tensor:
        return F.stack([F.as_tensor(np.uint32(self.seed)), F.cast(state["step"], np.uint32)])

    def _by_name(self, parameters: Any) -> Named:
        return self.layout.unpack(parameters) if self.packed else parameters

    def _forward(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], X: Tensor, y: Tensor, rows: Tensor
    ) -> Any:
        # All rows at once are taken as they lie: the order of the terms of a sum does not matter.
        target, some = (y, X) if rows.shape[0] == X.shape[0] else (taken(y, rows), taken(X, rows))
        output, after = output_of(self.model, parameters, buffers, some)
        return output, target, cost_of(self.loss, output, target), after

    def _rate(self, state: State) -> Tensor:
        rate = F.as_tensor(np.asarray(self.optimizer.lr, self.dtype))
        if self.schedule is None:
            return rate
        if self._observes:
            rate = rate * state["factor"]
        return rate * F.cast(self.schedule(F.cast(state["step"] - state["start"], self.dtype)), self.dtype)

    def _update(
        self, state: State, parameters: Named, gradients: Named, objective: Callable[[Any], Tensor]
    ) -> tuple[Any, State]:
        for penalty in self.penalties:
            gradients = penalty.gradient(gradients, parameters)
        if self.clip is not None:
            gradients = self.clip(gradients)
        more = {"objective": objective} if self.optimizer.full_batch else {}
        laid_out: Any = self.layout.pack(gradients) if self.packed else gradients
        rate = self._rate(state)
        moved, optimizer = self.optimizer.update(laid_out, state["optimizer"], state["parameters"], rate, **more)
        if self._proximal:
            rates = self._by_name(self.optimizer.rates(optimizer, moved, rate))
            named = self._by_name(moved)
            for penalty in self._proximal:
                named = penalty.after(named, rates)
            moved = self.layout.pack(named) if self.packed else named
        return moved, optimizer

    def _evaluate(self, state: State, X: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        parameters = self._by_name(state["parameters"])
        with keyed(self._key(state)):
            output, target, value, _ = self._forward(parameters, state["buffers"], X, y, rows)
        return self._record(value, output, target)

    def _record(self, value: Tensor, output: Tensor, target: Tensor, *more: Tensor) -> Tensor:
        sums = [metric.sum(output, target) for metric in self.metrics]
        return F.stack([F.reshape(F.cast(number, self.dtype), ()) for number in (value, *sums, *more)])


def output_of(
    model: Module, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], X: Tensor
) -> tuple[Any, Named]:
    """What a model gives with these parameters and buffers, and what becomes of the buffers; it stays as it is."""
    stand_in = model.tree_rebuild({**parameters, **buffers})
    updates: dict[int, tuple[Tensor, Tensor]] = {}
    with setting(updates=updates):
        output = stand_in(X)
    return output, {name: updates.get(b.id, (b, b))[1] for name, b in buffers.items()}


def cost_of(loss: Callable[[Any, Any], Any], output: Any, target: Tensor) -> Tensor:
    """The loss of an output, one number."""
    with setting(trusted=checks.labels_checked(loss)):
        value = F.as_tensor(loss(output, target))
    if value.size != 1:
        raise ShapeError(
            "the loss gives more than one number",
            where="loss",
            got=value.shape,
            hint='use reduction="mean" or "sum"',
        )
    return value


def _pulse(gradients: Iterable[Tensor]) -> Tensor:
    """A number that is finite as long as the gradients are: the sum of the small ones, which the large ones share.

    A bias's gradient is the sum of what its weights' gradient is a product of, and a thousandth of the work. Since the
    guard of the state waits for it, every weight has been read by the backward pass before its update writes it, so
    that XLA need not copy it.
    """
    gradients = list(gradients)
    small = [g for g in gradients if g.ndim <= 1] or gradients
    return functools.reduce(F.add, [F.sum(g) for g in small])


def _typed(state: State) -> State:
    leaves, structure = tree.flatten(state)
    names = tree.names(state)
    return tree.unflatten(structure, [_spec(leaf, name) for leaf, name in zip(leaves, names, strict=True)])


def _spec(array: Any, name: str) -> Tensor:
    return placeholder(array.shape, array.dtype, name)
