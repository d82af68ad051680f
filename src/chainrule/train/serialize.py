"""Modules, losses, optimizers and the like as plain data, and back: what a run folder holds instead of pickles.

A recipe is {"type": name, argument: value, …}: the arguments of the constructor, which chainrule's own classes keep as
attributes of the same names. A description, `described`, is what else they compute by: what a program is kept by.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

from chainrule import nn, optim
from chainrule.errors import RunError


def _name_of(kind: type) -> str | None:
    """What one of our classes is called; a schedule that is called like a module (`Linear`) is "optim.Linear"."""
    name = kind.__name__
    if getattr(nn, name, None) is kind:
        return name
    if getattr(optim, name, None) is kind:
        return f"optim.{name}" if hasattr(nn, name) else name
    return None


def _kind_called(name: str) -> Any:
    """The class of that name, or None."""
    space = optim if name.startswith("optim.") or not hasattr(nn, name) else nn
    kind = getattr(space, name.removeprefix("optim."), None)
    return kind if inspect.isclass(kind) and _name_of(kind) == name else None


def to_recipe(thing: Any) -> Any:
    """The recipe of an object, or None where it has none (a model or module of the user's own).

    A layer that stands in a `Sequential` twice is written once, and named where it stands again; parameters that
    several modules share are named under "tied".
    """
    recipe = _recipe(thing, "", {})
    tied = _tied(thing) if isinstance(thing, nn.Module) and isinstance(recipe, dict) else {}
    return recipe | {"tied": tied} if tied else recipe


def _recipe(thing: Any, path: str, seen: dict[int, str]) -> Any:
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, (tuple, list)):
        return [_recipe(member, path, seen) for member in thing]
    if isinstance(thing, dict):
        entries = {key: _recipe(value, path, seen) for key, value in thing.items()}
        return None if None in entries.values() else {"type": "dict", "entries": entries}
    name = _name_of(type(thing))
    if name is None or isinstance(thing, nn.Lambda):
        return None
    if id(thing) in seen:
        return {"same_as": seen[id(thing)]}
    if isinstance(thing, nn.Sequential):
        seen[id(thing)] = path
        layers = [_recipe(layer, f"{path}.{i}" if path else str(i), seen) for i, layer in enumerate(thing.layers)]
        return None if None in layers else {"type": name, "layers": layers}
    if isinstance(thing, nn.Module):
        seen[id(thing)] = path
    kind: Any = type(thing)
    arguments = {key: _argument(thing, key) for key in _arguments(kind)}
    found = {key: _recipe(value, path, seen) for key, value in arguments.items()}
    unknown = any(found[key] is None for key, value in arguments.items() if value is not None)
    return None if unknown else {"type": name, **found}


@functools.cache
def _arguments(kind: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(kind).parameters)


def _argument(thing: Any, key: str) -> Any:
    value = getattr(thing, key)
    return value is not None if key == "bias" and isinstance(thing, nn.Linear) else value


def _tied(model: nn.Module) -> dict[str, str]:
    """The paths of parameters that are another module's too, and the first path of each."""
    first: dict[int, str] = {}
    tied = {}
    for path, module in model.named_modules():
        for attribute, value in vars(module).items():
            if isinstance(value, nn.Parameter):
                name = f"{path}.{attribute}" if path else attribute
                if first.setdefault(id(value), name) != name:
                    tied[name] = first[id(value)]
    return tied


class _OfOnesOwn(Exception):  # an answer, which leaves the recursion
    """A part that is not plain data nor one of ours."""


def described(*things: Any) -> Any:
    """What our own parts compute, as something to compare; None where a part is the user's own.

    Equal descriptions compute the same function of parameters, buffers and the learning rate. A part of the user's own
    may do anything: what it computes, only tracing it can tell.
    """
    try:
        return tuple(map(_described, things))
    except _OfOnesOwn:
        return None


def _described(thing: Any) -> Any:
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return type(thing), thing
    if isinstance(thing, (nn.Parameter, nn.Buffer)):
        return type(thing), thing.shape
    if isinstance(thing, (tuple, list)):
        return tuple(map(_described, thing))
    if isinstance(thing, dict):
        return tuple((key, _described(value)) for key, value in thing.items())
    if _name_of(type(thing)) is None or isinstance(thing, nn.Lambda):
        raise _OfOnesOwn
    varying = "lr" if isinstance(thing, optim.Optimizer) else "training"
    return type(thing), *((name, _described(value)) for name, value in vars(thing).items() if name != varying)


def from_recipe(recipe: Any) -> Any:
    """The object of a recipe.

    Raises:
        RunError: it names something unknown, or lacks an argument.
    """
    made = _made(recipe, "", {})
    if isinstance(recipe, dict) and "tied" in recipe:
        modules = dict(made.named_modules())
        parameters = {f"{path}.{name}": p for path, module in modules.items() for name, p in vars(module).items()}
        try:
            for path, first in recipe["tied"].items():
                parent, _, name = path.rpartition(".")
                setattr(modules[parent], name, parameters[first])
        except (KeyError, AttributeError, TypeError) as error:
            raise RunError("the recipe does not fit this version", where="tied", got=str(error)) from None
    return made


def _made(recipe: Any, path: str, known: dict[str, Any]) -> Any:
    if isinstance(recipe, list):
        return tuple(_made(member, path, known) for member in recipe)
    if not isinstance(recipe, dict):
        return recipe
    kind = _kind_called(str(recipe.get("type")))
    try:
        if recipe.get("type") == "dict":
            return {key: _made(value, path, known) for key, value in recipe["entries"].items()}
        if "same_as" in recipe:
            return known[recipe["same_as"]]
        if kind is not None and issubclass(kind, nn.Sequential):
            layers = enumerate(recipe["layers"])
            known[path] = kind(*(_made(layer, f"{path}.{i}" if path else str(i), known) for i, layer in layers))
            return known[path]
        if kind is not None:
            arguments = {key: _made(value, path, known) for key, value in recipe.items() if key not in ("type", "tied")}
            known[path] = kind(**arguments)
            return known[path]
    except (TypeError, KeyError, ValueError) as error:
        raise RunError("the recipe does not fit this version", where=str(recipe.get("type")), got=str(error)) from None
    raise RunError("an unknown part", where="config.json", got=repr(recipe.get("type")))
