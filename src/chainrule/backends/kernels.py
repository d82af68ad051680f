"""How each operation is computed, once, over an array namespace: NumPy's, or JAX's of the same names.

A row takes the namespace and the node's attributes and gives a function of arrays; what can be decided before the
arrays are known is decided then. Where a backend can do better it has its own row (see `interpreter.py`,
`xla/`). Next to a kernel is its cost, where that exceeds reading the operands and writing the result.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.graph.ops import OPS, OTHER, fill, sum_dtype

Kernel = Callable[..., Any]
KernelBuilder = Callable[[Any, dict[str, Any]], Kernel]

KERNELS: dict[str, KernelBuilder] = {}
HALF = np.dtype(np.float16)


@dataclass(frozen=True)
class Cost:
    """What a kernel takes besides reading its operands and writing its result.

    Attributes:
        element: the time for an element of the result, in elements of a simple operation such as an addition.
        workspace: what the interpreter's kernel allocates temporarily, in arrays of the size of its largest one.
        view: whether the interpreter's result is a view of the operand.
        fusible: whether a compiled step that is one kernel can hold it; None where its kind says it.
    """

    element: float = 1
    workspace: float = 0
    view: bool = False
    fusible: bool | None = None


COSTS: dict[str, Cost] = {}
PLAIN = Cost()


def cost_of(op: str) -> Cost:
    """The cost of an operation's kernel."""
    return COSTS.get(op, PLAIN)


def is_fusible(op: str) -> bool:
    """Whether an operation can join others in a single kernel: elementwise ones and those over axes, and by cost."""
    said = cost_of(op).fusible
    return OPS[op].kind is not OTHER if said is None else said


def _same_name(*names: str) -> None:
    for name in names:
        KERNELS[name] = lambda xp, attrs, name=name: getattr(xp, name)  # type: ignore[misc]  # binds the loop's name


