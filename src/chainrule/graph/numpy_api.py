"""NumPy's functions on tensors: those that chainrule has keep the gradient, the others are refused where one is needed.

NumPy asks the operands of its functions what to do (`__array_ufunc__`, `__array_function__`: NEP 13 and 18). A function
of this table is ours. Any other gets the values, unless a tensor among its operands has a history that it would drop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.errors import TraceError
from chainrule.graph import functions as F
from chainrule.graph import linalg, seams
from chainrule.graph.elementwise import as_tensor
from chainrule.graph.tensor import Tensor, constant

Function = Callable[..., Any]


def _dot(a: Any, b: Any) -> Tensor:
    x, y = as_tensor(a), as_tensor(b)
    if not x.ndim or not y.ndim:
        return F.multiply(x, y)
    if y.ndim < 3:
        return F.matmul(x, y)
    # The last axis of x against the last but one of y; the other axes one behind the other.
    rest = (*y.shape[:-2], y.shape[-1])
    inner = F.transpose(y, (y.ndim - 2, *range(y.ndim - 2), y.ndim - 1))
    return F.reshape(F.matmul(x, F.reshape(inner, (y.shape[-2], -1))), (*x.shape[:-1], *rest))


def _joined(arrays: Any, axis: int | None = 0) -> Tensor:
    return F.concatenate([F.reshape(x, -1) for x in arrays] if axis is None else arrays, axis or 0)


def _reduced(function: Function) -> Function:
    return lambda a, axis=None, *, keepdims=False, **more: function(a, axis, keepdims, **more)


def _take(a: Any, indices: Any, axis: int | None = None) -> Tensor:
    return F.take(F.reshape(a, -1), indices) if axis is None else F.take(a, indices, axis)


def _cumsum(a: Any, axis: int | None = None) -> Tensor:
    return F.cumsum(F.reshape(a, -1), 0) if axis is None else F.cumsum(a, axis)


def _ordered(function: Function) -> Function:
    # Ours is stable, so it is what any kind of NumPy's promises.
    return lambda a, axis=-1, kind=None, *, stable=None: function(a, axis)


def _filled(value: float) -> Function:
    return lambda a: constant(np.full(a.shape, value, a.dtype))


_FUNCTIONS: dict[Any, Function] = {
    np.sum: _reduced(F.sum),
    np.mean: _reduced(F.mean),
    np.var: _reduced(F.var),
    np.std: _reduced(F.std),
    np.max: _reduced(F.max),
    np.min: _reduced(F.min),
    np.argmax: lambda a, axis=None: F.argmax(a, axis),
    np.cumsum: _cumsum,
    np.dot: _dot,
    np.where: lambda condition, x, y: F.where(condition, x, y),
    np.clip: lambda a, a_min=None, a_max=None: F.clip(a, a_min, a_max),
    np.concatenate: _joined,
    np.stack: lambda arrays, axis=0: F.stack(arrays, axis),
    np.reshape: lambda a, shape: F.reshape(a, shape),
    np.transpose: lambda a, axes=None: F.transpose(a, axes),
    np.swapaxes: lambda a, axis1, axis2: F.swapaxes(a, axis1, axis2),
    np.squeeze: lambda a, axis=None: F.squeeze(a, axis),
    np.expand_dims: lambda a, axis: F.expand_dims(a, axis),
    np.broadcast_to: lambda array, shape: F.broadcast_to(array, shape),
    np.flip: lambda m, axis=None: F.flip(m, axis),
    np.take: _take,
    np.take_along_axis: lambda arr, indices, axis=-1: F.take_along_axis(arr, indices, axis),
    np.sort: _ordered(F.sort),
    np.argsort: _ordered(F.argsort),
    np.zeros_like: _filled(0),
    np.ones_like: _filled(1),
    np.linalg.norm: lambda x, ord=None, axis=None, keepdims=False: linalg.norm(x, ord, axis, keepdims),
    np.argmin: lambda a, axis=None: F.argmin(a, axis),
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a: a.size,
}
_COMPARISONS = {np.allclose, np.isclose, np.array_equal, np.array_equiv}
"""What has no gradient, and is asked about values that are known."""
_UNSET = {"dtype", "out"}
"""What NumPy's functions are often handed as None, for nothing."""
_RENAMED = {"invert": "bitwise_not"}
_UFUNCS = {name for name in F.__all__ if isinstance(getattr(np, name, None), np.ufunc)} | set(_RENAMED)


def ufunc(function: Any, method: str, inputs: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """What one of NumPy's elementwise functions gives for operands among which there are tensors."""
    if method == "__call__" and not settings and function.__name__ in _UFUNCS:
        return getattr(F, _RENAMED.get(function.__name__, function.__name__))(*inputs)
    name = function.__name__ if method == "__call__" else f"{function.__name__}.{method}"
    operands, targets = _values(name, inputs), settings.pop("out", None)
    if targets is not None:
        settings["out"] = _values(name, targets)
    return getattr(function, method)(*operands, **settings)


def array_function(function: Any, args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    """What another function of NumPy's gives for arguments among which there are tensors."""
    own = _FUNCTIONS.get(function)
    no_value = np._NoValue  # noqa: SLF001  # NumPy has no public name for it
    unset = {name for name, value in settings.items() if value is no_value or (value is None and name in _UNSET)}
    given = {name: value for name, value in settings.items() if name not in unset}
    if own is not None:
        try:
            return own(*args, **given)
        except TypeError as error:
            if not isinstance(error, TraceError) and "argument" not in str(error):
                raise
    if function in _COMPARISONS:
        return function(*(_plain(x) for x in args), **given)
    return function(*_values(function.__name__, args), **_values(function.__name__, settings))


def _plain(x: Any) -> Any:
    return x.numpy() if isinstance(x, Tensor) else x


def _values(name: str, x: Any) -> Any:
    """The arguments with tensors replaced by their values, where nothing is lost by that."""
    if isinstance(x, Tensor):
        if x.has_history:
            own = f"cr.{name}" if name in F.__all__ else "a function of chainrule's"
            raise TraceError(
                f"NumPy's {name} with these arguments is not differentiable, and this tensor needs a gradient",
                where=x.label(),
                hint=f"use {own}, or x.detach() for the values alone",
            )
        return x.numpy()
    if isinstance(x, dict):
        return {key: _values(name, value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(_values(name, member) for member in x)
    return x


seams.provide("ufunc", ufunc)
seams.provide("array_function", array_function)
