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


def held_values(thing: Any, deep: int = DEEP, seen: set[int] | None = None) -> Iterator[Any]:
    """The values that a function, a method or a module holds, those of functions and modules inside included.

    Example:
        >>> scale = 2.0
        >>> list(held_values((lambda scale: lambda x: x * scale)(3.0)))
        [3.0]
    """
    seen = set() if seen is None else seen
    if not deep or id(thing) in seen:
        return
    seen.add(id(thing))
    for value in _directly(thing):
        yield value
        if isinstance(value, (types.FunctionType, types.MethodType, functools.partial)) or _is_module(value):
            yield from held_values(value, deep - 1, seen)


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
    if _is_module(thing):
        return [value for _, module in thing.named_modules() for value in vars(module).values()]
    return []


def _is_module(thing: Any) -> bool:
    """Whether it is a module, and not a class of them."""
    return hasattr(thing, "tree_state") and not isinstance(thing, type)


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  # raises where the variable has not been set
    except ValueError:
        return False
    return True


class Surroundings:
    """What a function's meaning depends on besides its arguments, as it is now: plain values, and which objects.

    Args:
        things: functions and modules.

    Example:
        >>> def scaled(x):
        ...     return x * factor
        >>> factor = 2
        >>> around = Surroundings(scaled)
        >>> around.hold
        True
        >>> factor = 3
        >>> around.hold
        False
    """

    def __init__(self, *things: Any) -> None:
        found = {id(thing): thing for thing in things}
        found |= {id(thing): thing for start in things for thing in held_values(start)}
        self._places = [place for thing in found.values() for place in _places(thing)]

    @property
    def hold(self) -> bool:
        """Whether nothing has changed."""
        return all(_same(_read(*place), value) for place, value in self._places)

    def drop_changed(self) -> None:
        """Stop watching what has changed since: a function that keeps a count or a log changes it itself."""
        self._places = [(place, value) for place, value in self._places if _same(_read(*place), value)]


CaptureSlot = tuple[Any, Any]
"""A dict and a key, or the cell of a closure and None."""


def _places(thing: Any) -> list[tuple[CaptureSlot, Any]]:
    places: list[CaptureSlot] = []
    if isinstance(thing, types.FunctionType):
        places += [(cell, None) for cell in thing.__closure__ or () if _filled(cell)]
        places += [(thing.__globals__, name) for name in thing.__code__.co_names if name in thing.__globals__]
    elif hasattr(thing, "tree_state"):
        places += [(vars(module), name) for _, module in thing.named_modules() for name in vars(module)]
    return [(place, _kept(_read(*place))) for place in places]


def _read(holder: Any, name: Any) -> Any:
    if name is None:
        return holder.cell_contents if _filled(holder) else None
    return holder.get(name)


def _kept(value: Any) -> Any:
    """The value to compare with later: of a list or dict its contents, as far as they are plain."""
    return _Contents(value) if isinstance(value, (list, dict)) else value


class _Contents:
    def __init__(self, value: Any) -> None:
        self.value, self.told = value, _told(value)


def _told(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, _told(member)) for key, member in value.items()]
    if isinstance(value, (list, tuple)):
        return [_told(member) for member in value]
    return repr(value) if isinstance(value, _PLAIN) else id(value)


def _same(now: Any, before: Any) -> bool:
    if now is before:
        return True
    if isinstance(before, _Contents):
        return now is before.value and _told(now) == before.told
    return type(now) is type(before) and isinstance(now, _PLAIN) and repr(now) == repr(before)
