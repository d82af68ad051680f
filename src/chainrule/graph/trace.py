"""A Python function → Graph: run it once on placeholders and collect the nodes it makes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.errors import ArgumentError, ShapeError, TraceError
from chainrule.graph.elementwise import as_tensor
from chainrule.graph.graph import Graph, is_static
from chainrule.graph.leaves import as_array
from chainrule.graph.mode import Guard, setting
from chainrule.graph.noise import Noise
from chainrule.graph.random import FreshKey, has_key, keyed
from chainrule.graph.tensor import Tensor, placeholder


def trace(f: Callable[..., Any], *examples: Any, lines: bool = False) -> Graph:
    """The graph of `f` for arguments of the shapes and dtypes of the examples.

    Numbers and arrays become placeholders. Booleans, integers, strings and functions stay what they are: they are part
    of the structure, so that the number of passes of a Python loop may be an argument. A module counts as the dict of
    its parameters by path.

    Args:
        f: takes and returns tensors, or nested tuples, lists and dicts of them.
        examples: arguments of the right shape and dtype; their values are not used.
        lines: whether each node records the line of your code that made it.

    Raises:
        TraceError: `f` needs a value (as in `if x > 0`) or returns something that is not a tensor.

    Example:
        >>> import chainrule as cr
        >>> len(trace(lambda x, w: cr.relu(x @ w), np.ones((2, 3)), np.ones((3, 4))).nodes)
        4
    """
    return traced(f, examples, {}, lines)


def traced(f: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any], lines: bool = False) -> Graph:
    """The graph of `f` for arguments like these; its inputs are those of the arguments, then those of the keywords.

    Raises:
        TraceError: as `trace`; or `f` draws from `np.random` or `random`, whose numbers would be the same in every run.
    """
    noise = Noise(f, args, keywords)
    graph = _traced(f, args, keywords, lines)
    if noise.drawn() and _constants(graph) != _constants(_traced(f, args, keywords, lines)):
        raise TraceError(
            "random numbers from outside chainrule are drawn while the function is traced, once for all runs",
            where=_name(f),
            hint="use cr.random.normal(shape) or similar, or pass the numbers as an argument",
        )
    return graph


def _traced(f: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any], lines: bool) -> Graph:
    inputs, (own, named) = placeholders(f, args, keywords)
    guards: list[Guard] = []
    with (
        setting(lines=lines, updates=None, tracing=True, guards=guards),
        nullcontext() if has_key() else keyed(FreshKey()),
    ):
        result = f(*own, **named)
    leaves, gives = tree.flatten(result)
    if not leaves:
        raise TraceError(
            "the function returns nothing", where=_name(f), expected="a tensor, or nested containers of tensors"
        )
    takes = tree.Structure(tuple, (), (tree.LEAF,) * len(inputs))
    return Graph(inputs, [_output(leaf, f) for leaf in leaves], takes, gives, guards)


def _constants(graph: Graph) -> list[bytes]:
    known = [node for node in graph.nodes if node.op == "constant" and not isinstance(node, FreshKey)]
    return [node.read().tobytes() for node in known]


def placeholders(
    f: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[list[Tensor], tuple[tuple[Any, ...], dict[str, Any]]]:
    """A named placeholder for every array among the arguments, and the arguments with them in place."""
    leaves, structure = tree.flatten((args, keywords))
    words = [*_argument_names(f, len(args)), *keywords]
    everything = [*args, *keywords.values()]
    names = [name for word, one in zip(words, everything, strict=True) for name in _prefixed(word, one)]
    inputs: list[Tensor] = []
    filled: list[Any] = []
    for name, leaf in zip(names, leaves, strict=True):
        if is_static(leaf):
            filled.append(leaf)
            continue
        like = leaf if isinstance(leaf, Tensor) else _array(leaf, name)
        inputs.append(placeholder(like.shape, like.dtype, name))
        # A Python float gives way to the dtype of whatever it meets, in a program too.
        inputs[-1].weak = isinstance(leaf, float)
        filled.append(inputs[-1])
    return inputs, tree.unflatten(structure, filled)


def _array(leaf: Any, name: str) -> np.ndarray[Any, Any]:
    try:
        return as_array(leaf)
    except ShapeError as error:
        if hasattr(leaf, "dtype"):
            raise ShapeError(error.what, where=name, expected=error.expected, got=error.got, hint=error.hint) from None
        raise ArgumentError(
            "an argument of a traced function is neither an array, a number, a string nor a function",
            where=name,
            got=type(leaf).__name__,
            hint="bind it with a closure or functools.partial",
        ) from None


def _argument_names(f: Callable[..., Any], count: int) -> list[str]:
    try:
        parameters = [
            p.name
            for p in inspect.signature(f).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        parameters = []
    return [*parameters[:count], *(f"x{i}" for i in range(len(parameters), count))]


def _prefixed(word: str, example: Any) -> list[str]:
    return [f"{word}.{name}" if name else word for name in tree.names(example)]


def _output(leaf: Any, f: Callable[..., Any]) -> Tensor:
    if isinstance(leaf, Tensor):
        return leaf
    if isinstance(leaf, (int, float, np.ndarray, np.generic)):
        return as_tensor(leaf)
    raise TraceError("the function returns something that is not a tensor", where=_name(f), got=type(leaf).__name__)


def _name(f: Callable[..., Any]) -> str:
    return getattr(f, "__name__", type(f).__name__)
