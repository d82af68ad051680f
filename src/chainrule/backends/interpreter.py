"""The reference interpreter: a graph run node by node with NumPy, each value freed after its last use."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from typing import Any

import numpy as np

from chainrule.backends.flops import all_bodies
from chainrule.backends.kernels import KERNELS, Kernel
from chainrule.backends.liveness import live_bytes, nbytes
from chainrule.backends.loop_program import LoopProgram, LoopResult, LoopSpec
from chainrule.backends.nested import NESTED, BodyProgram, Nested, drained
from chainrule.backends.numpy_kernels import OWN
from chainrule.backends.threads import suited
from chainrule.graph import seams
from chainrule.graph.graph import LEAVES, Graph
from chainrule.graph.ops import OPS, TUPLE
from chainrule.graph.tensor import Tensor

TF32_NEEDS = "an NVIDIA GPU of compute capability 8.0 or more"
SCRATCH = 10 * 2**20
"""Bytes for the threads that multiply matrices: 6 to 13 MB were measured."""
Arrays = Sequence[Any]


def _call(attrs: dict[str, Any]) -> Kernel:
    program = seams.ability("program")(attrs["body"], attrs["backend"])
    return lambda *operands: tuple(program(operands))


def _nested(op: str, attrs: dict[str, Any]) -> Nested:
    return NESTED[op](attrs, compile_graph(attrs["body"]))


def _spread(op: str, attrs: dict[str, Any]) -> Kernel:
    run = _nested(op, attrs)
    return lambda *operands: run(list(operands))


_OWN: dict[str, Callable[[dict[str, Any]], Kernel]] = {
    **OWN,
    "call": _call,
    **{op: functools.partial(_spread, op) for op in NESTED},
}


def kernel(op: str, attrs: dict[str, Any]) -> Kernel:
    """The NumPy function of one operation."""
    return _OWN[op](attrs) if op in _OWN else KERNELS[op](np, attrs)


@functools.cache
def _plain(op: str) -> Kernel:
    """The function of an operation without settings, made once."""
    return kernel(op, {})


def evaluate(op: str, values: Sequence[Any], attrs: dict[str, Any], dtype: Any, quiet: bool = False) -> Any:
    """One operation on arrays, now: what define-by-run does. Floating-point warnings are suppressed.

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
    return value if dtype is TUPLE else np.asarray(value, dtype=dtype)


class _Contexts(threading.local):
    """Each thread's unused contexts in which NumPy does not warn of overflow and the like.

    To enter one takes a tenth of the time of `np.errstate`, which is that of an operation on a small array. There is
    more than one only where an operation is interrupted by another: by a handler of signals.
    """

    def __init__(self) -> None:
        self.free: list[Context] = []


_contexts = _Contexts()


def _silenced(function: Kernel, values: Sequence[Any], dtype: Any) -> Any:
    if dtype is TUPLE:
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


def compile_graph(graph: Graph) -> BodyProgram:
    """A function from the arrays of `graph.arrays` to the arrays of its outputs."""
    steps, slots = _plan(graph)
    constants = [(slots[n.id], n.value) for n in graph.nodes if n.op == "constant" and not n.is_variable]
    given = [slots[x.id] for x in (*graph.inputs, *graph.captured)]
    wanted = [(slots[y.id], y.dtype) for y in graph.outputs]
    size = len(slots)

    def program(values: Iterable[Any]) -> list[Any]:
        held: list[Any] = [None] * size
        for slot, value in constants:
            held[slot] = value
        for slot, value in zip(given, values, strict=True):
            held[slot] = value
        with np.errstate(all="ignore"):
            for function, sources, target, dead, nested in steps:
                if nested:
                    held[target] = function(_taken(held, sources, dead))
                else:
                    held[target] = function(*[held[s] for s in sources])
                    for slot in dead:
                        held[slot] = None
        return [np.asarray(held[slot], dtype=dtype) for slot, dtype in wanted]

    return program


