"""What a function holds besides its arguments: the values of its closure, its globals, its object, its defaults."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

DEEP = 4
"""How many functions within functions are looked into."""
_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)


def held(thing: Any, deep: int = DEEP, seen: set[int] | None = None) -> Iterator[Any]:
    """The values that a function, a method or a module holds, those of functions and modules inside included.

    Example:
        >>> scale = 2.0
        >>> list(held((lambda scale: lambda x: x * scale)(3.0)))
        [3.0]
    """
    seen = set() if seen is None else seen
    if not deep or id(thing) in seen:
        return
    seen.add(id(thing))
    for value in _directly(thing):
        yield value
        if isinstance(value, (types.FunctionType, types.MethodType, functools.partial)) or hasattr(value, "tree_state"):
            yield from held(value, deep - 1, seen)


def _directly(thing: Any) -> list[Any]:
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, types.MethodType):
        return [thing.__func__, thing.__self__]
    if isinstance(thing, types.FunctionType):
        cells = [cell.cell_contents for cell in thing.__closure__ or () if _filled(cell)]
        names = [name for name in thing.__code__.co_names if name in thing.__globals__]
        wrapped = [thing.__wrapped__] if hasattr(thing, "__wrapped__") else []
        return [*wrapped, *cells, *(thing.__globals__[name] for name in names), *(thing.__defaults__ or ())]
    if hasattr(thing, "tree_state"):
        return [value for _, module in thing.named_modules() for value in vars(module).values()]
    return []


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  # raises where the variable has not been set
    except ValueError:
        return False
    return True


def fingerprint(thing: Any) -> tuple[Any, ...]:
    """What tells whether a function still means the same: its plain values, and the identity of all else it holds.

    Example:
        >>> def scaled(x):
        ...     return x * factor
        >>> factor = 2
        >>> before = fingerprint(scaled)
        >>> factor = 3
        >>> fingerprint(scaled) == before
        False
    """
    return tuple(_print(value) for value in held(thing))


def _print(value: Any) -> Any:
    if isinstance(value, _PLAIN):
        return type(value), repr(value)
    if isinstance(value, (list, tuple)):
        return type(value), tuple(_print(member) for member in value)
    if isinstance(value, dict):
        return dict, tuple((repr(key), _print(member)) for key, member in value.items())
    return _Same(value)


class _Same:
    """An object, equal to itself alone; it holds the object, so that no other can take its place in memory."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other._value is self._value

    def __hash__(self) -> int:
        return id(self._value)
