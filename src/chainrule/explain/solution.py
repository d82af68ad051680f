"""A worked solution as a sequence of blocks, independent of the output format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chainrule.explain.formula import SPACE, Expression, Name, NumberLiteral, Sign, Word
from chainrule.explain.lines import Line
from chainrule.explain.worked import Iteration, NodeValue, Worked
from chainrule.graph.graph import descendants
from chainrule.graph.ops import TUPLE

PRINTED = 6
"""Samples whose numbers are printed; `values` has all of them."""


@dataclass(frozen=True)
class Heading:
    """A heading; 1 is the title, 2 a step, 3 a part of it."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; or, verbatim, text whose lines stay as they are."""

    text: str
    verbatim: bool = False


@dataclass(frozen=True)
class SolutionLine:
    """One line of a worked solution: left = right, of this shape, and what that is for each column."""

    left: Expression
    right: Expression
    shape: tuple[int, ...] | None
    note: str = ""
    values: Sequence[Any] = ()
    rule: Expression = ()
    product: tuple[int, int] | None = None


@dataclass(frozen=True)
class SolutionLines:
    """Lines under one another; `columns` says what their values are of, `note` what their notes are."""

    columns: Sequence[str]
    rows: Sequence[SolutionLine] = field(repr=False)
    note: str = ""


Block = Heading | Text | SolutionLines
_COST, _LOSS = Name("C"), Name("L")


def solution(worked: Worked) -> list[Block]:
    """The blocks: what is trained, then for each step forward, loss, backward, average, update."""
    count = len(worked.iterations)
    blocks: list[Block] = [Heading(1, f"{'A training step' if count == 1 else f'{count} training steps'}, worked out")]
    blocks += [*_what(worked)]
    for number, iteration in enumerate(worked.iterations, start=1):
        blocks += _step(worked, iteration, number)
    if count > 1:
        values = [iteration.loss for iteration in worked.iterations]
        columns = [f"step {i}" for i in range(1, count + 1)]
        blocks += [
            Heading(2, "The loss from step to step"),
            SolutionLines(columns, [SolutionLine((_LOSS,), (), (), values=values)]),
        ]
    return blocks


def _what(worked: Worked) -> list[Block]:
    recipe, samples = worked.recipe, len(worked.X)
    optimizer = "none: the parameters stay as they are" if recipe.optimizer is None else repr(recipe.optimizer)
    loss = repr(recipe.loss) if hasattr(recipe.loss, "reduction") else getattr(recipe.loss, "__name__", "a function")
    blocks: list[Block] = [
        Text(
            "Formulas, shapes and numbers are read from the graph of the forward pass, its gradient graph and "
            "the update's part of the training step; all numbers are computed in double precision."
        ),
        Text(f"Model:\n{recipe.model!r}\nLoss: {loss}\nOptimizer: {optimizer}\nSamples: {samples}", verbatim=True),
        Text(
            "Names: x is the input, y the target, ŷ the output if an activation makes it; z is made with parameters, "
            "h of what is before it, and their number is the layer's. C is the cost of one sample, L the loss of all. "
            "Inputs and outputs of layers are rows, so that shapes are (samples × features). Backwards, ∂C/∂x has as "
            "many columns as x has numbers: (1×N) = (1×M)(M×N) is a row times a Jacobian."
        ),
    ]
    if worked.sample.picked:
        blocks.append(
            Text(
                "Here the samples see each other: a node is computed from all rows at once, and each sample's cost has "
                "derivatives by the values of all rows."
            )
        )
    if samples > PRINTED:
        blocks.append(Text(f"Printed are the first {PRINTED} samples of {samples}; `values` holds all of them."))
    return blocks


