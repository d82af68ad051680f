"""`scan`: a recurrence over a sequence as one operation, whatever its length.

The body is traced once into a graph of its own, so a thousand steps cost no more to trace, to reverse and to compile
than ten. What the body uses from outside and does not change from step to step (weights) becomes an operand of the
operation, and whatever it computes from that alone is computed once, outside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.graph.recurrence import recurrence
from chainrule.graph.tensor import apply


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Run (cₜ₊₁, yₜ) = f(cₜ, xₜ) over a sequence; give the last carry and all yₜ, stacked.

    Args:
        f: takes a carry and one step's input, returns the next carry and one step's result; trees of tensors, either
            may be None. It is traced once, on placeholders: it cannot choose by values.
        init: c₀; every later carry has its structure, shapes and dtypes.
        xs: a tree of tensors of one leading length T, cut into steps along axis 0; or None.
        length: T, needed where there are no xs.
        reverse: whether to go from the last step to the first (results stay at their step's place).

    Returns:
        (c_T, ys): the last carry, and the results with a leading axis of T.

    The gradient goes back step by step through the reversal of the body, from the carries kept before each step; what
    the body computed in between is computed again, so memory grows with T times the carry and no faster. A random
    number that the body draws is drawn once, the same for all steps (as in variational dropout, Gal & Ghahramani 2016).
    `jax.lax.scan` has the same arguments.

    Raises:
        ArgumentError: no length, or a carry that changes its structure, shape or dtype.
        ShapeError: sequences of different lengths.

    Example:
        >>> import chainrule as cr
        >>> total, so_far = cr.scan(lambda c, x: (c + x, c + x), cr.tensor(0.0), cr.tensor([1.0, 2.0, 3.0]))
        >>> float(total), so_far.tolist()
        (6.0, [1.0, 3.0, 6.0])
        >>> w = cr.tensor(0.5)
        >>> cr.grad(lambda w: cr.scan(lambda c, _: (w * c, None), cr.tensor(1.0), length=1000)[0])(w).item() < 1e-290
        True
    """
    found = recurrence("scan", ("carry", "y"), f, init, xs, length)
    node = apply("scan", *found.operands, **found.settings, kept=found.settings["carries"], reverse=bool(reverse))
    return found.unpacked([apply("get_item", node, part=i) for i in range(len(found.settings["body"].outputs))])
