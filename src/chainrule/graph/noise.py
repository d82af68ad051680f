"""Whether a function draws random numbers from outside the graph: from `np.random`, `random`, a generator it holds."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.graph.surroundings import held_values


class Noise:
    """The states of the generators that a function may draw from, before it is run.

    Args:
        f: the function.
        args, keywords: its arguments.
    """

    def __init__(self, f: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        found = [thing for owner in (f, *args, *keywords.values()) for thing in held_values(owner)]
        self._generators = [thing for thing in found if isinstance(thing, np.random.Generator)]
        self._before = self._states()

    def drawn(self) -> bool:
        """Whether any of them is in another state by now; another thread may have done it."""
        return self._states() != self._before

    def _states(self) -> Any:
        own = [_plain(generator.bit_generator.state) for generator in self._generators]
        return _plain(np.random.get_state(legacy=False)), random.getstate(), own


def _plain(state: Any) -> Any:
    """A generator's state as what can be compared with another."""
    if isinstance(state, dict):
        return {name: _plain(part) for name, part in state.items()}
    return state.tobytes() if isinstance(state, np.ndarray) else state
