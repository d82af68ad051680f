"""Where higher packages plug into the graph.

A `Tensor` computes at once and a `Graph` can be reversed, simplified and run, but `graph` may not import
the packages that do so. Each such ability is a named seam here, filled once by the package that has it when
`chainrule` is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_abilities: dict[str, Callable[..., Any]] = {}


def provide(name: str, ability: Callable[..., Any]) -> None:
    """Fill a seam; called once by each package that provides an ability."""
    assert name not in _abilities, f"two packages provide {name}"
    _abilities[name] = ability


def ability(name: str) -> Callable[..., Any]:
    """The function that fills a seam."""
    return _abilities[name]
