"""Loops so small that starting their operations costs more than computing them: one kernel for the whole loop.

XLA runs a loop's body as a list of kernels, and on a CPU the start of one costs about as much as all the arithmetic of
a small layer. It can also emit a whole computation, loops included, as one function that runs on one thread: it does so
where the call of the computation carries the attribute `xla_cpu_small_call`. In such a function a product is not handed
to a library, so it is written here as what the compiler turns into good machine code: rank-one updates, several at a
time, along rows that lie together in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chainrule.backends.flops import bodies, fits_single_kernel
from chainrule.backends.kernels import Kernel
from chainrule.backends.xla.compile_cache import CacheEntry
from chainrule.backends.xla.compiler import GRAPH, KERNEL, LOOP, Program
from chainrule.backends.xla.devices import device_name
from chainrule.backends.xla.digest import digest
from chainrule.backends.xla.lower import MATMUL_TRANSPOSED, LoweringBuilder, looped
from chainrule.graph.graph import Graph
from chainrule.passes.transpose_state import NARROW, transposed_state

MARK = {"inlineable": "false", "xla_cpu_small_call": "true"}
UNROLL = 5
"""Rank-one updates in one pass over the result: fewer read and write it too often, more run out of registers."""


def as_single_kernel(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function like `f`, compiled as one kernel."""
    import jax
    import jax.numpy as jnp
    from jax import lax
    from jax.experimental.xla_metadata import set_xla_metadata

    def call(*args: Any) -> Any:
        leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, args))

        def kernel(given: list[Any]) -> Any:
            rest = iter(given)
            every = [next(rest) if x.size else jnp.zeros(x.shape, x.dtype) for x in leaves]
            return f(*jax.tree.unflatten(structure, every)), _touched(given)

        # XLA aborts where such a function does not read one of its arguments, so each is read, and what was read kept.
        inner = jax.jit(kernel)
        return lax.optimization_barrier(set_xla_metadata(inner([x for x in leaves if x.size]), **MARK))[0]

    return call


def _touched(arrays: Sequence[Any]) -> Any:
    import jax.numpy as jnp
    from jax import lax

    firsts = [lax.slice(x, (0,) * x.ndim, (1,) * x.ndim).reshape(()).astype(jnp.float32) for x in arrays]
    return jnp.stack(firsts).sum()


def program_kind(graph: Graph) -> str:
    """What kind of program a graph is compiled to."""
    if not bodies(graph):
        return GRAPH
    return KERNEL if is_supported() and _has_single_kernel(graph) else LOOP


def lowering(graph: Graph, kind: str) -> tuple[Graph, Mapping[str, LoweringBuilder]]:
    """What is compiled for a kind of program: the graph, with state as its loops hold it, and the rows for it."""
    return (transposed_state(graph, fits_single_kernel), {"loop": _loop}) if kind == KERNEL else (graph, {})


def _has_single_kernel(graph: Graph) -> bool:
    """Whether a loop in a graph is one kernel, or has one in it; if one that carries a state is not, none is."""
    fit = [(node.attrs["carries"], _fits(node.attrs["body"])) for node in graph.nodes if node.op == "loop"]
    return any(fits for _, fits in fit) and all(fits for carries, fits in fit if carries)


def _fits(body: Graph) -> bool:
    return fits_single_kernel(body) or _has_single_kernel(body)


def _loop(attrs: dict[str, Any]) -> Kernel:
    """A loop of small steps, and all loops in it, as one kernel; any other one as usual, those in it as may be."""
    if fits_single_kernel(attrs["body"]):
        return as_single_kernel(looped(attrs, ROWS))
    return looped(attrs, {"loop": _loop} if _has_single_kernel(attrs["body"]) else {})


@functools.cache
def is_supported() -> bool:
    """Whether this version of XLA makes a single kernel of a call that requests it; the answer is cached."""
    if device_name() != "cpu":
        return False
    entry = CacheEntry(digest("one kernel"))
    known = entry.load()
    if known is None:
        known = b"yes" if _compiles_to_one() else b"no"
        entry.save(known)
    return known == b"yes"


