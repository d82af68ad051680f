"""The training step as one graph: gather the rows, forward, gradient, update; and the evaluation of a batch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.autodiff.reverse import adjoints, ones_seed
from chainrule.errors import ArgumentError
from chainrule.graph import functions as F
from chainrule.graph.graph import Graph
from chainrule.graph.indexing import taken
from chainrule.graph.random import keyed
from chainrule.graph.tensor import Tensor, placeholder
from chainrule.graph.trace import trace
from chainrule.nn.module import Module, Parameter
from chainrule.nn.normalization import SmallBatchError
from chainrule.optim.lr_schedules import Schedule
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.penalties import Clip, Penalty
from chainrule.passes.lower_precision import lower_precision
from chainrule.passes.pack import PackedLayout
from chainrule.passes.ranges import voided
from chainrule.train import checks
from chainrule.train.forward import Named, cost_of, output_of, spec, untouched
from chainrule.train.metrics import Function, Metric, metric_name
from chainrule.train.program import Batches, Record
from chainrule.train.serialize import described
from chainrule.train.structures import SINGLE, Structures

State = dict[str, Any]
SMALL = 4096
"""Elements of a gradient that is summed up in every step."""


@dataclass
class TrainingStep:
    """Everything a training step is made of, and the graphs made of it.

    Attributes:
        structures: how X and y nest.
        notes: what the user should know of the graphs that were traced.
        drawn_at: the steps done ever, by which random numbers are drawn.
    """

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
    drawn_at: int = 0
    structures: Structures = SINGLE
    notes: list[str] = field(init=False, default_factory=list)

    @functools.cached_property
    def named_tensors(self) -> list[tuple[str, Tensor]]:
        """The model's parameters and buffers by path."""
        return [*self.model.named_parameters(), *self.model.named_buffers()]

    @functools.cached_property
    def parameters(self) -> dict[str, Parameter]:
        """The model's parameters by path."""
        return {name: x for name, x in self.named_tensors if isinstance(x, Parameter)}

    @functools.cached_property
    def layout(self) -> PackedLayout:
        """The parameters that are trained."""
        return PackedLayout.of({name: x for name, x in self.parameters.items() if x.requires_grad})

    @functools.cached_property
    def settings(self) -> tuple[Any, ...]:
        """What graphs depend on besides the model, the loss and what updates them."""
        shapes = tuple((name, x.shape, x.requires_grad) for name, x in self.named_tensors)
        return self.seed, self.dtype, self.packed, self.products, self.structures, tuple(self.metrics), shapes

    @functools.cached_property
    def described(self) -> Any:
        """What a training step is, where it is made of our own parts alone; else None."""
        if any(isinstance(metric, Function) for metric in self.metrics):
            return None
        return described(self.model, self.loss, self.optimizer, self.schedule, *self.penalties, self.clip)

    def is_of(self, other: TrainingStep) -> bool:
        """Whether it is made of the very parts and tensors of another step, whose description and settings it has."""
        return (
            all(getattr(self, part) is getattr(other, part) for part in ("model", "loss", "optimizer", "clip"))
            and all(mine is its for mine, its in zip(self.penalties, other.penalties, strict=True))
            and all(mine is its for (_, mine), (_, its) in zip(self.named_tensors, other.named_tensors, strict=True))
        )

    @functools.cached_property
    def trained(self) -> list[str]:
        """The paths of the parameters that are trained: those that want a gradient."""
        return [name for name, _ in self.layout.shapes]

    # ---- the state: a tree of arrays

    def state(self, optimizer: State | None = None, step: int = 0, start: int = 0, factor: float = 1.0) -> State:
        """The state to begin with: the model's tensors, the optimizer's state (by path) or a fresh one, and counts.

        Arrays are the model's and the optimizer's own where they can be: not to be written to.

        Args:
            optimizer: as `carried_on` gives it.
            step: steps done ever, which dropout draws by.
            start: the step at which this training began, from which the schedule counts.
            factor: what a schedule that observes the losses makes of the rate so far.
        """
        model = self.kept(self._values)
        parameters = model["parameters"]
        if optimizer is None:
            laid_out = self.optimizer.init(parameters)
        else:
            laid_out = self._laid_out(optimizer)
        if self._proximal:
            laid_out = self.optimizer.tracked(laid_out)
        observed = {"factor": np.asarray(factor, self.dtype)} if self._observes else {}
        return {
            **model,
            "optimizer": tree.map(lambda x: x.value if isinstance(x, Tensor) else x, laid_out),
            # A part of the state, so that one program serves every rate.
            "lr": np.asarray(self.optimizer.lr, self.dtype),
            "step": np.asarray(step, np.int32),
            "start": np.asarray(start, np.int32),
            **observed,
        }

    def kept(self, tensors: Mapping[str, Any]) -> State:
        """The parts of a state that make up the model, from arrays by path."""
        trained = {name: np.asarray(tensors[name], self.dtype) for name in self.trained}
        parameters = np.concatenate([p.reshape(-1) for p in trained.values()]) if self.packed else trained
        frozen = {n: np.asarray(tensors[n], self.dtype) for n in self.parameters if n not in trained}
        return {
            "parameters": parameters,
            "frozen": frozen,
            "buffers": {n: np.asarray(tensors[n], x.dtype) for n, x in self.named_tensors if n not in self.parameters},
        }

    def kept_state(self, leaves: list[Any]) -> State:
        """The parts of a state that make up the model, from their leaves."""
        return tree.unflatten(tree.flatten(self.kept(self._values))[1], leaves)

    def put_back(self, state: State) -> None:
        """Give the model's tensors the values that they have in a state."""
        tensors = self.tensors(state)
        for name, x in self.named_tensors:
            x.assign(np.array(tensors[name], dtype=x.dtype))

    @property
    def _values(self) -> dict[str, Any]:
        """The model's arrays by path."""
        return {name: x.value for name, x in self.named_tensors}

    @property
    def _observes(self) -> bool:
        return self.schedule is not None and self.schedule.observes

    @property
    def _proximal(self) -> list[Penalty]:
        return [penalty for penalty in self.penalties if penalty.proximal]

    @functools.cached_property
    def _by_path(self) -> frozenset[str]:
        """The entries of the optimizer's state that hold a tensor for each parameter."""
        return frozenset(key for key, value in self._apart.items() if isinstance(value, dict))

    @functools.cached_property
    def _apart(self) -> State:
        """The optimizer's state before the first step, with its tensors by path."""
        return self.optimizer.init({name: self.parameters[name] for name in self.trained})

    @functools.cached_property
    def _layouts(self) -> list[dict[str, tuple[int, ...]]]:
        """The shapes of the optimizer's state by path, without and with what proximal penalties have to know."""
        return [_shapes(self._apart), _shapes(self.optimizer.tracked(self._apart))]

    def tensors(self, state: State) -> dict[str, Any]:
        """All that the model holds, out of a state: trained, frozen and buffers, as arrays by path."""
        return {**self.named_parameters(state["parameters"]), **state["frozen"], **state["buffers"]}

    def named_parameters(self, parameters: Any) -> dict[str, Any]:
        """The trained parameters of a state as arrays by path."""
        if not self.packed:
            return dict(parameters)
        return self.layout.arrays(parameters)

    def named_optimizer(self, optimizer: State) -> State:
        """The optimizer's state with its tensors by path."""
        return {k: self.named_parameters(value) if k in self._by_path else value for k, value in optimizer.items()}

    def carried_on(self, optimizer: State) -> State | None:
        """An optimizer's state by path with what is trained now alone; None where it is not of these parameters."""
        known = {
            key: {name: value[name] for name in self.trained if name in value} if key in self._by_path else value
            for key, value in optimizer.items()
        }
        if _shapes(known) not in self._layouts:
            return None
        tracked = self.optimizer.tracked(self._apart) if self._proximal else self._apart
        return {key: value for key, value in known.items() if key in tracked}

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

    def training(self, state: State, data: Sequence[Any], rows: int) -> Graph:
        """(state…, X, y, rows) → (state…, record…) for batches of so many rows: see `record`."""
        return self.finished(self.traced("training", state, data, rows))

    def evaluation(self, state: State, data: Sequence[Any], rows: int) -> Graph:
        """(state…, X, y, rows) → record…, with the model in inference mode."""
        return self.finished(self.traced("evaluation", state, data, rows))

    def traced(self, kind: str, state: State, data: Sequence[Any], rows: int) -> Graph:
        """The graph of a "training" or an "evaluation" as it comes from tracing.

        Args:
            kind: which.
            state: as the program gets it; only shapes and dtypes matter.
            data: the arrays of X and y, and the weights of the rows where they have any; only shapes and dtypes matter.
            rows: of a batch.
        """
        step = self._train if kind == "training" else self._evaluate
        with untouched(training=kind == "training"):
            arrays = [spec(array, name) for array, name in zip(data, [*self.structures.names, "weight"], strict=False)]
            return voided(self._closed(trace(step, _typed(state), arrays, placeholder((rows,), np.int32, "rows"))))

    def _closed(self, graph: Graph) -> Graph:
        """The graph with variables that are not the model's as constants, at the values that they have now."""
        strangers = [x for x in graph.captured if x.requires_grad]
        if strangers:
            note = (
                f"{len(strangers)} tensors with requires_grad are not the model's (the loss's, say): they are used as "
                "they are, not trained; to train them, make them attributes of the model"
            )
            self.notes = [note]
        return graph.frozen()

    def finished(self, graph: Graph) -> Graph:
        """A traced graph as it runs: simplified, its products in the precision asked for, checked."""
        graph = graph.frozen().simplify()
        return (graph if self.products is None else lower_precision(graph, self.products)).verify()

    def drawn(self, kind: str, state: State, data: Sequence[Any], batch: int, places: tuple[int, ...]) -> Batches:
        """The graphs, as traced, that train on ("training") or evaluate ("evaluation") all rows in batches.

        Args:
            kind, state, data: as `traced` takes them.
            batch: rows a step.
            places: which of the program's arrays the data are.
        """
        rows, trains = len(data[0]), kind == "training"
        step = self.traced(kind, state, data, batch) if rows >= batch else None
        try:
            last = self.traced(kind, state, data, rows % batch) if rows % batch else None
        except SmallBatchError as error:
            raise checks.last_batch_too_small(error, rows, batch) from None
        gives = (step or last).gives.plain()  # type: ignore[union-attr]  # there is a row at least
        record = gives.children[-1] if trains else gives
        return Batches(step, last, batch, rows, places, len(tree.flatten(state)[0]), record, trains)

    def batches(self, drawn: Batches) -> Batches:
        """What to run of graphs that were traced."""
        step, last = (None if graph is None else self.finished(graph) for graph in (drawn.step, drawn.last))
        return dataclasses.replace(drawn, step=step, last=last)

    def _train(self, state: State, data: Sequence[Tensor], rows: Tensor) -> tuple[State, Record]:
        parameters, frozen = self._by_name(state["parameters"]), state["frozen"]

        def forward(parameters: Named) -> Any:
            with keyed(self._key(state)):
                return self._forward({**parameters, **frozen}, state["buffers"], data, rows)

        output, of_rows, value, buffers = forward(parameters)
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
        probe = F.reshape(_finite_probe(gradients.values()), (1,))
        named = self._by_name(state["parameters"])
        recorded = [p.value(named) * p.recorded for p in self.penalties if p.recorded]
        value = functools.reduce(F.add, recorded, value)
        return state | new, self.record(value, output, *of_rows) | {"finite_probe": probe}

    def _key(self, state: State) -> Tensor:
        return F.stack([F.as_tensor(np.uint32(self.seed)), F.cast(state["step"], np.uint32)])

    def _by_name(self, parameters: Any) -> Named:
        return self.layout.unpack(parameters) if self.packed else parameters

    def _forward(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], data: Sequence[Tensor], rows: Tensor
    ) -> Any:
        # All rows at once are taken as they lie: the order of the terms of a sum does not matter.
        every = rows.shape[0] == data[0].shape[0]
        some = data if every else [taken(x, rows) for x in data]
        X, target, weight = self.structures.apart(some)
        output, after = output_of(self.model, parameters, buffers, X)
        return output, (target, *weight), cost_of(self.loss, output, target, *weight), after

    def _rate(self, state: State) -> Tensor:
        rate = F.as_tensor(state["lr"])
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
        for name, given, found in (
            ("parameters", state["parameters"], moved),
            ("state", state["optimizer"], optimizer),
        ):
            if _shapes(found) != _shapes(given):
                raise ArgumentError(
                    f"the {name} it returns have other shapes than those it was given",
                    where=f"{type(self.optimizer).__name__}.update", expected=_listed(given), got=_listed(found),
                )  # fmt: skip
        if self._proximal:
            rates = self._by_name(self.optimizer.rates(optimizer, moved, rate))
            named = self._by_name(moved)
            for penalty in self._proximal:
                named = penalty.after(named, rates)
            moved = self.layout.pack(named) if self.packed else named
        return moved, optimizer

    def _evaluate(self, state: State, data: Sequence[Tensor], rows: Tensor) -> Record:
        parameters = {**self._by_name(state["parameters"]), **state["frozen"]}
        output, of_rows, value, _ = self._forward(parameters, state["buffers"], data, rows)
        return self.record(value, output, *of_rows)

    def record(self, value: Tensor, output: Any, target: Any, weight: Tensor | None = None) -> Record:
        """What is written down of a batch: the loss, and what it contributes to the metrics, by name."""
        found = {metric_name(metric): metric.update(*metric.picked(output, target), weight) for metric in self.metrics}
        return {"loss": F.reshape(F.cast(value, self.dtype), (1,)), "metrics": found}


def _finite_probe(gradients: Iterable[Tensor]) -> Tensor:
    """A number that is finite as long as the gradients are: the sum of the small ones, which the large ones share.

    A bias's gradient is the sum of what its weights' gradient is a product of, and a thousandth of the work. Since the
    guard of the state waits for it, every weight has been read by the backward pass before its update writes it, so
    that XLA need not copy it.
    """
    gradients = list(gradients)
    small = [g for g in gradients if g.ndim <= 1] or gradients
    return functools.reduce(F.add, [F.sum(g) for g in small])


def _shapes(nest: Any) -> dict[str, tuple[int, ...]]:
    return dict(zip(tree.names(nest), map(np.shape, tree.flatten(nest)[0]), strict=True))


def _listed(nest: Any) -> str:
    return ", ".join(f"{name} {list(shape)}".strip() for name, shape in _shapes(nest).items()) or "nothing"


def _typed(state: State) -> State:
    leaves, structure = tree.flatten(state)
    names = tree.names(state)
    return tree.unflatten(structure, [spec(leaf, name) for leaf, name in zip(leaves, names, strict=True)])
