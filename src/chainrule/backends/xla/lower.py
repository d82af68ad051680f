"""How a graph's nodes are written in JAX's array namespace, to be traced by `jit`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.backends.kernels import KERNELS, Kernel, gelu, unreached_value
from chainrule.backends.xla.devices import device_name, has_tf32
from chainrule.graph.graph import Graph
from chainrule.graph.ops import TUPLE, Slot, fill, parts, row_of, split_pieces
from chainrule.graph.tensor import Tensor
from chainrule.passes.guard import guarded

LoweringBuilder = Callable[[dict[str, Any]], Kernel]
MATMUL_TRANSPOSED = "matmul, its first operand transposed"
"""What a product is called whose first operand is a transpose, where there is a row that reads it as it lies."""
BATCH = 512
"""Rows that a product adds up with an error like NumPy's, 1e-6 of the sum in float32; it grows with their number."""


def _getitem(attrs: dict[str, Any]) -> Kernel:
    import jax.numpy as jnp

    index = attrs["index"]

    def rows(x: Any, places: Any) -> Any:
        # Negative places count from the end as in NumPy; JAX's own check for each place costs more than the gather.
        places = _wide(places)
        return jnp.take(x, jnp.where(places < 0, places + x.shape[0], places), axis=0, mode="clip")

    if index and index[0] == Slot(0) and all(entry == ("slice", None, None, None) for entry in index[1:]):
        return rows
    return lambda x, *arrays: x[fill(index, list(map(_wide, arrays)))]


def _wide(places: Any) -> Any:
    """Places in a dtype that holds the size of an axis too, which is added to those that count from the end."""
    return places.astype(np.int32) if places.dtype.itemsize < 4 else places


def _put_add(attrs: dict[str, Any]) -> Kernel:
    import jax.numpy as jnp

    index, shape = attrs["index"], attrs["shape"]
    if not any(isinstance(entry, Slot) for entry in index):
        return _padded(index, shape)
    return lambda x, *arrays: jnp.zeros(shape, x.dtype).at[fill(index, list(map(_wide, arrays)))].add(x)


def _put_pieces(attrs: dict[str, Any]) -> Kernel:
    import jax.numpy as jnp

    pieces, shape = attrs["pieces"], attrs["shape"]
    each = [_put_add({"index": piece.index, "shape": shape}) for piece in pieces]
    rows = [row_of(piece.index) for piece in pieces]

    def kernel(*operands: Any) -> Any:
        if None not in rows:
            # One scatter of all rows, where each row as an array of full size would be quadratic.
            return jnp.zeros(shape, operands[0].dtype).at[np.array(rows)].add(jnp.stack(operands))
        parts = zip(each, split_pieces(operands, pieces), strict=True)
        return functools.reduce(jnp.add, [put(x, *arrays) for put, (x, arrays) in parts])

    return kernel


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


def _product(attrs: dict[str, Any]) -> tuple[Callable[[Any], Any], dict[str, Any]]:
    """What is done to the operands of a product, and how it is to be taken."""
    import jax.numpy as jnp
    from jax import lax

    precision = attrs.get("precision")
    if precision == "bfloat16":
        return lambda x: x.astype(jnp.bfloat16), {"preferred_element_type": np.float32}
    if precision is not None and has_tf32():
        return lambda x: x, {"precision": lax.DotAlgorithmPreset.TF32_TF32_F32}
    # Left to itself, XLA takes products of float32 as TF32 on a GPU.
    exact = {"precision": lax.Precision.HIGHEST}
    # Elsewhere the operands are rounded to TF32's 8 bits of exponent and 10 of mantissa, as the interpreter does it.
    return (lambda x: x) if precision is None else (lambda x: lax.reduce_precision(x, 8, 10)), exact


def _matmul(attrs: dict[str, Any]) -> Kernel:
    import jax.numpy as jnp

    rounded, how = _product(attrs)
    return lambda x, y: jnp.matmul(rounded(x), rounded(y), **how)


def _linear(attrs: dict[str, Any]) -> Kernel:
    from jax import lax

    rounded, how = _product(attrs)

    def kernel(x: Any, weight: Any, bias: Any = None) -> Any:
        y = lax.dot_general(rounded(x), rounded(weight), (((x.ndim - 1,), (1,)), ((), ())), **how)
        return y if bias is None else y + bias

    return kernel


