"""What `scan` and `loop` have in common: a body traced once into a graph of its own, and what it is run over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from chainrule import tree
from chainrule.errors import ArgumentError, ShapeError, check_number
from chainrule.graph.elementwise import as_tensor
from chainrule.graph.graph import Graph, ancestors, descendants, replay
from chainrule.graph.mode import setting
from chainrule.graph.tensor import Tensor, placeholder


class Recurrence(NamedTuple):
    """A body, and what it is run over.

    Attributes:
        operands: the first carries, the sequences, and what the body takes from outside.
        settings: of the operation: the body, how many carries and sequences there are, how many steps.
        carry, results: the structures of what is carried and of what a step gives.
    """

    operands: list[Tensor]
    settings: dict[str, Any]
    carry: tree.Structure
    results: tree.Structure

    def unpacked(self, parts: list[Tensor]) -> tuple[Any, Any]:
        """The last carry and the stacked results, out of the parts of the operation."""
        count = self.settings["carries"]
        return tree.unflatten(self.carry, parts[:count]), tree.unflatten(self.results, parts[count:])


def recurrence(
    op: str,
    gives: Sequence[str],
    f: Callable[[Any, Any], Any],
    init: Any,
    xs: Any,
    length: int | None,
    last: Callable[[Any], Tensor] = as_tensor,
) -> Recurrence:
    """Trace a body (carry, x) → (carry, y, …) on placeholders.

    Args:
        op: the operation, for messages.
        gives: what the body gives, by name: a carry, results, and perhaps more.
        f, init, xs, length: as `scan` has them.
        last: makes a tensor of each thing that the body gives besides carry and results.

    Raises:
        ArgumentError, ShapeError: as `scan`.
    """
    carries, shape = tree.flatten(init)
    carries = [as_tensor(leaf) for leaf in carries]
    leaves, cut = tree.flatten(xs)
    sequences = [as_tensor(leaf) for leaf in leaves]
    steps = _length(sequences, tree.names(xs), length, op)
    here = [placeholder(c.shape, c.dtype, f"c{i}") for i, c in enumerate(carries)]
    now = [placeholder(x.shape[1:], x.dtype, f"x{i}") for i, x in enumerate(sequences)]
    with setting(recording=True, updates=None):
        given = f(tree.unflatten(shape, list(here)), tree.unflatten(cut, list(now)))
    if not isinstance(given, tuple) or len(given) != len(gives):
        expected = f"({', '.join(gives)})"
        raise ArgumentError("the body returns something else", where=op, expected=expected, got=type(given).__name__)
    after = _carries(given[0], shape, here, op)
    results, stacked = tree.flatten(given[1])
    outputs = [*after, *(as_tensor(leaf) for leaf in results), *map(last, given[2:])]
    body, fixed = _closed([*here, *now], outputs)
    settings = {"body": body, "carries": len(carries), "sequences": len(sequences), "length": steps}
    return Recurrence([*carries, *sequences, *fixed], settings, shape.plain(), stacked.plain())


def _length(sequences: Sequence[Tensor], names: Sequence[str], length: int | None, op: str) -> int:
    """How many steps sequences are cut into, all of them into as many."""
    known = {"length": length} if length is not None else {}
    for name, x in zip(names, sequences, strict=True):
        if not x.shape:
            raise ShapeError("a sequence needs a leading axis of steps", where=f"{op}, xs {name}".strip(), got=x.shape)
        known[f"xs {name}".strip()] = x.shape[0]
    if not known:
        raise ArgumentError("the number of steps is unknown", where=op, hint="give xs or length")
    if len(set(known.values())) > 1:
        raise ShapeError("sequences of different lengths", where=op, expected="equal lengths", got=known)
    return check_number("length", next(iter(known.values())), low=0, integer=True)


def _carries(given: Any, shape: tree.Structure, here: Sequence[Tensor], op: str) -> list[Tensor]:
    """The leaves of a body's next carry, which has the structure, shapes and dtypes of the one before."""
    leaves, structure = tree.flatten(given)
    if structure.plain() != shape.plain():
        raise ArgumentError("the carry changes its structure", where=op, expected="the structure of init")
    after = [as_tensor(leaf) for leaf in leaves]
    for name, old, new in zip(tree.names(given), here, after, strict=True):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            raise ArgumentError(
                "the carry changes from step to step",
                where=f"{op}, carry {name}".strip(),
                expected=f"{old.dtype}{list(old.shape)}, as init has it",
                got=f"{new.dtype}{list(new.shape)}",
                hint="make init of that shape and dtype, or cast the new carry",
            )
    return after


def _closed(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Graph, list[Tensor]]:
    """The graph from the inputs to the outputs, and the outer nodes it uses, which become its last inputs."""
    nodes = ancestors(outputs)
    # A check belongs to the step whose record tells of it, even where it is the same in every step.
    checks = {x.id for node in nodes if node.op == "in_range" for x in node.inputs}
    reached = descendants(nodes, inputs) | checks
    used = [*(x for node in nodes if node.id in reached for x in node.inputs), *outputs]
    outer = {x.id: x for x in used if x.id not in reached and (x.is_variable or x.op != "constant")}
    known = {x.id: x for x in [*inputs, *(x for x in used if x.id not in reached)]}
    known |= {key: placeholder(x.shape, x.dtype, x.name or f"k{i}") for i, (key, x) in enumerate(outer.items())}
    replay([node for node in nodes if node.id in reached], known)
    fixed = [known[key] for key in outer]
    body = Graph([*inputs, *fixed], [known[y.id] for y in outputs])
    return body.simplify(), list(outer.values())