_same_name(
    "negative", "exp", "expm1", "log", "log1p", "sqrt", "square", "sin", "cos", "tanh", "absolute", "sign", "floor"
)
_same_name("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "where", "isfinite")
_same_name("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not")
_same_name(
    "less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_not"
)


def cost(name: str, **costs: Any) -> None:
    """Register the cost of a kernel that each backend implements itself."""
    COSTS[name] = Cost(**costs)


def register_kernel(name: str, **costs: Any) -> Callable[[KernelBuilder], KernelBuilder]:
    """Register a kernel and its cost (the attributes of `Cost`)."""

    def enter(build: KernelBuilder) -> KernelBuilder:
        _simple(name, build, **costs)
        return build

    return enter


def unreached_value(dtype: Any) -> Any:
    """What the records of a loop hold for steps that were not reached."""
    return np.nan if np.dtype(dtype).kind == "f" else 0


def in_float32(build: KernelBuilder) -> KernelBuilder:
    """A row that computes float16 in float32: a sum of many such numbers overflows, or loses most of its digits."""

    @functools.wraps(build)
    def wide(xp: Any, attrs: dict[str, Any]) -> Kernel:
        kernel = build(xp, attrs)

        def of_any(*operands: Any) -> Any:
            if operands[0].dtype != HALF:
                return kernel(*operands)
            y = kernel(*(x.astype(np.float32) if x.dtype == HALF else x for x in operands))
            return y.astype(HALF)

        return of_any

    return wide


def _simple(name: str, build: KernelBuilder, **costs: Any) -> None:
    KERNELS[name] = build
    if costs:
        cost(name, **costs)


for _name in ("call", "scan", "loop"):
    cost(_name, fusible=False)
cost("put_pieces", workspace=1, fusible=False)
for _name in ("linear", "matmul", "put_add"):
    cost(_name, fusible=True)
cost("erf", element=4)
cost("gelu", workspace=1)
cost("exp", element=2)
cost("expm1", element=4)
cost("log", element=2)
cost("tanh", element=4)


_simple("adjoint_product", lambda xp, a: lambda x, y: xp.where(x == 0, 0, x * y), workspace=0.25)
_simple("adjoint_quotient", lambda xp, a: lambda x, y: xp.where(x == 0, 0, x / y), workspace=0.25)
_simple("identity", lambda xp, a: lambda x: x, view=True)
_simple("materialize", lambda xp, a: lambda x: x, view=True)
# Refusing what lies outside is each backend's own matter: compiled code cannot raise.
_simple("within", lambda xp, a: lambda x: x, view=True)
_simple("in_range", lambda xp, a: lambda *checks: xp.zeros((), a["dtype"]), fusible=True)
_simple("depends_on", lambda xp, a: lambda x, t: x, view=True, fusible=False)
_simple("stop_gradient", lambda xp, a: lambda x: x, view=True)
_simple("cast", lambda xp, a: lambda x: x.astype(a["dtype"]))
_simple("broadcast_to", lambda xp, a: lambda x: xp.broadcast_to(x, a["shape"]), view=True, fusible=True)
_simple("reshape", lambda xp, a: lambda x: xp.reshape(x, a["shape"]), view=True, fusible=True)
_simple("transpose", lambda xp, a: lambda x: xp.transpose(x, a["axes"]), view=True, fusible=True)
_simple("flip", lambda xp, a: lambda x: xp.flip(x, a["axes"]), view=True)
_simple("concatenate", lambda xp, a: lambda *xs: xp.concatenate(xs, axis=a["axis"]))
_simple("getitem", lambda xp, a: lambda x, *arrays: x[fill(a["index"], arrays)], fusible=True)
_simple("sum", in_float32(lambda xp, a: lambda x: xp.sum(x, axis=a["axes"], keepdims=a["keepdims"])))
_simple("max", lambda xp, a: lambda x: xp.max(x, axis=a["axes"], keepdims=a["keepdims"]))
_simple("min", lambda xp, a: lambda x: xp.min(x, axis=a["axes"], keepdims=a["keepdims"]))
_simple("argmax", lambda xp, a: lambda x: xp.argmax(x, axis=a["axis"]))
_simple("argmin", lambda xp, a: lambda x: xp.argmin(x, axis=a["axis"]))
_simple("argsort", lambda xp, a: lambda x: xp.argsort(x, axis=a["axis"], stable=True), element=100, fusible=False)
_simple("cumsum", lambda xp, a: lambda x: xp.cumsum(x, axis=a["axis"], dtype=sum_dtype(x.dtype)), fusible=False)
_simple("relu", lambda xp, a: lambda x: xp.maximum(x, 0))
_simple("get_item", lambda xp, a: lambda parts: parts[a["part"]], view=True, fusible=True)
_simple("leaky_relu", lambda xp, a: lambda x: xp.where(x < 0, x * a["negative_slope"], x), workspace=1.25)
_simple("elu", lambda xp, a: lambda x: xp.where(x < 0, a["alpha"] * xp.expm1(xp.minimum(x, 0)), x), workspace=1.25)
_simple("squared_error", lambda xp, a: lambda x, t: xp.square(x - t), workspace=1)
_simple("absolute_error", lambda xp, a: lambda x, t: xp.absolute(x - t), workspace=1)


@register_kernel("sigmoid", element=4, workspace=1.25)
def _sigmoid(xp: Any, attrs: dict[str, Any]) -> Kernel:
    def kernel(x: Any) -> Any:
        # With e = e^(−|x|) it is e/(1 + e) below 0 and 1/(1 + e) above: nothing overflows, and no digit is lost to a 1.
        e = xp.exp(-xp.absolute(x))
        return xp.where(x < 0, e, 1) / (1 + e)

    return kernel


@register_kernel("softplus", workspace=2)
def _softplus(xp: Any, attrs: dict[str, Any]) -> Kernel:
    return lambda x: xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.absolute(x)))


@register_kernel("silu", element=4, workspace=1.25)
def _silu(xp: Any, attrs: dict[str, Any]) -> Kernel:
    def kernel(x: Any) -> Any:
        # As in sigmoid. Far out e is taken e¹⁶ times as large, since it has no digits where x·e still has.
        size, far = xp.absolute(x), x < -64
        e = xp.exp(xp.where(far, 16 - size, -size))
        y = x * xp.where(x < 0, e, 1) / (1 + xp.where(far, 0, e))
        return xp.where(far, y * math.exp(-16), y)

    return kernel


def gelu(erf: Kernel) -> Kernel:
    """The kernel of gelu from that of erf, which differs between backends."""
    return lambda x: x * (0.5 * erf(x * 0.5**0.5) + 0.5)


