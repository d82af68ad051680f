"""The reference interpreter: a graph run node by node with NumPy, each value freed after its last use."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any

import numpy as np

from chainrule.backends.kernels import KERNELS, Kernel
from chainrule.backends.live import live_bytes
from chainrule.backends.loop import Crew, Fleet, FleetProgram, LoopProgram, Outcome, Phase, Results, Schedule, Span
from chainrule.backends.nested import NESTED, Program
from chainrule.backends.numpy_kernels import OWN
from chainrule.backends.threads import suited
from chainrule.errors import OutOfRangeError
from chainrule.graph import seams
from chainrule.graph.graph import LEAVES, Graph
from chainrule.graph.ops import BUNDLE, OPS
from chainrule.graph.tensor import Tensor

TF32_NEEDS = "an NVIDIA GPU of compute capability 8.0 or more"
SCRATCH = 10 * 2**20
"""Bytes for the threads that multiply matrices: 6 to 13 MB were measured."""
Arrays = Sequence[Any]


def _call(attrs: dict[str, Any]) -> Kernel:
    program = seams.ability("program")(attrs["body"], attrs["backend"])
    return lambda *operands: tuple(program(operands))


def _nested(build: Callable[[dict[str, Any], Program], Kernel], attrs: dict[str, Any]) -> Kernel:
    return build(attrs, compile_graph(attrs["body"]))


_OWN: dict[str, Callable[[dict[str, Any]], Kernel]] = {
    **OWN,
    "call": _call,
    **{op: functools.partial(_nested, build) for op, build in NESTED.items()},
}


def kernel(op: str, attrs: dict[str, Any]) -> Kernel:
    """The NumPy function of one operation."""
    return _OWN[op](attrs) if op in _OWN else KERNELS[op](np, attrs)


@functools.cache
def _plain(op: str) -> Kernel:
    """The function of an operation without settings, made once."""
    return kernel(op, {})


def evaluate(op: str, values: Sequence[Any], attrs: dict[str, Any], dtype: Any, quiet: bool = False) -> Any:
    """One operation on arrays, now: what define-by-run does. Floating-point warnings are left to the results.

    `quiet` says that the caller has silenced them, for many operations at once.
    """
    function = kernel(op, attrs) if attrs else _plain(op)
    if not quiet:
        return _silenced(function, values, dtype)
    value = function(*values)
    return value if type(value) is np.ndarray and value.dtype is dtype else _of_dtype(value, dtype)


def _evaluate(function: Kernel, values: Sequence[Any], dtype: Any) -> Any:
    value = function(*values)
    return value if type(value) is np.ndarray and value.dtype is dtype else _of_dtype(value, dtype)


def _of_dtype(value: Any, dtype: Any) -> Any:
    return value if dtype is BUNDLE else np.asarray(value, dtype=dtype)


class _Contexts(threading.local):
    """Each thread's contexts, free to be entered, in which NumPy says nothing of overflow and the like.

    To enter one takes a tenth of the time of `np.errstate`, which is that of an operation on a small array. There is
    more than one only where an operation is interrupted by another: by a handler of signals.
    """

    def __init__(self) -> None:
        self.free: list[Context] = []


_contexts = _Contexts()


def _silenced(function: Kernel, values: Sequence[Any], dtype: Any) -> Any:
    if dtype is BUNDLE:
        # A nested program may ask for more of the context than how loud NumPy is.
        with np.errstate(all="ignore"):
            return _evaluate(function, values, dtype)
    free = _contexts.free
    context = free.pop() if free else _silent()
    try:
        return context.run(_evaluate, function, values, dtype)
    finally:
        free.append(context)


def _silent() -> Context:
    context = Context()
    context.run(np.seterr, all="ignore")
    return context


def compile_graph(graph: Graph) -> Program:
    """A function from the arrays of `graph.arrays` to the arrays of its outputs."""
    steps, slots = _plan(graph)
    constants = [(slots[n.id], n.value) for n in graph.nodes if n.op == "constant" and not n.is_variable]
    given = [slots[x.id] for x in (*graph.inputs, *graph.captured)]
    wanted = [(slots[y.id], y.dtype) for y in graph.outputs]
    size = len(slots)

    def program(values: Arrays) -> list[Any]:
        held: list[Any] = [None] * size
        for slot, value in constants:
            held[slot] = value
        for slot, value in zip(given, values, strict=True):
            held[slot] = value
        with np.errstate(all="ignore"):
            for function, sources, target, dead in steps:
                held[target] = function(*[held[s] for s in sources])
                for slot in dead:
                    held[slot] = None
        return [np.asarray(held[slot], dtype=dtype) for slot, dtype in wanted]

    return program


Step = tuple[Kernel, tuple[int, ...], int, tuple[int, ...]]


def _plan(graph: Graph) -> tuple[list[Step], dict[int, int]]:
    slots = {node.id: i for i, node in enumerate(graph.nodes)}
    last = {x.id: node.id for node in graph.nodes for x in node.inputs}
    kept = {y.id for y in graph.outputs}
    free = _stretched_by_numpy(graph)
    steps = []
    for node in graph.nodes:
        if node.op in LEAVES:
            continue
        dead = {slots[x.id] for x in node.inputs if last[x.id] == node.id and x.id not in kept}
        function = (lambda x: x) if node.id in free else kernel(node.op, node.attrs)
        steps.append((function, tuple(slots[x.id] for x in node.inputs), slots[node.id], tuple(dead)))
    return steps, slots


def _stretched_by_numpy(graph: Graph) -> set[int]:
    """The broadcasts that need not be made, since every user is elementwise beside an operand of full shape."""
    stretches = {n.id for n in graph.nodes if n.op == "broadcast_to"} - {y.id for y in graph.outputs}
    for node in graph.nodes:
        if not OPS[node.op].elementwise or all(x.id in stretches for x in node.inputs):
            stretches -= {x.id for x in node.inputs}
    return stretches


def compile_schedule(schedule: Schedule) -> LoopProgram:
    """All epochs of a schedule as a Python loop over interpreted steps; the same meaning as the compiled one."""
    return _Epochs(schedule)


class _Epochs:
    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._train = _phase(schedule.train)
        self._evaluations = [(phase, _phase(phase)) for phase in schedule.evaluate]

    def make(self, state: Sequence[Any], data: Sequence[Any]) -> None:
        """Nothing: the steps are interpreted."""

    unchecked = None

    @functools.cached_property
    def extra(self) -> int:
        """The bytes of the values that are alive at once in a step, or in a block of an evaluation."""
        phases = (self._schedule.train, *self._schedule.evaluate)
        return SCRATCH + max(
            live_bytes(graph, _stretched_by_numpy(graph)) for phase in phases for graph in phase.graphs
        )

    def __call__(self, state: list[Any], data: Sequence[Any], orders: Any, span: Span) -> Outcome:
        """Run the epochs of a span."""
        phases = (self._schedule.train, *self._schedule.evaluate)
        records = [np.full((self._schedule.epochs, p.steps, p.record), np.nan) for p in phases]
        with suited(self._schedule.train.graphs):
            self._run(state, data, orders, span, records)
        return Outcome(state, records[0], tuple(records[1:]))

    def _run(self, state: list[Any], data: Sequence[Any], orders: Any, span: Span, records: list[Any]) -> None:
        for epoch in range(span.first, span.last):
            if not self._train(state, data, orders[epoch], span.start, span.stop, records[0][epoch]):
                break
            if span.stop == self._schedule.train.steps:
                for (phase, evaluation), record in zip(self._evaluations, records[1:], strict=True):
                    evaluation(state, data, np.arange(phase.rows), 0, phase.steps, record[epoch])


def _phase(phase: Phase) -> Callable[..., bool]:
    """A pass over batches: (state, data, order, start, stop, records) → whether all was finite.

    The list of the state is changed in place, so that nobody who has it keeps an old state alive.
    """
    full = compile_graph(phase.step) if phase.step else None
    last = compile_graph(phase.last) if phase.last else None

    def run(state: list[Any], everything: Sequence[Any], order: Any, start: int, stop: int, records: Any) -> bool:
        data = [everything[i] for i in phase.data]
        for i in range(start, stop):
            program = full if i < phase.full else last
            assert program is not None
            try:
                *new, record = program([*state, *data, order[i * phase.batch : (i + 1) * phase.batch]])
            except OutOfRangeError:
                if not phase.changes_state:
                    raise
                # As in compiled code, which cannot raise: the step counts as not finite, and is looked into afterwards.
                new, record = state, np.nan
            records[i] = record
            if phase.changes_state:
                if not np.isfinite(record).all():
                    return False
                state[:] = new
        return True

    return run


def compile_fleet(fleet: Fleet) -> FleetProgram:
    """Many trainings, one after another; the same meaning as the compiled one."""
    train, judge = _epoch(fleet.train, fleet.summed), None
    if fleet.judge is not None:
        judge = _epoch(fleet.judge, fleet.summed)

    def alone(state: list[Any], data: list[Any], orders: Any, held: Any) -> Results:
        records, judged = (np.full((fleet.epochs, fleet.train.record - 1), np.nan) for _ in range(2))
        kept, best, waited = state[fleet.keeps], np.inf, 0
        for epoch in range(fleet.epochs):
            found = train(state, data, orders[epoch])
            if found is None:
                break
            records[epoch] = found[:-1]
            if judge is not None:
                judged[epoch] = judge(state, data, held)
            better = fleet.patience is None or judged[epoch, 0] < best
            kept, best, waited = (state[fleet.keeps], judged[epoch, 0], 0) if better else (kept, best, waited + 1)
            if fleet.patience is not None and waited >= fleet.patience:
                break
        return Results(kept, records, judged)

    def run(data: Sequence[Any], crew: Crew) -> Results:
        X, y = data
        with suited(fleet.train.graphs):
            found = [
                alone([x[i] for x in crew.states], [X[crew.data[i]], y], crew.orders[i], crew.held[i])
                for i in range(crew.taken)
            ]
        kept, records, judged = zip(*(results[:3] for results in found), strict=True)
        return Results([np.stack(leaves) for leaves in zip(*kept, strict=True)], np.stack(records), np.stack(judged))

    return run


def _epoch(phase: Phase, summed: bool) -> Callable[..., Any]:
    """A whole epoch: (state, data, order) → its summary, or None where a step was not finite; the state is changed."""
    steps = _phase(phase)

    def run(state: list[Any], data: Sequence[Any], order: Any) -> Any:
        records = np.full((phase.steps, phase.record), np.nan)
        return phase.summary(records, summed) if steps(state, data, order, 0, phase.steps, records) else None

    return run


def put(arrays: list[Any]) -> list[Any]:
    """Arrays copied to where the programs run; the list is emptied meanwhile, so that no large state is there twice."""
    placed = []
    arrays.reverse()
    while arrays:
        placed.append(np.array(arrays.pop()))
    return placed


def get(arrays: Sequence[Any]) -> list[Any]:
    """Arrays copied back, each one's own."""
    return [np.array(a) for a in arrays]


