"""`scan`: a recurrence over a sequence as one operation, whatever its length.

The body is traced once into a graph of its own, so a thousand steps cost no more to trace, to reverse and to compile
than ten. What the body uses from outside and does not change from step to step (weights) becomes an operand of the
operation, and whatever it computes from that alone is computed once, outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chainrule import tree
from chainrule.errors import ArgumentError, ShapeError, check_number
from chainrule.graph.elementwise import as_tensor
from chainrule.graph.graph import Graph, ancestors, descendants, replay
from chainrule.graph.mode import setting
from chainrule.graph.tensor import Tensor, apply, placeholder


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Run (cₜ₊₁, yₜ) = f(cₜ, xₜ) over a sequence; give the last carry and all yₜ, stacked.

    Args:
        f: takes a carry and one step's input, gives the next carry and one step's result; trees of tensors, either may
            be None. It is traced once, on placeholders: it cannot choose by values.
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
    carries, shape = tree.flatten(init)
    carries = [as_tensor(leaf) for leaf in carries]
    leaves, cut = tree.flatten(xs)
    sequences = [as_tensor(leaf) for leaf in leaves]
    steps = same_length(sequences, tree.names(xs), length, "scan")
    here = [placeholder(c.shape, c.dtype, f"c{i}") for i, c in enumerate(carries)]
    now = [placeholder(x.shape[1:], x.dtype, f"x{i}") for i, x in enumerate(sequences)]
    with setting(recording=True, updates=None):
        given = f(tree.unflatten(shape, list(here)), tree.unflatten(cut, list(now)))
    if not isinstance(given, tuple) or len(given) != 2:
        raise ArgumentError(
            "the body gives something else", where="scan", expected="(carry, y)", got=type(given).__name__
        )
    after = carried_on(given[0], shape, here, "scan")
    results, stacked = tree.flatten(given[1])
    body, fixed = closed([*here, *now], [*after, *(as_tensor(leaf) for leaf in results)])
    node = apply(
        "scan", *carries, *sequences, *fixed,
        body=body, carries=len(carries), kept=len(carries), sequences=len(sequences),
        length=steps, reverse=bool(reverse),
    )  # fmt: skip
    found = [apply("project", node, part=i) for i in range(len(body.outputs))]
    last = tree.unflatten(shape.plain(), found[: len(carries)])
    return last, tree.unflatten(stacked.plain(), found[len(carries) :])


def same_length(sequences: Sequence[Tensor], names: Sequence[str], length: int | None, op: str) -> int:
    """How many steps sequences are cut into, all of them into as many."""
    known = {"length": length} if length is not None else {}
    for name, x in zip(names, sequences, strict=True):
        if not x.shape:
            raise ShapeError("a sequence needs an axis of steps", where=f"{op}, xs {name}".strip(), got=x.shape)
        known[f"xs {name}".strip()] = x.shape[0]
    if not known:
        raise ArgumentError("how many steps?", where=op, hint="give xs or length")
    if len(set(known.values())) > 1:
        raise ShapeError("sequences of different lengths", where=op, expected="one number of steps", got=known)
    return check_number("length", next(iter(known.values())), low=0, integer=True)


def carried_on(given: Any, shape: tree.Structure, here: Sequence[Tensor], op: str) -> list[Tensor]:
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


def closed(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Graph, list[Tensor]]:
    """The graph from the inputs to the outputs, and the outer nodes it uses, which become its last inputs."""
    nodes = ancestors(outputs)
    reached = descendants(nodes, inputs)
    used = [*(x for node in nodes if node.id in reached for x in node.inputs), *outputs]
    outer = {x.id: x for x in used if x.id not in reached and (x.is_variable or x.op != "constant")}
    known = {x.id: x for x in [*inputs, *(x for x in used if x.id not in reached)]}
    known |= {key: placeholder(x.shape, x.dtype, x.name or f"k{i}") for i, (key, x) in enumerate(outer.items())}
    replay([node for node in nodes if node.id in reached], known)
    fixed = [known[key] for key in outer]
    body = Graph([*inputs, *fixed], [known[y.id] for y in outputs])
    return body.simplify(), list(outer.values())
