"""Where graphs run: on the NumPy interpreter or as compiled XLA programs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from types import ModuleType

from chainrule.backends import interpreter
from chainrule.errors import ArgumentError, check_choice

_lost = False
"""Whether this process was forked from one in which JAX was running: its threads are not here, and a call would wait
for them for ever."""


def _forked() -> None:
    global _lost
    bridge = sys.modules.get("jax._src.xla_bridge")
    # JAX has a registry of devices that it fills when it starts; if that is called otherwise, importing it will do.
    _lost = _lost or bool(bridge is not None and getattr(bridge, "_backends", True))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def get(name: str) -> ModuleType:
    """The backend of this name; JAX is imported only where "xla" is asked for.

    Raises:
        ArgumentError: this process was forked from one that has used JAX.
    """
    check_choice("backend", name, ("numpy", "xla"))
    if name == "xla":
        if _lost:
            raise ArgumentError(
                "XLA cannot be used in a process forked from one that has already used it",
                where="backend",
                hint='start processes with multiprocessing.get_context("spawn"), or use backend="numpy"',
            )
        from chainrule.backends import xla

        return xla
    return interpreter


@contextlib.contextmanager
def on(device: str, backend: str) -> Iterator[None]:
    """Within this block a backend runs on a device: "cpu", "gpu", or "auto", which leaves the choice to JAX.

    Raises:
        ArgumentError: JAX found no such device.
    """
    if device == "auto" or backend == "numpy":
        yield
        return
    with get("xla").running_on(device):
        yield


def release() -> None:
    """Return freed memory to the system.

    glibc keeps freed blocks of up to 32 MB, which the weights of a large layer are: without this, what one training
    has freed would add to what the next one allocates.
    """
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
