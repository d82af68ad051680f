"""Modules, losses, optimizers and the like as plain data, and back: what a run folder holds in place of pickles.

A recipe is {"type": name, argument: value, …}: the arguments of the constructor, which chainrule's own classes keep as
attributes of the same names.
"""

from __future__ import annotations

import inspect
from typing import Any

from chainrule import nn, optim
from chainrule.errors import RunError


def _kinds() -> dict[str, type]:
    """Our classes by name; a schedule that is called like a module (`Linear`) is "optim.Linear"."""
    modules, others = (
        {name: kind for name, kind in vars(space).items() if inspect.isclass(kind) and name[0].isupper()}
        for space in (nn, optim)
    )
    return modules | {f"optim.{name}" if name in modules else name: kind for name, kind in others.items()}


_KNOWN = _kinds()
_NAMES = {kind: name for name, kind in _KNOWN.items()}


def to_recipe(thing: Any) -> Any:
    """The recipe of an object, or None where it has none (a model or module of the user's own)."""
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, (tuple, list)):
        return [to_recipe(member) for member in thing]
    name = _NAMES.get(type(thing))
    if name is None or isinstance(thing, nn.Lambda):
        return None
    if isinstance(thing, nn.Sequential):
        layers = [to_recipe(layer) for layer in thing.layers]
        return None if None in layers else {"type": name, "layers": layers}
    return {
        "type": name,
        **{key: to_recipe(_argument(thing, key)) for key in inspect.signature(type(thing)).parameters},
    }


def _argument(thing: Any, key: str) -> Any:
    value = getattr(thing, key)
    return value is not None if key == "bias" and isinstance(thing, nn.Linear) else value


def from_recipe(recipe: Any) -> Any:
    """The object of a recipe.

    Raises:
        RunError: it names something unknown, or lacks an argument.
    """
    if isinstance(recipe, list):
        return tuple(from_recipe(member) for member in recipe)
    if not isinstance(recipe, dict):
        return recipe
    arguments = {key: from_recipe(value) for key, value in recipe.items() if key != "type"}
    kind = _KNOWN.get(str(recipe.get("type")))
    try:
        if kind is not None and issubclass(kind, nn.Sequential):
            return kind(*arguments["layers"])
        if kind is not None:
            return kind(**arguments)
    except (TypeError, KeyError, ValueError) as error:
        raise RunError("the recipe does not fit this version", where=str(recipe.get("type")), got=str(error)) from None
    raise RunError("an unknown part", where="config.json", got=repr(recipe.get("type")))