def view(arrays: Sequence[Any]) -> list[Any]:
    """Arrays to read, not copied where that can be spared, which no program may use up any more."""
    return list(arrays)


def hold(arrays: Sequence[Any]) -> list[Any]:
    """Arrays that programs only read, where the programs run; not copied where that can be spared."""
    return list(arrays)


def held_bytes(arrays: Sequence[Any]) -> int:
    """The bytes that `hold` takes for these arrays."""
    return 0


def device_memory() -> tuple[int, int] | None:
    """Bytes in use and bytes free on a device with memory of its own; None where programs use the system's."""
    return None


def lacking(precision: str) -> str | None:
    """What would be needed for a precision that is not to be had here; None where it is."""
    return TF32_NEEDS if precision == "tf32" else None


def device_name() -> str:
    """What the programs run on."""
    return "cpu"


def first_not_finite(graph: Graph, values: Arrays) -> Tensor | None:
    """The first node in order whose value is not finite, for these inputs; None where all are."""
    held = {x.id: np.asarray(v) for x, v in zip((*graph.inputs, *graph.captured), values, strict=True)}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            if node.op == "constant":
                held.setdefault(node.id, np.asarray(node.value))
            elif node.op != "input":
                held[node.id] = evaluate(node.op, [held[x.id] for x in node.inputs], node.attrs, node.dtype)
            if node.dtype.kind == "f" and not np.isfinite(held[node.id]).all():
                return node
    return None


seams.provide("evaluate", evaluate)