def _materialize(attrs: dict[str, Any]) -> Kernel:
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


def _depends_on(attrs: dict[str, Any]) -> Kernel:
    import jax.numpy as jnp
    from jax import lax

    def kernel(x: Any, t: Any) -> Any:
        # On a CPU the compiler drops its own barriers, so x is made to depend on t by a question that it cannot answer
        # beforehand: whether the square of an integer leaves 3 when it is divided by 4. None does, so that x passes
        # bit for bit, whatever t is. (That a square is negative, it knows to be false.)
        bits = lax.bitcast_convert_type(jnp.sum(t).astype(np.float32), np.uint32)
        return lax.select(jnp.broadcast_to((bits * bits) % 4 == 3, x.shape), jnp.zeros_like(x), x)

    return kernel


def _sum(attrs: dict[str, Any]) -> Kernel:
    """A batch is summed up as a product, which goes to a library as sums themselves must not (see `compiler`).

    Adding up a batch of 128 for the gradients of the biases took 4 % of a step otherwise.
    """
    import jax.numpy as jnp
    from jax import lax

    usual = KERNELS["sum"](jnp, attrs)

    def kernel(x: Any) -> Any:
        if not (_is_batch(x) and attrs["axes"] == (0,)) or device_name() != "cpu":
            return usual(x)
        down = jnp.matmul(jnp.ones((1, x.shape[0]), x.dtype), x, precision=lax.Precision.HIGHEST)
        return down if attrs["keepdims"] else down[0]

    return kernel


def _is_batch(x: Any) -> bool:
    """Whether these are rows few enough for the product to add them up as exactly as a sum does."""
    return x.ndim == 2 and 1 < x.shape[0] <= BATCH and x.dtype in (np.float32, np.float64)


def _erf(attrs: dict[str, Any]) -> Kernel:
    from jax import lax

    kernel: Kernel = lax.erf
    return kernel


def _scan(attrs: dict[str, Any]) -> Kernel:
    """The kernel of a recurrence; besides the results it gives whether all checks in the body have passed."""
    from jax import lax

    count = attrs["carries"]
    inputs = count + attrs["sequences"]

    def kernel(*operands: Any) -> tuple[tuple[Any, ...], Any]:
        def one(carry: list[Any], sequences: list[Any]) -> Any:
            given, fine = _run(attrs["body"], {}, [*carry, *sequences, *operands[inputs:]])
            return given[:count], ((*given[count:], *carry[: attrs["kept"]]), _all(fine))

        carry, (stacked, fine) = lax.scan(
            one, list(operands[:count]), list(operands[count:inputs]), attrs["length"], attrs["reverse"]
        )
        return (*carry, *stacked), fine.all()

    return kernel


def looped(attrs: dict[str, Any], rows: Mapping[str, LoweringBuilder]) -> Kernel:
    """The kernel of a loop, its body's operations by `rows` first; as a scan's it also gives whether checks passed."""
    import jax.numpy as jnp
    from jax import lax

    count, types = attrs["carries"], parts(attrs)[attrs["carries"] : -1]
    body = guarded(attrs["body"], count) if attrs["guarded"] else attrs["body"]
    inputs = count + attrs["sequences"]

    def kernel(*operands: Any) -> tuple[tuple[Any, ...], Any]:
        *operands, start, stop = operands  # type: ignore[assignment]
        sequences, fixed = operands[count:inputs], operands[inputs:]
        last = jnp.minimum(stop, attrs["length"])

        def going_on(held: Any) -> Any:
            return (held[0] < last) & held[1]

        def one(held: Any) -> Any:
            t, _, fine, carry, records = held
            now = [lax.dynamic_index_in_dim(x, t, keepdims=False) for x in sequences]
            (*given, ok), checks = _run(body, rows, [*carry, *now, *fixed])
            written = [lax.dynamic_update_index_in_dim(r, x, t, 0) for r, x in zip(records, given[count:], strict=True)]
            return t + 1, ok, fine & _all(checks), given[:count], written

        records = [jnp.full(shape, unreached_value(dtype), dtype) for shape, dtype in types]
        begin = (jnp.maximum(start, 0), jnp.asarray(True), jnp.asarray(True), list(operands[:count]), records)
        if not attrs["length"]:
            return (*operands[:count], *records, begin[1]), begin[2]
        _, ok, fine, carry, records = lax.while_loop(going_on, one, begin)
        return (*carry, *records, ok), fine

    return kernel


