"""A Python function → Graph: run it once on placeholders and see what it made."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.errors import TraceError
from chainrule.graph.functions import as_tensor
from chainrule.graph.graph import Graph, is_static
from chainrule.graph.mode import setting
from chainrule.graph.random import FreshKey, has_key, keyed
from chainrule.graph.tensor import Tensor, placeholder


def trace(f: Callable[..., Any], *examples: Any, lines: bool = False) -> Graph:
    """The graph of `f` for arguments of the shapes and dtypes of the examples.

    Numbers and arrays become placeholders. Booleans, whole numbers, texts and functions stay what they are: they
    are part of the structure, so that a loop may run as often as an argument says. A module counts as the dict of
    its parameters by path.

    Args:
        f: takes and returns tensors, or nested tuples, lists and dicts of them.
        examples: arguments of the right shape and dtype; their values are not used.
        lines: whether each node shall know the line of your code that made it.

    Raises:
        TraceError: `f` asks for a value (as in `if x > 0`) or returns something that is not a tensor.

    Example:
        >>> import chainrule as cr
        >>> len(trace(lambda x, w: cr.relu(x @ w), np.ones((2, 3)), np.ones((3, 4))).nodes)
        4
    """
    inputs, args = placeholders(f, examples)
    with setting(lines=lines, updates=None, tracing=True), nullcontext() if has_key() else keyed(FreshKey()):
        result = f(*args)
    leaves, gives = tree.flatten(result)
    if not leaves:
        raise TraceError("the function returns nothing", where=_name(f), expected="a tensor, or a nest of them")
    takes = tree.Structure(tuple, (), (tree.LEAF,) * len(inputs))
    return Graph(inputs, [_output(leaf, f) for leaf in leaves], takes, gives)


def placeholders(f: Callable[..., Any], examples: tuple[Any, ...]) -> tuple[list[Tensor], tuple[Any, ...]]:
    """A named placeholder for every array among the examples, and the arguments with them in place."""
    leaves, structure = tree.flatten(tuple(examples))
    names = _argument_names(f, examples)
    inputs: list[Tensor] = []
    filled: list[Any] = []
    for name, leaf in zip(names, leaves, strict=True):
        if is_static(leaf):
            filled.append(leaf)
            continue
        like = leaf if isinstance(leaf, Tensor) else as_tensor(np.asarray(leaf))
        inputs.append(placeholder(like.shape, like.dtype, name))
        filled.append(inputs[-1])
    return inputs, tree.unflatten(structure, filled)


def _argument_names(f: Callable[..., Any], examples: tuple[Any, ...]) -> list[str]:
    try:
        parameters = [
            p.name
            for p in inspect.signature(f).parameters.values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        parameters = []
    words = [*parameters[: len(examples)], *(f"x{i}" for i in range(len(parameters), len(examples)))]
    return [name for word, example in zip(words, examples, strict=True) for name in _prefixed(word, example)]


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
