"""The compiled backend: a graph, or a whole schedule of epochs, as one XLA program.

JAX serves as array namespace and compiler (`jit`, `lax` control flow); nothing here differentiates. It is imported
when the first program is compiled. Double precision is switched on around our own calls only, so that a user's own
JAX code keeps its setting.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.backends.kernels import KERNELS, Kernel, gelu
from chainrule.backends.loop import LoopProgram, Outcome, Phase, Schedule, Span
from chainrule.graph.graph import Graph
from chainrule.graph.ops import BUNDLE, Slot, fill
from chainrule.passes.guard import guarded

Program = Callable[[Sequence[Any]], list[Any]]


def _getitem(attrs: dict[str, Any]) -> Kernel:
    import jax.numpy as jnp

    index = attrs["index"]

    def rows(x: Any, places: Any) -> Any:
        # Negative places count from the end as in NumPy; JAX's own check for each place costs more than the gather.
        return jnp.take(x, jnp.where(places < 0, places + x.shape[0], places), axis=0, mode="clip")

    if index and index[0] == Slot(0) and all(entry == ("slice", None, None, None) for entry in index[1:]):
        return rows
    return lambda x, *arrays: x[fill(index, arrays)]


def _put_add(attrs: dict[str, Any]) -> Kernel:
    import jax.numpy as jnp

    index, shape = attrs["index"], attrs["shape"]
    if not any(isinstance(entry, Slot) for entry in index):
        return _padded(index, shape)
    return lambda x, *arrays: jnp.zeros(shape, x.dtype).at[fill(index, arrays)].add(x)


def _padded(index: Any, shape: tuple[int, ...]) -> Kernel:
    """Zeros with x where a basic index points, as padding: it fuses, and XLA can abort where a scatter fills it all."""
    import jax.numpy as jnp
    from jax import lax

    entries = [entry for entry in index if entry is not None]
    ranges = [
        range(n)[e : e + 1 or None] if isinstance(e, int) else range(*slice(*e[1:]).indices(n))
        for e, n in zip(entries, shape, strict=True)
    ]
    backwards = [axis for axis, r in enumerate(ranges) if r.step < 0]
    upwards = [r[::-1] if r.step < 0 else r for r in ranges]
    padding = [(r[0], n - 1 - r[-1], r.step - 1) if r else (n, 0, 0) for r, n in zip(upwards, shape, strict=True)]

    def kernel(x: Any) -> Any:
        core = jnp.flip(jnp.reshape(x, [len(r) for r in ranges]), backwards)
        return lax.pad(core, jnp.zeros((), x.dtype), padding)

    return kernel


def _linear(attrs: dict[str, Any]) -> Kernel:
    from jax import lax

    def kernel(x: Any, weight: Any, bias: Any = None) -> Any:
        y = lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ())))
        return y if bias is None else y + bias

    return kernel


def _settle(attrs: dict[str, Any]) -> Kernel:
    import jax.numpy as jnp
    from jax import lax

    def kernel(x: Any) -> Any:
        if not x.size:
            return x
        # A compiler computes cheap things anew for each user, and not always to the last bit alike. What a loop gives
        # is there once; that it runs just once is hidden from the compiler, which would take the loop away.
        some = x[(0,) * x.ndim]
        times = jnp.where(some != some, 2, 1)
        return lax.while_loop(lambda c: c[0] < times, lambda c: (c[0] + 1, x), (0, jnp.zeros_like(x)))[1]

    return kernel


def _erf(attrs: dict[str, Any]) -> Kernel:
    from jax import lax

    kernel: Kernel = lax.erf
    return kernel


def _scan(attrs: dict[str, Any]) -> Kernel:
    from jax import lax

    step = _function(attrs["body"])
    count = attrs["carries"]
    inputs = count + attrs["sequences"]

    def kernel(*operands: Any) -> tuple[Any, ...]:
        def one(carry: list[Any], sequences: list[Any]) -> Any:
            given = step([*carry, *sequences, *operands[inputs:]])
            return given[:count], (*given[count:], *carry[: attrs["kept"]])

        carry, stacked = lax.scan(
            one, list(operands[:count]), list(operands[count:inputs]), attrs["length"], attrs["reverse"]
        )
        return (*carry, *stacked)

    return kernel


_OWN: dict[str, Callable[[dict[str, Any]], Kernel]] = {
    "getitem": _getitem,
    "put_add": _put_add,
    "settle": _settle,
    "linear": _linear,
    "erf": _erf,
    "gelu": lambda a: gelu(_erf(a)),
    "scan": _scan,
}


def _kernel(op: str, attrs: dict[str, Any]) -> Kernel:
    import jax.numpy as jnp

    return _OWN[op](attrs) if op in _OWN else KERNELS[op](jnp, attrs)


def _literal(value: np.ndarray[Any, Any]) -> Any:
    """A constant of the program; where one number was stretched over axes, the number and the stretching."""
    import jax.numpy as jnp

    core = value[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in value.strides)]
    return jnp.broadcast_to(jnp.asarray(core, dtype=value.dtype), value.shape)


def _function(graph: Graph) -> Callable[[Sequence[Any]], list[Any]]:
    """The graph as a function of JAX arrays, to be traced by `jit`."""

    def run(values: Sequence[Any]) -> list[Any]:
        held = {x.id: v for x, v in zip((*graph.inputs, *graph.captured), values, strict=True)}
        for node in graph.nodes:
            if node.id in held:
                continue
            if node.op == "constant":
                assert node.value is not None
                held[node.id] = _literal(node.value)
                continue
            value = _kernel(node.op, node.attrs)(*(held[x.id] for x in node.inputs))
            held[node.id] = value if node.dtype == BUNDLE else value.astype(node.dtype)
        return [held[y.id] for y in graph.outputs]

    return run


def compile_graph(graph: Graph) -> Program:
    """A function from the arrays of `graph.arrays` to the arrays of its outputs, compiled at its first call."""
    import jax

    program = jax.jit(_function(graph))

    def run(values: Sequence[Any]) -> list[Any]:
        with jax.enable_x64(True):
            return [np.asarray(y) for y in program(list(values))]

    return run


def compile_schedule(schedule: Schedule) -> LoopProgram:
    """All epochs of a schedule as one compiled program; the state's buffers are donated from call to call."""
    import jax

    program = jax.jit(_epochs(schedule), donate_argnums=0, compiler_options=_options())

    def run(state: list[Any], data: Sequence[Any], orders: Any, span: Span) -> Outcome:
        with jax.enable_x64(True):
            state, train, evaluate = program(list(state), list(data), orders, np.asarray(span, np.int32))
            return Outcome(state, np.asarray(train), tuple(np.asarray(records) for records in evaluate))

    return run


