"""L-BFGS: steps by the curvature estimated from the last few gradients, for small full-batch problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from chainrule import tree
from chainrule.errors import ArgumentError, check_number
from chainrule.graph import functions as F
from chainrule.graph.tensor import Tensor, constant
from chainrule.optim.optimizer import Optimizer, OptimizerState, Updated, alike, precision, step_rate

__all__ = ["LBFGS"]

TRIALS = 4
"""Points that a line search looks at in one update, each at the cost of a forward pass, needed or not."""
SHORTEST, LONGEST = 0.1, 0.5
"""The next trial is no less and no more than these shares of the last one."""
DECREASE = 1e-4
"""The share of the decrease that the slope promises which a step must keep (Armijo 1966)."""


class _Memory(NamedTuple):
    """The pairs (s, y) of the last steps, oldest first; unused rows are 0, and so is their ρ."""

    pairs: Tensor
    s: Tensor
    y: Tensor
    rho: Tensor


class LBFGS(Optimizer):
    """L-BFGS (Nocedal 1980; Liu & Nocedal 1989): w ← w − t·H·g, H the inverse curvature as the last m steps had it.

    From s = wₖ₊₁ − wₖ and y = gₖ₊₁ − gₖ of the last m steps the two-loop recursion computes H·g, beginning with
    H₀ = (sᵀy/yᵀy)·I of the latest pair. A pair whose sᵀy is not positive is left out, so that H·g leads downhill.
    While there is no pair yet the direction is −g and t = η·min(1, 1/‖g‖₁), afterwards t = η.

    With line search t is shortened until C falls by 10⁻⁴ of what the slope promises: up to four trials an update,
    each where the parabola through the last one has its minimum, between 0.1 and 0.5 of it. Where none will do the
    weights stay, the pairs are forgotten, and the next update tries a hundredth of the step. So C never rises.

    It needs the gradient of the whole objective: with minibatches y would be the difference of two samples' gradients
    and not curvature, which a `Trainer` refuses. Dropout's masks have the same effect, and no refusal.

    Without line search these are the steps of PyTorch's `LBFGS(max_iter=1)` with both tolerances 0, which leaves out a
    pair only at sᵀy ≤ 10⁻¹⁰, and shortens the first step alone.

    Args:
        lr: η > 0, the first trial, or the step where nothing is searched.
        history_size: m, at least 1 (PyTorch: 100); the state holds 2m numbers per weight.
        line_search: "backtracking", or None.

    Raises:
        ArgumentError: an argument outside its range.

    Example:
        >>> import chainrule as cr
        >>> bowl = lambda w: w[0] ** 2 + 10.0 * w[1] ** 2
        >>> lbfgs, w = cr.optim.LBFGS(), cr.tensor([1.0, 1.0])
        >>> state = lbfgs.init(w)
        >>> for _ in range(8):
        ...     w, state = lbfgs.update(cr.grad(bowl)(w), state, w, objective=bowl)
        >>> bool(bowl(w) < 1e-12)
        True
    """

    full_batch = True

    def __init__(self, lr: float = 1.0, history_size: int = 10, line_search: str | None = "backtracking") -> None:
        super().__init__(lr)
        self.history_size = check_number("history_size", history_size, low=1, integer=True)
        if line_search not in ("backtracking", None):
            raise ArgumentError(
                "unknown value", where="line_search", expected="'backtracking' or None", got=line_search
            )
        self.line_search = line_search

    def init(self, parameters: Any) -> OptimizerState:
        """No pairs; the leaves count as one vector."""
        size = sum(F.as_tensor(leaf).size for leaf in tree.flatten(parameters)[0])
        dtype, rows = precision(parameters), self.history_size
        shapes = {"change": size, "gradient": size, "s": (rows, size), "y": (rows, size), "rho": rows}
        return {
            "pairs": constant(np.zeros((), np.int32)),
            "reach": constant(np.ones((), dtype)),
            **{name: constant(np.zeros(shape, dtype)) for name, shape in shapes.items()},
        }

    def update(
        self,
        gradients: Any,
        state: OptimizerState,
        parameters: Any,
        lr: Any = None,
        objective: Callable[[Any], Tensor] | None = None,
    ) -> Updated:
        """One step.

        Args:
            gradients: ∂C/∂w in the structure of the parameters.
            state: what `init` or the last `update` returned.
            parameters: w.
            lr: the learning rate of this step; the optimizer's own by default.
            objective: w → C, of which the gradients are; without it nothing is searched.
        """
        leaves, _ = alike(gradients, parameters)
        rate, g = step_rate(lr, self.lr, gradients), F.concatenate([F.reshape(leaf, -1) for leaf in leaves])
        memory = _remembered(state, g)
        direction = _direction(memory, g, F.as_tensor(state["reach"]))
        length, found = rate, constant(True)
        if objective is not None and self.line_search is not None:
            length, found = _searched(objective, parameters, direction, F.sum(g * direction), rate)
        change = F.where(found, length * direction, 0.0)
        return Updated(
            _moved(parameters, change),
            {
                "pairs": F.where(found, memory.pairs, np.int32(0)),
                "reach": F.where(found, 1.0, F.as_tensor(state["reach"]) * SHORTEST**2),
                "change": change,
                "gradient": g,
                "s": memory.s,
                "y": memory.y,
                "rho": F.where(found, memory.rho, 0.0),
            },
        )


def _remembered(state: OptimizerState, g: Tensor) -> _Memory:
    """The pairs with that of the last step, the oldest gone, if it tells of positive curvature."""
    pairs, s, y, rho = (F.as_tensor(state[name]) for name in ("pairs", "s", "y", "rho"))
    change, bend = F.as_tensor(state["change"]), g - state["gradient"]
    product = F.sum(change * bend)
    sizes = F.sqrt(F.sum(F.square(change)) * F.sum(F.square(bend)))
    curved = product > sizes * float(np.finfo(g.dtype).eps)

    def pushed(rows: Tensor, row: Tensor) -> Tensor:
        return F.where(curved, F.concatenate([rows[1:], F.expand_dims(row, 0)]), rows)

    inverse = 1.0 / F.where(curved, product, 1.0)
    longer = F.minimum(pairs + np.int32(1), np.int32(rho.size))
    return _Memory(F.where(curved, longer, pairs), pushed(s, change), pushed(y, bend), pushed(rho, inverse))


def _direction(memory: _Memory, g: Tensor, reach: Tensor) -> Tensor:
    """−H·g by the two-loop recursion (Nocedal & Wright 2006, algorithm 7.4)."""
    rows = memory.rho.size
    d, shares = -g, [F.as_tensor(0.0)] * rows
    for i in reversed(range(rows)):
        shares[i] = memory.rho[i] * F.sum(memory.s[i] * d)
        d = d - shares[i] * memory.y[i]
    d = d * _initial(memory, g, reach)
    for i in range(rows):
        d = d + (shares[i] - memory.rho[i] * F.sum(memory.y[i] * d)) * memory.s[i]
    return d


def _initial(memory: _Memory, g: Tensor, reach: Tensor) -> Tensor:
    """sᵀy/yᵀy of the latest pair, the inverse curvature along it; while there is none, what makes the step short."""
    some = memory.pairs > 0
    bend = memory.rho[-1] * F.sum(F.square(memory.y[-1]))
    # 1/max(1, ‖g‖₁) is min(1, 1/‖g‖₁) without a division by 0.
    return F.where(some, 1.0 / F.where(some, bend, 1.0), reach / F.maximum(F.sum(F.absolute(g)), 1.0))


def _searched(
    objective: Callable[[Any], Tensor], parameters: Any, direction: Tensor, slope: Tensor, length: Tensor
) -> tuple[Tensor, Tensor]:
    """A length that makes C fall enough, and whether there is one among the trials."""
    start = objective(parameters)
    # Near the minimum C changes by less than it is rounded to.
    bound = start + F.absolute(start) * float(np.finfo(direction.dtype).eps)
    promise = F.minimum(slope, 0.0) * DECREASE
    value = objective(_moved(parameters, length * direction))
    found = value <= bound + length * promise
    for _ in range(TRIALS - 1):
        length = F.where(found, length, _shorter(length, value - start, slope))
        value = objective(_moved(parameters, length * direction))
        found = value <= bound + length * promise
    return length, found


def _shorter(length: Tensor, rise: Tensor, slope: Tensor) -> Tensor:
    """Where the parabola with this slope at 0 and this rise at `length` has its minimum, within bounds."""
    bent = 2.0 * (rise - slope * length)
    best = F.where(F.isfinite(rise), -slope * F.square(length) / F.where(bent > 0, bent, 1.0), 0.0)
    return F.clip(best, length * SHORTEST, length * LONGEST)


def _moved(parameters: Any, change: Tensor) -> Any:
    """The parameters with a vector added."""
    leaves, structure = tree.flatten(parameters)
    moved, start = [], 0
    for leaf in map(F.as_tensor, leaves):
        moved.append(leaf + F.reshape(change[start : start + leaf.size], leaf.shape))
        start += leaf.size
    return tree.unflatten(structure.plain(), moved)
