"""`cr.verify`: a function compared on demand, compiled and interpreted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule import backends
from chainrule.backends.agreement import Disagreement, disagreement
from chainrule.backends.bisect import locate
from chainrule.errors import CompilerMismatch
from chainrule.graph.trace import trace


def verify(f: Callable[..., Any], *xs: Any) -> None:
    """Run a function compiled and on the reference interpreter, and compare the results.

    An array may be off by some roundings of its largest element, growing with the root of the longest sum. Where it is
    off by more, the roundings of every node are redrawn several times, so that cancelling terms, kinks and ties excuse
    what they explain. For a gradient, pass the function that takes it: `cr.verify(cr.grad(f), x)`.

    Args:
        f: takes and returns tensors or nested containers of them, as `cr.compile` takes it.
        xs: its arguments.

    Raises:
        CompilerMismatch: they disagree. It names the first node that does: one that is wrong where it is the only
            output, and whose operands are right; or says that only the program as a whole is wrong, since what a
            compiler fuses depends on which outputs are requested.
        TraceError: `f` chooses by values of arrays.

    Example:
        >>> import chainrule as cr
        >>> cr.verify(cr.grad(lambda x: cr.log_softmax(x).max()), [[1.0, 2.0], [3.0, 3.0]])
    """
    graph = trace(f, *xs, lines=True).simplify().verify()
    values = graph.arrays(xs)
    run = backends.get("xla").run_unchecked
    found = disagreement(graph, values, run(graph, values))
    if found is None:
        return
    first = locate(found, run)
    raise (
        _mismatch(found, "only the whole program is wrong: this output alone is right")
        if first is None
        else (_mismatch(first, 'its operands are right; leave it to the interpreter, backend="numpy", and report it'))
    )


def _mismatch(found: Disagreement, hint: str) -> CompilerMismatch:
    place = f" at {list(found.place)}" if found.place else ""
    line = f" ({found.node.line})" if found.node.line else ""
    error = CompilerMismatch(
        "the compiled program does not compute what the interpreter does",
        where=f"{found.node.label()}{place}{line}",
        expected=f"{found.expected:.9g}",
        got=f"{found.got:.9g}, {found.times:.2g} times as far off as rounding explains",
        hint=hint,
    )
    error.node, error.place, error.times = found.node, found.place, found.times
    error.reference, error.compiled = found.expected, found.got
    return error
