"""The compiled backend: a graph, loops and all, as one XLA program.

JAX serves as array namespace and compiler (`jit`, `lax` control flow); nothing here differentiates. It is imported
when the first program is compiled. Double precision is switched on around our own calls only, so that a user's own
JAX code keeps its setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.backends.xla.compiled_graph import compile_graph, run_unchecked
from chainrule.backends.xla.compiled_loops import compile_loops
from chainrule.backends.xla.devices import (
    device,
    device_memory,
    device_name,
    find_device,
    keep_to_quota,
    lacking,
    running_on,
)

__all__ = [
    "compile_graph", "compile_loops", "device", "device_memory", "device_name", "find_device",
    "get", "held_bytes", "hold", "lacking", "put", "run_unchecked", "running_on", "view",
]  # fmt: skip

keep_to_quota()

ALIGNED = 64
"""Bytes that the address of an array must be a multiple of for XLA to use it on a CPU without a copy."""
LARGE = 2**20
"""Bytes of an array from which on it is not to be there twice."""


def put(arrays: list[Any]) -> list[Any]:
    """Arrays copied to where the programs run; the list is emptied meanwhile, so that no large state exists twice."""
    import jax

    placed: list[Any] = []
    with jax.enable_x64(True):
        while arrays:
            # Each call has its own cost, so that small arrays go together.
            together = next((i for i, array in enumerate(arrays) if array.nbytes > LARGE), len(arrays)) or 1
            some = arrays[:together]
            del arrays[:together]
            placed += jax.device_put(some, may_alias=False)
            del some
    return placed


def get(arrays: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
    """Arrays copied back to the host."""
    return [np.array(a) for a in arrays]


def view(arrays: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
    """Read-only arrays, copied only where necessary; no program may consume them from now on."""
    return [np.asarray(a) for a in arrays]


def hold(arrays: Sequence[Any]) -> list[Any]:
    """Arrays that programs only read, where the programs run; copied only where necessary."""
    import jax

    with jax.enable_x64(True):
        held: list[Any] = jax.device_put(list(arrays), may_alias=True)
        return held


def held_bytes(arrays: Sequence[Any]) -> int:
    """The bytes that `hold` takes for these arrays: XLA uses those in place whose alignment suits it."""
    own = device_name() == "cpu"
    return sum(a.nbytes for a in arrays if not (own and a.flags.c_contiguous and a.ctypes.data % ALIGNED == 0))