def _shifted(xp: Any, x: Any, axis: int) -> Any:
    """X less its maximum, so that no exponential overflows."""
    return x - xp.max(x, axis=axis, keepdims=True) if x.shape[axis] else x


@register_kernel("softmax", element=4, workspace=1)
@in_float32
def _softmax(xp: Any, attrs: dict[str, Any]) -> Kernel:
    axis = attrs["axis"]

    def kernel(x: Any) -> Any:
        e = xp.exp(_shifted(xp, x, axis))
        return e / xp.sum(e, axis=axis, keepdims=True)

    return kernel


@register_kernel("log_softmax", workspace=1)
@in_float32
def _log_softmax(xp: Any, attrs: dict[str, Any]) -> Kernel:
    axis = attrs["axis"]

    def kernel(x: Any) -> Any:
        z = _shifted(xp, x, axis)
        return z - xp.log(xp.sum(xp.exp(z), axis=axis, keepdims=True))

    return kernel


@register_kernel("cross_entropy", element=4, workspace=2.25, fusible=True)
@in_float32
def _cross_entropy(xp: Any, attrs: dict[str, Any]) -> Kernel:
    smoothing, ignored = attrs["label_smoothing"], attrs.get("ignore_index")

    def kernel(x: Any, labels: Any) -> Any:
        z = _shifted(xp, x, -1)
        total = xp.log(xp.sum(xp.exp(z), axis=-1))
        # A comparison in place of a gather: labels outside 0…K−1 then give no wrong memory, and XLA fuses it.
        hit = labels[..., None] == xp.arange(x.shape[-1], dtype=labels.dtype)
        loss = total - xp.sum(xp.where(hit, z, 0), axis=-1)
        if smoothing:
            loss = (1 - smoothing) * loss + smoothing * (total - xp.mean(z, axis=-1))
        return loss if ignored is None else xp.where(labels == ignored, 0, loss)

    return kernel


@register_kernel("binary_cross_entropy", workspace=3)
def _binary_cross_entropy(xp: Any, attrs: dict[str, Any]) -> Kernel:
    def kernel(p: Any, t: Any) -> Any:
        return -(t * xp.maximum(xp.log(p), -100) + (1 - t) * xp.maximum(xp.log1p(-p), -100))

    return kernel


@register_kernel("binary_cross_entropy_with_logits", workspace=2)
def _binary_cross_entropy_with_logits(xp: Any, attrs: dict[str, Any]) -> Kernel:
    return lambda x, t: xp.maximum(x, 0) - t * x + xp.log1p(xp.exp(-xp.absolute(x)))


@register_kernel("huber", workspace=3)
def _huber(xp: Any, attrs: dict[str, Any]) -> Kernel:
    delta = attrs["delta"]

    def kernel(x: Any, t: Any) -> Any:
        # With h the difference held to ±δ both cases are h·(difference − h/2), and no large number is squared.
        difference = x - t
        held = xp.minimum(xp.maximum(difference, -delta), delta)
        return held * (difference - 0.5 * held)

    return kernel


def _centred(xp: Any, x: Any, axes: tuple[int, ...], eps: float) -> tuple[Any, Any]:
    """X − μ and √(σ² + ε), for any finite x.

    The mean lies between the smallest and the largest element; held there, the mean of equal elements is exact, and a
    constant feature gives 0 and not its rounding error over √ε. Dividing by the largest deviation before squaring keeps
    squares from overflowing; √ε is what it is at least, so that ε does not overflow by it either.
    """
    count = math.prod(x.shape[axis] for axis in axes)
    low, high = xp.min(x, axis=axes, keepdims=True), xp.max(x, axis=axes, keepdims=True)
    mean = xp.minimum(xp.maximum(xp.sum(x, axis=axes, keepdims=True) / count, low), high)
    largest = xp.maximum(high - mean, mean - low)
    root = math.sqrt(eps)
    scale = xp.maximum(largest, root) if eps else xp.where(largest > 0, largest, 1)
    centred = x - mean
    variance = xp.sum(xp.square(centred / scale), axis=axes, keepdims=True) / count
    return centred, scale * xp.sqrt(variance + xp.square(root / scale))


@register_kernel("std", workspace=3)
@in_float32
def _std(xp: Any, attrs: dict[str, Any]) -> Kernel:
    return lambda x: _centred(xp, x, attrs["axes"], attrs["eps"])[1]