@functools.cache
def _options() -> dict[str, Any]:
    """Compiler options for loops, where this version of XLA knows them.

    On a CPU the analysis of regions spares a copy of nearly every weight matrix in each step, since XLA then sees that
    the backward pass has read a weight before the update writes it.
    """
    import jax

    options = {"xla_cpu_copy_insertion_use_region_analysis": True}
    try:
        jax.jit(lambda x: x, compiler_options=options)(0).block_until_ready()
    except jax.errors.JaxRuntimeError:
        return {}
    return options


def put(arrays: list[Any]) -> list[Any]:
    """Arrays copied to where the programs run; the list is emptied meanwhile, so that no large state is there twice."""
    import jax

    placed = []
    arrays.reverse()
    with jax.enable_x64(True):
        while arrays:
            placed.append(jax.device_put(arrays.pop(), may_alias=False))
    return placed


def get(arrays: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
    """Arrays copied back, each one's own."""
    return [np.array(a) for a in arrays]


def view(arrays: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
    """Arrays to read, not copied where that can be spared, which no program may use up any more."""
    return [np.asarray(a) for a in arrays]


def hold(arrays: Sequence[Any]) -> list[Any]:
    """Arrays that programs only read, where the programs run; not copied where that can be spared."""
    import jax

    with jax.enable_x64(True):
        return [jax.device_put(a, may_alias=True) for a in arrays]


def _epochs(schedule: Schedule) -> Callable[..., Any]:
    import jax.numpy as jnp
    from jax import lax

    train = _phase(schedule.train)
    evaluations = [_phase(phase) for phase in schedule.evaluate]
    counts = [jnp.arange(phase.rows, dtype=jnp.int32) for phase in schedule.evaluate]

    def run(state: list[Any], data: list[Any], orders: Any, span: Any) -> Any:
        first, last, start, stop = (span[i] for i in range(4))
        records = [_blank(schedule.epochs, phase) for phase in (schedule.train, *schedule.evaluate)]

        def going_on(carry: Any) -> Any:
            epoch, alive, _, _ = carry
            return (epoch < last) & alive

        def one_epoch(carry: Any) -> Any:
            epoch, alive, state, records = carry
            order = lax.dynamic_index_in_dim(orders, epoch, keepdims=False)
            alive, state, row = train(state, data, order, start, stop)
            written = [_write(records[0], row, epoch)]
            for phase, evaluation, count, record in zip(
                schedule.evaluate, evaluations, counts, records[1:], strict=True
            ):
                # The evaluation is skipped where the span ends in the midst of an epoch.
                end = jnp.where(alive & (stop == schedule.train.steps), phase.steps, 0)
                written.append(_write(record, evaluation(state, data, count, 0, end)[2], epoch))
            return epoch + 1, alive, state, written

        carry = (first, jnp.asarray(True), state, records)
        _, _, state, records = lax.while_loop(going_on, one_epoch, carry)
        return state, records[0], records[1:]

    return run


def _blank(epochs: int, phase: Phase) -> Any:
    import jax.numpy as jnp

    return jnp.full((epochs, phase.steps, phase.record), jnp.nan, phase.graph.outputs[-1].dtype)


def _write(records: Any, row: Any, position: Any) -> Any:
    from jax import lax

    return lax.dynamic_update_index_in_dim(records, row, position, 0)


def _phase(phase: Phase) -> Callable[..., Any]:
    """A pass over batches [start, stop) of an order: (state, data, order, start, stop) → (alive, state, records)."""
    import jax.numpy as jnp
    from jax import lax

    steps = {graph: _function(guarded(graph, phase.states) if phase.changes_state else graph) for graph in phase.graphs}

    def advance(graph: Graph | None, size: int, state: list[Any], data: list[Any], order: Any, at: Any) -> Any:
        assert graph is not None, "a batch without its graph"
        rows = lax.dynamic_slice_in_dim(order, at, size)
        *new, record = steps[graph]([*state, *data, rows])
        if not phase.changes_state:
            return jnp.asarray(True), state, record
        return jnp.isfinite(record).all(), new, record

    def run(state: list[Any], everything: list[Any], order: Any, start: Any, stop: Any) -> Any:
        data = [everything[i] for i in phase.data]

        def going_on(carry: Any) -> Any:
            i, alive, _, _ = carry
            return (i < jnp.minimum(stop, phase.full)) & alive

        def one_step(carry: Any) -> Any:
            i, _, state, records = carry
            alive, state, record = advance(phase.step, phase.batch, state, data, order, i * phase.batch)
            return i + 1, alive, state, _write(records, record, i)

        carry = (jnp.asarray(start, jnp.int32), jnp.asarray(True), state, _blank(1, phase)[0])
        if phase.step is not None:
            carry = lax.while_loop(going_on, one_step, carry)
        if phase.last is None:
            return carry[1:]
        size, at = phase.rows - phase.full * phase.batch, phase.full * phase.batch

        def last_step(alive: Any, state: list[Any], records: Any) -> Any:
            fine, state, record = advance(phase.last, size, state, data, order, at)
            return fine, state, _write(records, record, phase.full)

        return lax.cond(carry[1] & (stop > phase.full), last_step, lambda *kept: kept, *carry[1:])

    return run