def _taken(held: list[Any], sources: Sequence[int], dead: Sequence[int]) -> list[Any]:
    """The operands of a loop, which alone holds those that nothing else needs."""
    operands = [held[s] for s in sources]
    for slot in dead:
        held[slot] = None
    return operands


Instruction = tuple[Callable[..., Any], tuple[int, ...], int, tuple[int, ...], bool]


def _plan(graph: Graph) -> tuple[list[Instruction], dict[int, int]]:
    slots = {node.id: i for i, node in enumerate(graph.nodes)}
    last = {x.id: node.id for node in graph.nodes for x in node.inputs}
    kept = {y.id for y in graph.outputs}
    free = _stretched_by_numpy(graph)
    steps = []
    for node in graph.nodes:
        if node.op in LEAVES:
            continue
        dead = {slots[x.id] for x in node.inputs if last[x.id] == node.id and x.id not in kept}
        nested = node.op in NESTED
        function: Callable[..., Any] = (
            (lambda x: x)
            if node.id in free
            else _nested(node.op, node.attrs)
            if nested
            else kernel(node.op, node.attrs)
        )
        steps.append((function, tuple(slots[x.id] for x in node.inputs), slots[node.id], tuple(dead), nested))
    return steps, slots


def _stretched_by_numpy(graph: Graph) -> set[int]:
    """The broadcasts that need not be made, since every user is elementwise beside an operand of full shape."""
    stretches = {n.id for n in graph.nodes if n.op == "broadcast_to"} - {y.id for y in graph.outputs}
    for node in graph.nodes:
        if not OPS[node.op].elementwise or all(x.id in stretches for x in node.inputs):
            stretches -= {x.id for x in node.inputs}
    return stretches


def compile_loops(spec: LoopSpec) -> LoopProgram:
    """A graph of loops, interpreted; the same meaning as the compiled one."""
    return _Interpreted(spec)


class _Interpreted:
    unchecked = None

    def __init__(self, spec: LoopSpec) -> None:
        self._graph, self._states = spec.graph, spec.states
        self._program = compile_graph(spec.graph)

    def make(self) -> None:
        """Nothing: the steps are interpreted."""

    @functools.cached_property
    def extra(self) -> int:
        """The bytes of the values that are alive at once, besides the state that is used up: a loop goes on with it."""
        used_up = sum(map(nbytes, self._graph.inputs[: self._states]))
        return SCRATCH + max(0, live_bytes(self._graph, _stretched_by_numpy(self._graph)) - used_up)

    def __call__(self, state: list[Any], rest: Sequence[Any]) -> LoopResult:
        """Run it."""
        with suited(all_bodies(self._graph)):
            # What the caller used up must not be held by its list either.
            return LoopResult(self._program(drained(state, list(rest))))


def put(arrays: list[Any]) -> list[Any]:
    """Arrays copied to where the programs run; the list is emptied meanwhile, so that no large state exists twice."""
    placed = []
    arrays.reverse()
    while arrays:
        placed.append(np.array(arrays.pop()))
    return placed


def get(arrays: Sequence[Any]) -> list[Any]:
    """Arrays copied back to the host."""
    return [np.array(a) for a in arrays]


def view(arrays: Sequence[Any]) -> list[Any]:
    """Read-only arrays, copied only where necessary; no program may consume them from now on."""
    return list(arrays)


def hold(arrays: Sequence[Any]) -> list[Any]:
    """Arrays that programs only read, where the programs run; copied only where necessary."""
    return list(arrays)


def held_bytes(arrays: Sequence[Any]) -> int:
    """The bytes that `hold` takes for these arrays."""
    return 0


def device_memory() -> tuple[int, int] | None:
    """Bytes in use and bytes free on a device with memory of its own; None where programs use the system's."""
    return None


def lacking(precision: str) -> str | None:
    """What a precision needs that is missing here; None if nothing is."""
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