def _compiles_to_one() -> bool:
    import jax

    program = Program(as_single_kernel(lambda x: jax.lax.fori_loop(0, x, lambda i, y: y + x * i, x)), KERNEL)
    try:
        program.make(3)
    except (jax.errors.JaxRuntimeError, TypeError):
        return False
    return any(" call(" in line and "xla_cpu_small_call" in line for line in program.text.splitlines())


# ---- products


def _product(x: Any, y: Any, transposed: bool = False) -> Any:
    """X·Y, or Xᵀ·Y, as rank-one updates, in an order that lets the rows of Y and of the result be read as they lie."""
    import jax.numpy as jnp
    from jax import lax

    inner, columns = y.shape
    # Short rows are filled up to whole vector registers.
    missing = -columns % NARROW if columns < 2 * NARROW else 0
    y = jnp.pad(y, ((0, 0), (0, missing)))

    def updates(result: Any, x: Any, y: Any) -> Any:
        for k in range(y.shape[0]):
            result = result + (x[k][:, None] if transposed else x[:, k : k + 1]) * y[k : k + 1, :]
        return result

    def step(block: Any, result: Any) -> Any:
        at = rest + block * unroll
        return updates(
            result,
            lax.dynamic_slice_in_dim(x, at, unroll, 0 if transposed else 1),
            lax.dynamic_slice_in_dim(y, at, unroll, 0),
        )

    # What a loop gives is kept; anything else would be computed anew by each of its users, in an order of their own.
    unroll = max((k for k in range(1, UNROLL + 1) if inner >= 2 * k), key=lambda k: k - inner % k, default=inner)
    blocks = inner // unroll
    rest = inner - blocks * unroll
    blank = jnp.zeros((x.shape[1 if transposed else 0], columns + missing), x.dtype)
    result = updates(blank, x[:rest] if transposed else x[:, :rest], y[:rest])
    return lax.fori_loop(0, blocks, step, result)[:, :columns]


def _matmul(attrs: dict[str, Any]) -> Kernel:
    return _product


def _matmul_transposed(attrs: dict[str, Any]) -> Kernel:
    return functools.partial(_product, transposed=True)


def _linear(attrs: dict[str, Any]) -> Kernel:
    import jax.numpy as jnp
    from jax import lax

    def kernel(x: Any, weight: Any, bias: Any = None) -> Any:
        # Turned round once, or every update would gather its row from far apart.
        transposed = lax.optimization_barrier(weight.T)
        y = jnp.reshape(_product(jnp.reshape(x, (-1, x.shape[-1])), transposed), (*x.shape[:-1], weight.shape[0]))
        return y if bias is None else y + bias

    return kernel


def _sum(attrs: dict[str, Any]) -> Kernel:
    import jax.numpy as jnp

    axes, keepdims = attrs["axes"], attrs["keepdims"]

    def kernel(x: Any) -> Any:
        leading = x.ndim == 2 and axes and axes[0] == 0 and x.dtype.kind == "f" and x.shape[0] > 1
        if not leading:
            return jnp.sum(x, axis=axes, keepdims=keepdims)
        # Down the columns the sums of a row's places go side by side; along a row they would wait for each other.
        down = _product(jnp.ones((1, x.shape[0]), x.dtype), x)
        if len(axes) == 1:
            return down if keepdims else down[0]
        return jnp.sum(down, axis=None if not keepdims else (0, 1), keepdims=keepdims)

    return kernel


ROWS: dict[str, LoweringBuilder] = {
    "matmul": _matmul,
    MATMUL_TRANSPOSED: _matmul_transposed,
    "linear": _linear,
    "sum": _sum,
}
ROWS["loop"] = lambda attrs: looped(attrs, ROWS)