@register_kernel("standardize", workspace=2)
@in_float32
def _standardize(xp: Any, attrs: dict[str, Any]) -> Kernel:
    def kernel(x: Any) -> Any:
        centred, deviation = _centred(xp, x, attrs["axes"], attrs["eps"])
        return centred / (deviation if attrs["eps"] else xp.where(deviation > 0, deviation, 1))

    return kernel


@register_kernel("batch_norm", workspace=2)
@in_float32
def _batch_norm(xp: Any, attrs: dict[str, Any]) -> Kernel:
    axes = attrs["axes"]

    def kernel(x: Any, scale: Any, shift: Any) -> Any:
        centred, deviation = _centred(xp, x, axes, attrs["eps"])
        scale, shift = (xp.reshape(v, deviation.shape) for v in (scale, shift))
        return centred * (scale / deviation) + shift

    return kernel


@register_kernel("layer_norm", workspace=2, fusible=True)
@in_float32
def _layer_norm(xp: Any, attrs: dict[str, Any]) -> Kernel:
    def kernel(x: Any, scale: Any, shift: Any) -> Any:
        centred, deviation = _centred(xp, x, (x.ndim - 1,), attrs["eps"])
        return centred / deviation * scale + shift

    return kernel


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def threefry(xp: Any, key: tuple[Any, Any], counter: tuple[Any, Any]) -> tuple[Any, Any]:
    """Threefry-2x32 with 20 rounds: two random words for each counter.

    Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3". Everything is uint32 and wraps.
    """
    keys = (key[0], key[1], key[0] ^ key[1] ^ xp.uint32(_PARITY))
    x, y = counter[0] + keys[0], counter[1] + keys[1]
    for block in range(5):
        for rotation in _ROTATIONS[block % 2]:
            x = x + y
            y = (y << xp.uint32(rotation)) | (y >> xp.uint32(32 - rotation))
            y = x ^ y
        x = x + keys[(block + 1) % 3]
        y = y + keys[(block + 2) % 3] + xp.uint32(block + 1)
    return x, y


def _words(xp: Any, key: Any, pairs: int, stream: int) -> tuple[Any, Any]:
    """So many pairs of random words, along a new last axis in place of the key's two words."""
    counter = (xp.arange(pairs, dtype=xp.uint32), xp.full((pairs,), stream, dtype=xp.uint32))
    return threefry(xp, (key[..., 0:1], key[..., 1:2]), counter)


@register_kernel("random_uniform", element=60, workspace=2, fusible=True)
def _random_uniform(xp: Any, attrs: dict[str, Any]) -> Kernel:
    shape, stream = attrs["shape"], attrs["stream"]
    size = math.prod(shape)

    def kernel(key: Any) -> Any:
        words = xp.concatenate(_words(xp, key, (size + 1) // 2, stream), axis=-1)[..., :size]
        # The upper 24 bits are exact in float32, so both precisions draw the same numbers.
        uniform = (words >> xp.uint32(8)).astype(attrs["dtype"]) * 2.0**-24
        return xp.reshape(uniform.astype(attrs["dtype"]), (*key.shape[:-1], *shape))

    return kernel


@register_kernel("random_normal", element=120, workspace=9, fusible=True)
def _random_normal(xp: Any, attrs: dict[str, Any]) -> Kernel:
    shape, stream = attrs["shape"], attrs["stream"]

    def kernel(key: Any) -> Any:
        u, v = (word.astype(xp.float64) * 2.0**-32 for word in _words(xp, key, math.prod(shape), stream))
        normal = xp.sqrt(-2.0 * xp.log(u + 2.0**-33)) * xp.cos(v * (2.0 * math.pi))
        # Rounded to float32, the last bits in which two libraries' logarithms and cosines differ are gone.
        return xp.reshape(normal.astype(xp.float32).astype(attrs["dtype"]), (*key.shape[:-1], *shape))

    return kernel


@register_kernel("random_permutation", element=200, workspace=3, fusible=False)
def _random_permutation(xp: Any, attrs: dict[str, Any]) -> Kernel:
    def kernel(key: Any) -> Any:
        high, low = (word.astype(xp.uint64) for word in _words(xp, key, attrs["n"], attrs["stream"]))
        return xp.argsort((high << xp.uint64(32)) | low, axis=-1)

    return kernel
