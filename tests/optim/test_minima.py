"""Every optimizer on the usual test functions: a quadratic, Rosenbrock's valley, Beale's function."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim
from surfaces import FUNCTIONS


def distance(optimizer: optim.Optimizer, name: str, steps: int) -> float:
    """How far from the minimum so many updates end, the rate falling in a straight line to 0."""
    function, start, minimum = FUNCTIONS[name]
    falling = optim.Linear(steps)

    def one(w: Any, state: Any, step: Any) -> Any:
        return optimizer.update(cr.grad(function)(w), state, w, optimizer.lr * falling(step))

    graph = cr.trace(one, np.array(start), optimizer.init(np.array(start)), 0.0).simplify()
    w: Any = np.array(start)
    state = optimizer.init(w)
    for step in range(steps):
        w, state = graph.run(w, state, float(step))
    return float(np.abs(np.asarray(w) - minimum).max())


# How near each comes with a rate that suits all three functions. Gradient descent and AdaGrad are slow along the
# valley: the one's rate must not be more than the steep sides bear, the other's only shrinks.
REACHED: list[tuple[optim.Optimizer, dict[str, tuple[int, float]]]] = [
    (optim.SGD(2e-3), {"quadratic": (6000, 0.02), "Rosenbrock": (6000, 0.2), "Beale": (6000, 0.1)}),
    (optim.SGD(5e-4, 0.95), {"quadratic": (2000, 1e-4), "Rosenbrock": (3000, 2e-3), "Beale": (3000, 5e-3)}),
    (optim.SGD(5e-4, 0.95, True), {"quadratic": (2000, 1e-4), "Rosenbrock": (3000, 2e-3), "Beale": (3000, 5e-3)}),
    (optim.AdaGrad(1.0), {"quadratic": (500, 1e-8), "Rosenbrock": (3000, 0.4), "Beale": (1000, 1e-6)}),
    (optim.RMSProp(0.01), {"quadratic": (1000, 1e-8), "Rosenbrock": (3000, 0.05), "Beale": (1000, 1e-4)}),
    (optim.RMSProp(1e-3, momentum=0.9), {"Rosenbrock": (1000, 1e-5), "Beale": (1000, 1e-5)}),
    (optim.RMSProp(1e-3, momentum=0.9, centered=True), {"Rosenbrock": (1000, 1e-5), "Beale": (1000, 1e-5)}),
    (optim.Adadelta(1.0), {"quadratic": (3000, 1e-8), "Rosenbrock": (3000, 0.1), "Beale": (1000, 1e-5)}),
    (optim.Adam(0.05), {"quadratic": (500, 2e-3), "Rosenbrock": (3000, 3e-3), "Beale": (1000, 1e-3)}),
    (optim.AdamW(0.05, weight_decay=0.0), {"quadratic": (500, 2e-3), "Beale": (1000, 1e-3)}),
    (optim.Adamax(0.1), {"quadratic": (500, 1e-3), "Rosenbrock": (4000, 0.05), "Beale": (1000, 0.02)}),
    (optim.Nadam(0.05), {"quadratic": (500, 0.01), "Rosenbrock": (3000, 0.01), "Beale": (1000, 1e-3)}),
]
ROWS = [(optimizer, name, *bound) for optimizer, bounds in REACHED for name, bound in bounds.items()]


@pytest.mark.parametrize(("optimizer", "name", "steps", "near"), ROWS, ids=lambda x: repr(x)[:60])
def test_a_test_function_is_followed_to_its_minimum(
    optimizer: optim.Optimizer, name: str, steps: int, near: float
) -> None:
    assert distance(optimizer, name, steps) < near
