"""The grid of a sweep: its combinations, and the functions that take its values."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from chainrule.errors import ArgumentError, nearest
from chainrule.nn.module import Module
from chainrule.optim.lr_schedules import Schedule
from chainrule.optim.optimizer import Optimizer
from chainrule.optim.penalties import Clip, Penalty
from chainrule.train.sweep.layout import config_text
from chainrule.train.sweep.result import RESERVED

Config = dict[str, Any]


def makers(parts: Mapping[str, Any], names: set[str]) -> dict[str, dict[str, bool]]:
    """For each part that is a function of hyperparameters its arguments, and whether each must be given."""
    found = {}
    for part, value in parts.items():
        if not callable(value) or isinstance(value, (Module, Optimizer, Schedule, Penalty, Clip)):
            continue
        signature = inspect.signature(value)
        by_name = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if part == "loss" and _is_loss(value, signature) and not names & {p.name for p in by_name}:
            continue
        found[part] = {p.name: p.default is p.empty for p in by_name}
    return found


def _is_loss(value: Any, signature: inspect.Signature) -> bool:
    """Whether this may be a function (output, target)."""
    if inspect.isclass(value):
        return False
    try:
        signature.bind(None, None)
    except TypeError:
        return False
    return True


def check_names(config: Config, takes: Mapping[str, Mapping[str, bool]]) -> None:
    """Refuse a combination that has a name which no function takes, or lacks one that a function needs."""
    known = {"seed", *itertools.chain.from_iterable(takes.values())}
    for name in config:
        if name in RESERVED:
            raise ArgumentError("this name is taken by the results", where=f"grid, {name}", hint="rename the argument")
        if name not in known:
            raise ArgumentError(
                "no function takes this argument", where=f"grid, {name}", expected=", ".join(nearest(name, known))
            )
    for part, arguments in takes.items():
        for name, needed in arguments.items():
            if needed and name not in config:
                raise ArgumentError(
                    f"the function takes {name!r}, which the grid lacks", where=part,
                    got=config_text(config) or "an empty grid",
                )  # fmt: skip


def combinations(grid: Any) -> list[Config]:
    """All combinations of the values of a grid, or those that it lists."""
    if isinstance(grid, Mapping):
        values = {name: _values(name, given) for name, given in grid.items()}
        return [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    if isinstance(grid, (str, bytes)) or not isinstance(grid, Iterable):
        raise ArgumentError("not a grid", where="grid", expected="values by name, or a list of combinations", got=grid)
    configs = list(grid)
    for config in configs:
        if not isinstance(config, Mapping):
            raise ArgumentError("not a combination", where="grid", expected="a dict of one value by name", got=config)
    if not configs:
        raise ArgumentError("nothing to try", where="grid", expected="at least one combination")
    return [dict(config) for config in configs]


def _values(name: str, given: Any) -> list[Any]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise ArgumentError("not a list of values", where=f"grid, {name}", expected="a list", got=repr(given))
    values = list(given)
    if not values:
        raise ArgumentError("no values to try", where=f"grid, {name}", expected="at least one")
    return values