def _call(attrs: dict[str, Any]) -> Kernel:
    def kernel(*operands: Any) -> tuple[Any, Any]:
        outputs, fine = _run(attrs["body"], {}, operands)
        return tuple(outputs), _all(fine)

    return kernel


def _all(fine: Mapping[int, Any]) -> Any:
    import jax.numpy as jnp

    return functools.reduce(jnp.logical_and, fine.values(), jnp.asarray(True))


def _passes(attrs: dict[str, Any], x: Any) -> Any:
    """Whether integers lie in their range."""
    fine = x >= attrs["low"]
    fine = fine if attrs["high"] is None else fine & (x < attrs["high"])
    return (fine if attrs["besides"] is None else fine | (x == attrs["besides"])).all()


OWN: dict[str, LoweringBuilder] = {
    "getitem": _getitem,
    "put_add": _put_add,
    "put_pieces": _put_pieces,
    "materialize": _materialize,
    "depends_on": _depends_on,
    "linear": _linear,
    "matmul": _matmul,
    "sum": _sum,
    "erf": _erf,
    "gelu": lambda a: gelu(_erf(a)),
    "call": _call,
    "scan": _scan,
    "loop": lambda a: looped(a, {}),
}


def _kernel(op: str, attrs: dict[str, Any], more: Mapping[str, LoweringBuilder]) -> Kernel:
    import jax.numpy as jnp

    own = more.get(op) or OWN.get(op)
    return own(attrs) if own else KERNELS[op](jnp, attrs)


def _literal(value: np.ndarray[Any, Any]) -> Any:
    """A constant of the program; where one number was stretched over axes, the number and the stretching."""
    import jax.numpy as jnp

    core = value[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in value.strides)]
    return jnp.broadcast_to(jnp.asarray(core, dtype=value.dtype), value.shape)


def _read(node: Tensor, transposed_first: bool) -> tuple[str, Sequence[Tensor]]:
    """The name of a node's row, and what the row takes."""
    if transposed_first and node.op == "matmul" and node.inputs[0].op == "transpose" and node.ndim == 2:
        return MATMUL_TRANSPOSED, (node.inputs[0].inputs[0], node.inputs[1])
    return node.op, node.inputs


def function(graph: Graph, more: Mapping[str, LoweringBuilder] | None = None) -> Callable[[Sequence[Any]], list[Any]]:
    """The graph as a function of JAX arrays, to be traced by `jit`; `more` are rows that go before the usual ones."""
    rows = more or {}

    return lambda values: _run(graph, rows, values)[0]


def range_checked(
    graph: Graph, rows: Mapping[str, LoweringBuilder]
) -> Callable[[Sequence[Any]], tuple[list[Any], Any]]:
    """The graph as a function that returns its outputs and whether every index and label was in range."""

    def run(values: Sequence[Any]) -> tuple[list[Any], Any]:
        outputs, fine = _run(graph, rows, values)
        return outputs, _all(fine)

    return run


def _run(graph: Graph, rows: Mapping[str, LoweringBuilder], values: Sequence[Any]) -> tuple[list[Any], dict[int, Any]]:
    """The outputs of a graph, and by node whether the checks in it have passed."""
    import jax.numpy as jnp

    held = {x.id: v for x, v in zip((*graph.inputs, *graph.captured), values, strict=True)}
    fine: dict[int, Any] = {}
    for node in graph.nodes:
        if node.id in held:
            continue
        if node.op == "constant":
            assert node.value is not None
            held[node.id] = _literal(node.value)
            continue
        if node.op == "in_range":
            passed = _all({x.id: fine[x.id] for x in node.inputs})
            held[node.id] = jnp.where(passed, 0.0, jnp.nan).astype(node.dtype)
            continue
        name, operands = _read(node, MATMUL_TRANSPOSED in rows)
        value = _kernel(name, node.attrs, rows)(*(held[x.id] for x in operands))
        if node.op in ("call", "scan", "loop"):
            value, fine[node.id] = value
        elif node.op == "within":
            fine[node.id] = _passes(node.attrs, value)
        held[node.id] = value if node.dtype == TUPLE else value.astype(node.dtype)
    return [held[y.id] for y in graph.outputs], fine
