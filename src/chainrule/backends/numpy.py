"""The reference interpreter: a graph run node by node with NumPy, each value freed after its last use."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.backends.kernels import HALF, KERNELS, Kernel, gelu
from chainrule.backends.live import live_bytes
from chainrule.backends.loop import Crew, Fleet, FleetProgram, LoopProgram, Outcome, Phase, Results, Schedule, Span
from chainrule.backends.threads import suited
from chainrule.errors import OutOfRangeError
from chainrule.graph import seams
from chainrule.graph.graph import LEAVES, Graph
from chainrule.graph.ops import BUNDLE, OPS, PRODUCTS, fill, parts, split_pieces
from chainrule.graph.tensor import Tensor

TF32_NEEDS = "an NVIDIA GPU of compute capability 8.0 or more"
SCRATCH = 10 * 2**20
"""Bytes for the threads that multiply matrices: 6 to 13 MB were measured."""
Arrays = Sequence[Any]
Program = Callable[[Arrays], list[Any]]


def _put_add(attrs: dict[str, Any]) -> Kernel:
    def kernel(x: Any, *arrays: Any) -> Any:
        y = np.zeros(attrs["shape"], x.dtype)
        if arrays:
            np.add.at(y, fill(attrs["index"], arrays), x)
        else:
            y[fill(attrs["index"], ())] = x
        return y

    return kernel


def _put_pieces(attrs: dict[str, Any]) -> Kernel:
    pieces, shape = attrs["pieces"], attrs["shape"]

    def kernel(*operands: Any) -> Any:
        y = np.zeros(shape, operands[0].dtype)
        for piece, (x, arrays) in zip(pieces, split_pieces(operands, pieces), strict=True):
            if arrays:
                np.add.at(y, fill(piece.index, arrays), x)
            else:
                y[fill(piece.index, ())] += x
        return y

    return kernel


def _reduction(reduce: Callable[..., Any]) -> Callable[[dict[str, Any]], Kernel]:
    # The ufunc's own reduction spares NumPy's wrapper, a third of the time on a small array.
    return lambda a: lambda x: reduce(x, axis=a["axes"], keepdims=a["keepdims"])


_ADD: Any = np.add
BLOCK = 1024
"""Rows that are added one to the next before their sums are, where NumPy does not add in pairs."""


def _sum(attrs: dict[str, Any]) -> Kernel:
    axes, keepdims = attrs["axes"], attrs["keepdims"]

    def kernel(x: Any) -> Any:
        if x.dtype == HALF:
            return _ADD.reduce(x, axis=axes, keepdims=keepdims, dtype=np.float32).astype(HALF)
        if x.size > BLOCK and x.dtype.kind == "f" and not _added_in_pairs(x, axes):
            return _in_blocks(x, axes, keepdims)
        return _ADD.reduce(x, axis=axes, keepdims=keepdims)

    return kernel


def _added_in_pairs(x: Any, axes: tuple[int, ...]) -> bool:
    """Whether NumPy adds in pairs, so that the error grows with the logarithm of the number of terms: along memory."""
    short = all(x.shape[axis] <= BLOCK for axis in axes)
    return short or (x.flags.c_contiguous and axes == tuple(range(x.ndim - len(axes), x.ndim)))


def _in_blocks(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """The sum with the longest axis cut into blocks: the error grows with √n of the n terms at most, not with n."""
    axis = max(axes, key=lambda axis: x.shape[axis])
    size = max(BLOCK, math.isqrt(x.shape[axis]))
    blocks = x.shape[axis] // size
    before = (slice(None),) * axis
    whole = x[(*before, slice(blocks * size))].reshape(*x.shape[:axis], blocks, size, *x.shape[axis + 1 :])
    sums = [
        _ADD.reduce(whole, axis=axis + 1),
        _ADD.reduce(x[(*before, slice(blocks * size, None))], axis, keepdims=True),
    ]
    return _ADD.reduce(np.concatenate(sums, axis), axis=axes, keepdims=keepdims)


def rounded(x: Any, dropped: int) -> Any:
    """Float32 numbers rounded to the nearest that have so many fewer bits, ties to the even one."""
    bits = x.view(np.uint32)
    up = bits + (np.uint32(2 ** (dropped - 1) - 1) + ((bits >> np.uint32(dropped)) & np.uint32(1)))
    # Beyond the largest number this gives infinity, as it should; a NaN must not become one.
    return np.where(np.isnan(x), x, (up & np.uint32(2**32 - 2**dropped)).view(np.float32))


def _matmul(attrs: dict[str, Any]) -> Kernel:
    dropped = PRODUCTS.get(attrs.get("precision", ""))
    return np.matmul if dropped is None else lambda x, y: rounded(x, dropped) @ rounded(y, dropped)


def _linear(attrs: dict[str, Any]) -> Kernel:
    product = _matmul(attrs)

    def kernel(x: Any, weight: Any, bias: Any = None) -> Any:
        y = product(x, weight.T)
        if bias is not None:
            y += bias
        return y

    return kernel


def _zero_stays(function: Callable[[Any, Any], Any]) -> Callable[[dict[str, Any]], Kernel]:
    def kernel(x: Any, y: Any) -> Any:
        z = function(x, y)
        bad = np.isnan(z)
        return np.where(bad & (x == 0), 0, z) if bad.any() else z

    return lambda attrs: kernel


def _within(attrs: dict[str, Any]) -> Kernel:
    low, high, besides = attrs["low"], attrs["high"], attrs["besides"]

    def kernel(x: Any) -> Any:
        if x.size and (x.min() < low or (high is not None and x.max() >= high)):
            bad = (x < low) if high is None else (x < low) | (x >= high)
            places = np.argwhere(bad if besides is None else bad & (x != besides))
            if len(places):
                raise _out_of_range(x, places[0], low, high, attrs["what"])
        return x

    return kernel


def _out_of_range(x: Any, place: Any, low: int, high: int | None, what: str) -> OutOfRangeError:
    word = "row" if what.endswith("label") else "position"
    return OutOfRangeError(
        "outside its range",
        where=what,
        expected=f"{low} or more" if high is None else f"{low}…{high - 1}",
        got=f"{x[tuple(place)]}" + (f" in {word} {', '.join(map(str, place))}" if len(place) else ""),
    )


def _erf(attrs: dict[str, Any]) -> Kernel:
    from scipy.special import erf

    kernel: Kernel = erf
    return kernel


def _scan(attrs: dict[str, Any]) -> Kernel:
    program = compile_graph(attrs["body"])
    count, length = attrs["carries"], attrs["length"]
    inputs = count + attrs["sequences"]
    order = range(length - 1, -1, -1) if attrs["reverse"] else range(length)

    def kernel(*operands: Any) -> tuple[Any, ...]:
        carry, sequences, fixed = operands[:count], operands[count:inputs], operands[inputs:]
        stacked = [np.empty(shape, dtype) for shape, dtype in parts(attrs)[count:]]
        for t in order:
            given = program([*carry, *(x[t] for x in sequences), *fixed])
            for stack, value in zip(stacked, (*given[count:], *carry[: attrs["kept"]]), strict=True):
                stack[t] = value
            carry = tuple(given[:count])
        return (*carry, *stacked)

    return kernel


def _call(attrs: dict[str, Any]) -> Kernel:
    program = seams.ability("program")(attrs["body"], attrs["backend"])
    return lambda *operands: tuple(program(operands))


_OWN: dict[str, Callable[[dict[str, Any]], Kernel]] = {
    "put_add": _put_add,
    "put_pieces": _put_pieces,
    "adjoint_product": _zero_stays(np.multiply),
    "adjoint_quotient": _zero_stays(np.divide),
    "erf": _erf,
    "gelu": lambda a: gelu(_erf(a)),
    "call": _call,
    "scan": _scan,
    "sum": _sum,
    "max": _reduction(np.maximum.reduce),
    "min": _reduction(np.minimum.reduce),
    "within": _within,
    "linear": _linear,
    "matmul": _matmul,
    "reshape": lambda a: lambda x: x.reshape(a["shape"]),
    "transpose": lambda a: lambda x: x.transpose(a["axes"]),
}


def kernel(op: str, attrs: dict[str, Any]) -> Kernel:
    """The NumPy function of one operation."""
    return _OWN[op](attrs) if op in _OWN else KERNELS[op](np, attrs)


@functools.cache
def _plain(op: str) -> Kernel:
    """The function of an operation without settings, made once."""
    return kernel(op, {})


def evaluate(op: str, values: Sequence[Any], attrs: dict[str, Any], dtype: Any) -> Any:
    """One operation on arrays, now: what define-by-run does. Floating-point warnings are left to the results."""
    function = kernel(op, attrs) if attrs else _plain(op)
    with np.errstate(all="ignore"):
        value = function(*values)
        return value if dtype == BUNDLE else np.asarray(value, dtype=dtype)


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
