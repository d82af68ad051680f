"""The fused operations' rows of the table of rules; each is derived in its comment.

A test reverses the operation's decomposition into elementary ones and compares.
"""

from __future__ import annotations

import math

from chainrule.autodiff.rules import over, rule, times
from chainrule.graph import functions as F
from chainrule.graph.fused import hits
from chainrule.graph.tensor import Tensor, apply

# ---- activations

# σ(−x) is 1 − y, and keeps its digits where y is nearly 1.
rule("sigmoid", "x̄ = g·y·σ(−x)", lambda g, y, x: g * (y * F.sigmoid(-x)))
rule("softplus", "x̄ = g·σ(x)", lambda g, y, x: g * F.sigmoid(x))
# The gradient at exactly 0 passes: 0 where x < 0, g otherwise.
rule("relu", "x̄ = 0 where x < 0, else g", lambda g, y, x: F.where(x < 0.0, 0.0, g))


def _silu(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    # y = xσ gives y′ = σ + xσ(1 − σ) = σ + y(1 − σ), where 1 − σ(x) = σ(−x).
    return g * (F.sigmoid(x) + y * F.sigmoid(-x))


rule("silu", "x̄ = g·(σ(x) + y·σ(−x))", _silu)
rule(
    "leaky_relu",
    "x̄ = s·g where x < 0, else g",
    lambda g, y, x: F.where(x < 0.0, g * y.attrs["negative_slope"], g),
)
# The exponential of what is held at 0 or below cannot overflow in the branch that is not taken.
rule(
    "elu",
    "x̄ = g·α·eˣ where x < 0, else g",
    lambda g, y, x: F.where(x < 0.0, g * (F.exp(F.minimum(x, 0.0)) * y.attrs["alpha"]), g),
)


def _gelu(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    # y = xΦ gives y′ = Φ + xΦ′ with Φ = (1 + erf(x/√2))/2 and Φ′ = e^(−x²/2)/√(2π).
    distribution = (F.erf(x * math.sqrt(0.5)) + 1.0) * 0.5
    density = F.exp(F.square(x) * -0.5) * (1.0 / math.sqrt(2.0 * math.pi))
    return g * (distribution + x * density)


rule("gelu", "x̄ = g·(Φ(x) + x·e^(−x²/2)/√(2π))", _gelu)

# ---- products


def _flat(x: Tensor) -> Tensor:
    return F.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1])) if x.ndim != 2 else x


rule(
    "linear",
    "X̄ = G·W, W̄ = Gᵀ·X, b̄ = Σ G over rows",
    lambda g, y, x, w, *b: F.reshape(apply("matmul", _flat(g), w, **y.attrs), x.shape),
    lambda g, y, x, w, *b: apply("matmul", F.transpose(_flat(g)), _flat(x), **y.attrs),
    lambda g, y, x, w, *b: F.sum(g, tuple(range(g.ndim - 1))),
)

# ---- soft maxima and losses