def _step(worked: Worked, iteration: Iteration, number: int) -> list[Block]:
    shown = iteration.samples[:PRINTED]
    columns = [f"sample {i}" for i in range(1, len(shown) + 1)]
    blocks: list[Block] = [Heading(2, f"Step {number}"), Heading(3, "Parameters")]
    blocks.append(SolutionLines(["value"], _parameter_rows(worked, iteration.before), "parameter"))
    blocks += [Heading(3, "Forward"), *_forward(worked, shown, columns)]
    blocks += [Heading(3, "Loss"), SolutionLines(["value"], [_loss_row(worked, iteration)])]
    blocks += [Heading(3, "Backward"), _sample_rows(worked.backward, shown, columns, "rule")]
    blocks += [
        Heading(3, "Gradient, averaged over the samples" if worked.mean else "Gradient, summed over the samples"),
        SolutionLines(["value"], _gradient_rows(worked, iteration), "parameter"),
    ]
    if worked.recipe.optimizer is not None:
        blocks += [Heading(3, "Update"), *_update(worked, iteration)]
    return blocks


def _forward(worked: Worked, samples: Sequence[NodeValue], columns: Sequence[str]) -> list[Block]:
    """The forward lines; where the samples see each other, first those that are the same for all of them."""
    sample = worked.sample
    own = descendants(sample.nodes, [sample.row] if sample.picked else [sample.x, sample.y])
    shared = [line for line in worked.forward if sample.picked and line.node.id not in own]
    lines = [line for line in worked.forward if line not in shared]
    first = [_sample_rows(shared, samples[:1], ["all samples"], "operation")] if shared else []
    return [*first, _sample_rows(lines, samples, columns, "operation")]


def _sample_rows(
    lines: Sequence[Line], samples: Sequence[NodeValue], columns: Sequence[str], note: str
) -> SolutionLines:
    rows = [
        SolutionLine(
            line.left,
            line.right,
            _shape(line),
            line.note,
            [_value(line, value) for value in samples],
            line.rule,
            line.product,
        )
        for line in lines
    ]
    return SolutionLines(columns, rows, note)


def _shape(line: Line) -> tuple[int, ...] | None:
    return None if line.node.dtype == TUPLE else line.shape


def _value(line: Line, value: NodeValue) -> Any:
    return None if line.node.dtype == TUPLE else value(line.node)


def _parameter_rows(worked: Worked, arrays: dict[str, Any], prime: bool = False) -> list[SolutionLine]:
    names = worked.names.parameters
    return [
        SolutionLine((Name(names[path].letter, names[path].index, prime=prime),), (), array.shape, path, [array])
        for path, array in arrays.items()
    ]


def _over_samples(worked: Worked, what: Name) -> Expression:
    share = (NumberLiteral(1.0), Sign("/"), NumberLiteral(float(len(worked.X))), Sign("·")) if worked.mean else ()
    return (*share, Sign("Σ"), SPACE, what)


def _loss_row(worked: Worked, iteration: Iteration) -> SolutionLine:
    return SolutionLine((_LOSS,), _over_samples(worked, _COST), (), values=[iteration.loss])


def _gradient_rows(worked: Worked, iteration: Iteration) -> list[SolutionLine]:
    names = worked.names.parameters
    return [
        SolutionLine(
            (names[path].gradient("L"),), _over_samples(worked, names[path].gradient("C")), array.shape, path, [array]
        )
        for path, array in iteration.gradient.items()
    ]


def _update(worked: Worked, iteration: Iteration) -> list[Block]:
    rows = [
        SolutionLine(line.left, line.right, line.shape, owner or line.note, [iteration.inner(line.node)])
        for owner, _, line in worked.update.lines
    ]
    blocks: list[Block] = [
        Text(f"{worked.recipe.optimizer!r}; a prime marks the new value."),
        SolutionLines(["value"], rows, "parameter"),
    ]
    if iteration.buffers:
        buffers = [
            SolutionLine((Word(path),), (), array.shape, "", [array]) for path, array in iteration.buffers.items()
        ]
        blocks += [Heading(3, "Buffers after the step"), SolutionLines(["value"], buffers)]
    return blocks
