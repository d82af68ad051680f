"""The worked solution of a training step: every value and gradient of every sample, the average, the update."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chainrule.errors import ArgumentError, check_number
from chainrule.explain.html import page
from chainrule.explain.latex import document
from chainrule.explain.markdown import markdown
from chainrule.explain.page import write_page, writing
from chainrule.explain.solution import Block, solution
from chainrule.explain.steps import Array, Recipe
from chainrule.explain.values import values
from chainrule.explain.worked import DOUBLE, Worked
from chainrule.nn.module import Module
from chainrule.optim.optimizer import Optimizer
from chainrule.train import checks


def derive(
    model: Module,
    loss: Module | Callable[[Any, Any], Any],
    x: Any,
    y: Any,
    optimizer: Optimizer | None = None,
    steps: int = 1,
) -> Derivation:
    """Work out one or more training steps as if by hand: all formulas, shapes and numbers of all samples.

    Everything is read from the engine's own graphs: the sample's cost is traced and reversed, formulas come from the
    tables of operations and rules, and the update from the optimizer's part of the step's graph. The numbers are those
    of a `Trainer` with precision "float64", seed 0, and all rows in one batch, dropout masks included. The model is in
    training mode meanwhile, and stays as it is.

    With N samples and a loss that is a mean, L = 1/N·Σ Cᵢ and ∂L/∂w = 1/N·Σ ∂Cᵢ/∂w. Where samples see each other
    (statistics of a batch), Cᵢ is still one sample's cost, and its derivatives are by the values of all rows.

    Args:
        model: any Module with one output that does not choose its parts by values.
        loss: a loss of `chainrule.nn` with reduction "mean" or "sum", or a function (output, target) → one number that
            is a mean or a sum over rows.
        x: (N, …) numbers.
        y: (N,) class indices for CrossEntropyLoss and NLLLoss, else numbers of the output's shape.
        optimizer: of `chainrule.optim`; None leaves the parameters as they are.
        steps: how many steps, at least 1; more than one needs an optimizer.

    Raises:
        ArgumentError: an argument is not one of these; `steps` below 1; a loss that is neither a mean nor a sum over
            rows.
        DataError, ShapeError: x and y that do not fit each other, the model, or the loss.
        TraceError: the model chooses by values (`if x > 0`).

    Example:
        >>> import chainrule as cr
        >>> model = cr.nn.Linear(1, 1)
        >>> model.weight.value[:] = 2.0
        >>> worked = derive(model, cr.nn.MSELoss(), [[1.0], [3.0]], [[1.0], [5.0]], cr.optim.SGD(lr=0.1))
        >>> [sample["dC/dweight"] for sample in worked.values[0]["samples"]]
        [[[2.0]], [[6.0]]]
        >>> worked.values[0]["update"]["gradient"]["weight"], worked.values[0]["update"]["parameters"]["weight"]
        ([[4.0]], [[1.6]])
    """
    recipe, X, Y = _checked(model, loss, x, y, optimizer, steps)
    for picked in (False, True):
        worked = Worked.attempt(recipe, X, Y, int(steps), picked)
        if worked is not None:
            return Derivation(worked)
    raise ArgumentError(
        "it is neither a mean nor a sum over the rows, so samples have no gradients of their own", where="loss"
    )


def _checked(model: Any, loss: Any, x: Any, y: Any, optimizer: Any, steps: Any) -> tuple[Recipe, Array, Array]:
    for name, value, kind in (("model", model, Module), ("optimizer", optimizer, Optimizer)):
        if not isinstance(value, kind) and not (value is None and kind is Optimizer):
            raise ArgumentError(
                "not of the expected type", where=name, expected=kind.__name__, got=type(value).__name__
            )
    if not callable(loss):
        raise ArgumentError(
            "not a loss",
            where="loss",
            expected="a module or function (output, target) → number",
            got=type(loss).__name__,
        )
    if getattr(loss, "reduction", None) == "none":
        raise ArgumentError(
            "a training step needs a scalar loss",
            where="loss",
            got='reduction="none"',
            hint='use reduction="mean" or "sum"',
        )
    check_number("steps", steps, low=1, integer=True)
    if optimizer is None and steps > 1:
        raise ArgumentError("without an optimizer every step is the first one", where="steps", got=steps)
    if not list(model.parameters()):
        raise ArgumentError("there is nothing to train", where="model", expected="a module with parameters")
    X = checks.features(x, DOUBLE, "x")
    Y = checks.targets(y, loss, DOUBLE, "y")
    checks.equal_lengths(X, Y, "x and y")
    return Recipe(model, loss, optimizer), X, Y


class Derivation:
    """A worked solution.

    Attributes:
        values: for each step a dict of plain numbers and lists: "loss"; "parameters" before the step, by path;
            "samples", for each sample a dict of every forward value ("x", "z1", "h1", …) and every gradient ("dC/dz1",
            …, "dC/d0.weight"); "update", the averaged "gradient" by path, what the update's lines share
            ("intermediate"), the optimizer's new "state", the new "parameters" and "buffers".
        names: what each name in `values` stands for.
    """

    def __init__(self, worked: Worked) -> None:
        self._worked = worked
        self.values: list[dict[str, Any]] = values(worked)
        self.names: dict[str, str] = worked.legend()

    @functools.cached_property
    def _blocks(self) -> list[Block]:
        return solution(self._worked)

    def to_markdown(self) -> str:
        """The worked solution as Markdown, readable as it is."""
        return markdown(self._blocks)

    def to_latex(self) -> str:
        """The worked solution as a LaTeX document of ASCII characters that needs amsmath alone."""
        return document(self._blocks)

    def to_html(self, path: str | Path) -> Path:
        """Write the worked solution as one self-contained page; returns the path.

        Raises:
            RunError: it cannot be written there.
        """
        with writing(path) as place:
            return write_page(page(self._blocks), place)

    def __repr__(self) -> str:
        steps, samples = len(self.values), len(self.values[0]["samples"])
        return f"Derivation({steps} {'step' if steps == 1 else 'steps'}, {samples} samples)"
