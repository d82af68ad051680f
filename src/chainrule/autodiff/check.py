"""Finite differences: an independent check of an analytic gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.autodiff.transforms import vjp
from chainrule.errors import GradientMismatch
from chainrule.graph import functions as F
from chainrule.graph.mode import no_grad
from chainrule.graph.tensor import Tensor, constant


def check_grad(f: Callable[..., Any], *xs: Any, rtol: float = 1e-5, atol: float = 1e-7) -> None:
    """Compare the analytic gradient of f with central finite differences, in float64, element by element.

    The outputs are contracted with fixed random numbers r into C = Σ r·f(x), so that every output takes part;
    ∂C/∂xᵢ ≈ (C(x + hᵢ) − C(x − hᵢ))/2h with h = 6e-6·max(1, |xᵢ|), near the cube root of float64's precision.

    Args:
        f: a function of tensors (or nested containers of them).
        xs: where to check; integer arguments are passed on unchecked.
        rtol, atol: the gradients agree where |analytic − numeric| ≤ atol + rtol·|numeric|.

    Raises:
        GradientMismatch: naming the argument, the element, the analytic and the numeric value.

    Example:
        >>> import chainrule as cr
        >>> cr.check_grad(lambda x: cr.tanh(x) * x, [0.5, -1.0])
    """
    leaves, structure = tree.flatten(tuple(xs))
    arrays = [_double(leaf) for leaf in leaves]
    real = [i for i, array in enumerate(arrays) if array.dtype.kind == "f"]
    weights = np.random.default_rng(0)

    def run(*chosen: Any) -> Any:
        filled = list(arrays)
        for i, x in zip(real, chosen, strict=True):
            filled[i] = x
        return f(*tree.unflatten(structure, [F.as_tensor(x) for x in filled]))

    y, pullback = vjp(run, *(constant(arrays[i]) for i in real))
    outputs, gives = tree.flatten(y)
    cotangents = [weights.uniform(0.5, 1.5, out.shape) for out in outputs]

    def contracted(chosen: list[np.ndarray[Any, Any]]) -> float:
        with no_grad():
            found = tree.flatten(run(*(constant(x) for x in chosen)))[0]
        return float(sum(np.sum(out.numpy() * r) for out, r in zip(found, cotangents, strict=True)))

    analytic = pullback(tree.unflatten(gives, [constant(r) for r in cotangents]))
    names = tree.names(tuple(xs))
    for k, i in enumerate(real):
        _compare(contracted, [arrays[j] for j in real], k, analytic[k].numpy(), f"argument {names[i]}", rtol, atol)


def _double(leaf: Any) -> np.ndarray[Any, Any]:
    array = leaf.numpy() if isinstance(leaf, Tensor) else np.asarray(leaf)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _compare(
    contracted: Callable[[list[np.ndarray[Any, Any]]], float],
    arrays: list[np.ndarray[Any, Any]],
    k: int,
    analytic: np.ndarray[Any, Any],
    where: str,
    rtol: float,
    atol: float,
) -> None:
    for place in np.ndindex(arrays[k].shape):
        step = 6e-6 * max(1.0, abs(float(arrays[k][place])))
        ends = []
        for shift in (step, -step):
            moved = arrays[k].copy()
            moved[place] += shift
            ends.append(contracted([*arrays[:k], moved, *arrays[k + 1 :]]))
        numeric = (ends[0] - ends[1]) / (2 * step)
        if not abs(analytic[place] - numeric) <= atol + rtol * abs(numeric):
            raise GradientMismatch(
                "the analytic and the numeric gradient differ",
                where=f"{where}, element {place}",
                expected=f"{numeric:.9g} (finite differences)",
                got=f"{analytic[place]:.9g} (analytic)",
            )
