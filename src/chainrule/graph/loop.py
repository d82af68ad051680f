"""`loop`: a bounded loop as one operation, which stops where its body says so.

An epoch is a loop over batches, a training a loop over epochs, so that both are graphs that can be printed and run on
either backend. What `scan` is for (a recurrence of fixed length, which has a derivative) stays `scan`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from chainrule.errors import ArgumentError
from chainrule.graph.elementwise import as_tensor
from chainrule.graph.recurrence import recurrence
from chainrule.graph.tensor import Tensor, apply


class Looped(NamedTuple):
    """What a loop gives.

    Attributes:
        carry: the last carry.
        records: each step's results, stacked along a new first axis; steps that were not reached have NaN, 0 or False.
        ok: whether no step has stopped the loop.
    """

    carry: Any
    records: Any
    ok: Tensor


def loop(
    f: Callable[[Any, Any], tuple[Any, Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    start: Any = 0,
    stop: Any = None,
    guarded: bool = True,
) -> Looped:
    """Run (cₜ₊₁, yₜ, okₜ) = f(cₜ, xₜ) for t from `start` up to `stop`, as long as okₜ is true.

    Args:
        f: takes a carry and one step's input, gives the next carry, one step's result, and one truth value: whether to
            go on. Trees of tensors; carry and result may be None. It is traced once, on placeholders.
        init: the first carry; every later one has its structure, shapes and dtypes.
        xs: a tree of tensors of one leading length T, cut into steps along axis 0; or None.
        length: T, the most steps there can be; needed where there are no xs.
        start, stop: integers, or tensors of one, which may differ from run to run: the steps t with
            start ≤ t < min(stop, T) are run. Without `stop` all from `start` on.
        guarded: what the first okₜ that is false means. True: that step does not count, the carry before it is the last
            one. False: that step is the last one. Its result is recorded either way.

    Returns:
        The last carry, the results stacked with a leading axis of T, and whether no okₜ was false.

    A loop that may stop has no derivative here (`DerivativeError`); `scan` has one. `jax.lax.while_loop` is similar
    but records no results of the steps.

    Raises:
        ArgumentError: no length, bounds or a truth value that are not one number each, or a carry that changes its
            structure, shape or dtype.
        ShapeError: sequences of different lengths.

    Example:
        >>> import chainrule as cr
        >>> def halve(x, _):
        ...     return x / 2, x, x > 1
        >>> last, seen, ok = cr.loop(halve, cr.tensor(8.0), length=6)
        >>> last.item(), seen.tolist(), ok.item()
        (1.0, [8.0, 4.0, 2.0, 1.0, nan, nan], False)
        >>> cr.loop(halve, cr.tensor(8.0), length=6, stop=2).carry.item()
        2.0
    """
    found = recurrence("loop", ("carry", "y", "ok"), f, init, xs, length, _truth)
    bounds = _bound("start", start), _bound("stop", found.settings["length"] if stop is None else stop)
    node = apply("loop", *found.operands, *bounds, **found.settings, guarded=bool(guarded))
    *parts, ok = (apply("get_item", node, part=i) for i in range(len(found.settings["body"].outputs)))
    return Looped(*found.unpacked(parts), ok)


def _bound(name: str, value: Any) -> Tensor:
    bound = as_tensor(value)
    if bound.shape or bound.dtype.kind not in "iu":
        raise ArgumentError("not a step index", where=f"loop, {name}", expected="one integer", got=bound.label())
    return as_tensor(np.int32(value)) if isinstance(value, int) else _cast(bound, np.int32)


def _truth(value: Any) -> Tensor:
    ok = as_tensor(value)
    if ok.shape or ok.dtype != np.bool_:
        raise ArgumentError("the body's ok is not one truth value", where="loop", expected="bool[]", got=ok.label())
    return ok


def _cast(x: Tensor, dtype: Any) -> Tensor:
    return x if x.dtype == dtype else apply("cast", x, dtype=np.dtype(dtype).name)