def _softmax(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    # ∂yᵢ/∂xⱼ = yᵢ(δᵢⱼ − yⱼ), so x̄ = y ⊙ (g − ⟨g, y⟩).
    return y * (g - F.sum(g * y, y.attrs["axis"], keepdims=True))


def _log_softmax(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    axis = y.attrs["axis"]
    return g - F.softmax(x, axis) * F.sum(g, axis, keepdims=True)


def _cross_entropy(g: Tensor, c: Tensor, x: Tensor, labels: Tensor) -> Tensor:
    # C = Σₖ qₖ(ln Σⱼ eˣʲ − xₖ) with Σ qₖ = 1 gives ∂C/∂x = softmax(x) − q; q is one-hot, smoothed by ε towards 1/K.
    smoothing, ignored = c.attrs["label_smoothing"], c.attrs.get("ignore_index")
    target = F.cast(hits(labels, x.shape[-1]), x.dtype)
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / x.shape[-1]
    slope = F.expand_dims(g, -1) * (F.softmax(x) - target)
    return slope if ignored is None else F.where(F.expand_dims(F.equal(labels, ignored), -1), 0.0, slope)


def _held_log(p: Tensor) -> Tensor:
    return F.maximum(F.log(p), -100.0)


def _binary_cross_entropy(g: Tensor, c: Tensor, p: Tensor, t: Tensor) -> Tensor:
    # (p − t)/(p(1 − p)); the denominator is held above 1e-12 so that p = t = 0 or 1 gives 0, as in PyTorch.
    return over(g * (p - t), F.maximum(p * (1.0 - p), 1e-12))


rule("softmax", "x̄ = y·(g − Σ g·y)", _softmax)
rule("log_softmax", "x̄ = g − softmax(x)·Σ g", _log_softmax)
rule("cross_entropy", "x̄ = g·(softmax(x) − onehot)", _cross_entropy, None)
rule(
    "binary_cross_entropy",
    "p̄ = g·(p − t)/(p(1−p)), t̄ = g·(ln(1−p) − ln p)",
    _binary_cross_entropy,
    lambda g, c, p, t: times(g, _held_log(1.0 - p) - _held_log(p)),
)
rule(
    "binary_cross_entropy_with_logits",
    "x̄ = g·(σ(x) − t), t̄ = −g·x",
    lambda g, c, x, t: g * (F.sigmoid(x) - t),
    lambda g, c, x, t: -(g * x),
)
rule(
    "squared_error",
    "x̄ = 2·g·(x − t), t̄ = −x̄",
    lambda g, c, x, t: g * ((x - t) * 2.0),
    lambda g, c, x, t: g * ((t - x) * 2.0),
)
rule(
    "absolute_error",
    "x̄ = g·sign(x − t), t̄ = −x̄",
    lambda g, c, x, t: g * F.sign(x - t),
    lambda g, c, x, t: g * F.sign(t - x),
)
rule(
    "huber",
    "x̄ = g·(x − t held to ±δ), t̄ = −x̄",
    lambda g, c, x, t: g * F.clip(x - t, -c.attrs["delta"], c.attrs["delta"]),
    lambda g, c, x, t: g * F.clip(t - x, -c.attrs["delta"], c.attrs["delta"]),
)

# ---- normalisation


def _standardized(y: Tensor, x: Tensor) -> Tensor:
    """x̂ = (x − μ)/σ with the axes and the ε of the node y."""
    return apply("standardize", x, axes=_axes(y, x), eps=y.attrs["eps"])


def _deviation(y: Tensor, x: Tensor) -> Tensor:
    """σ = √(variance + ε), its axes kept with size 1."""
    return apply("std", x, axes=_axes(y, x), eps=y.attrs["eps"])


def _axes(y: Tensor, x: Tensor) -> tuple[int, ...]:
    axes: tuple[int, ...] = y.attrs.get("axes", (x.ndim - 1,))
    return axes


def _through_statistics(g: Tensor, unit: Tensor, y: Tensor, x: Tensor) -> Tensor:
    # With d = x − μ, x̂ = d/σ, σ² = Σ d²/n + ε: ∂x̂ᵢ/∂xⱼ = (δᵢⱼ − 1/n − x̂ᵢx̂ⱼ/n)/σ, since ∂σ/∂xⱼ = x̂ⱼ/n.
    axes = _axes(y, x)
    share, deviation = g - F.mean(g, axes, True) - unit * F.mean(g * unit, axes, True), _deviation(y, x)
    if y.attrs["eps"]:
        return share / deviation
    # Equal elements are 0 standardized, whatever they are.
    positive = deviation > 0.0
    return F.where(positive, share / F.where(positive, deviation, 1.0), 0.0)


def _std(g: Tensor, y: Tensor, x: Tensor) -> Tensor:
    return g * _standardized(y, x) * (1.0 / math.prod(x.shape[axis] for axis in y.attrs["axes"]))


rule("standardize", "x̄ = (g − mean g − y·mean(g·y))/σ", lambda g, y, x: _through_statistics(g, y, y, x))
rule("std", "x̄ = g·x̂/n", _std)


def _batch_norm(g: Tensor, y: Tensor, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    # γ is the same in all of n, so that x̂'s adjoint γ·g has the sums γ·β̄ and γ·γ̄, which are made anyway.
    axes, unit = _axes(y, x), _standardized(y, x)
    deviation = _deviation(y, x)

    def along(v: Tensor) -> Tensor:
        return F.reshape(v, deviation.shape)

    share = scale.size / max(x.size, 1)
    common, slope = F.sum(g, axes) * share, F.sum(g * unit, axes) * share
    return (g - along(common) - unit * along(slope)) * (along(scale) / deviation)


rule(
    "batch_norm",
    "x̄ = γ/σ·(g − (β̄ + x̂·γ̄)/n), γ̄ = Σ g·x̂, β̄ = Σ g over the batch",
    _batch_norm,
    lambda g, y, x, scale, shift: F.sum(g * _standardized(y, x), y.attrs["axes"]),
    lambda g, y, x, scale, shift: F.sum(g, y.attrs["axes"]),
)
rule(
    "layer_norm",
    "x̄ = (h − mean h − x̂·mean(h·x̂))/σ with h = g·γ, γ̄ = Σ g·x̂, β̄ = Σ g over the rows",
    lambda g, y, x, scale, shift: _through_statistics(g * scale, _standardized(y, x), y, x),
    lambda g, y, x, scale, shift: F.sum(g * _standardized(y, x), tuple(range(x.ndim - 1))),
    lambda g, y, x, scale, shift: F.sum(g, tuple(range(x.ndim - 1))),
)
