"""What a training asks of the machine: a precision and a device, refused where they are not there."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np

from chainrule import backends
from chainrule.backends.cost import choose_backend
from chainrule.errors import ArgumentError, check_choice
from chainrule.graph.graph import Graph

DEVICES = ("auto", "cpu", "gpu")


class Precision(NamedTuple):
    """What is computed in what: the dtype of all arrays, and the lower precision of products, where there is one."""

    dtype: np.dtype[Any]
    products: str | None


PRECISIONS = {
    "float32": Precision(np.dtype(np.float32), None),
    "float64": Precision(np.dtype(np.float64), None),
    "bfloat16": Precision(np.dtype(np.float32), "bfloat16"),
    "tf32": Precision(np.dtype(np.float32), "tf32"),
}


class Place(NamedTuple):
    """Where the graphs of a training run, as far as its arguments say it."""

    backend: str
    device: str
    precision: str

    @property
    def settled(self) -> str:
        """The backend, where there is nothing to choose; else empty."""
        needs_gpu = self.device == "gpu" or self.precision == "tf32"
        return self.backend if self.backend != "auto" else "xla" if needs_gpu else ""

    def once(self, graph: Graph, blocks: int) -> str:
        """The backend for one pass over blocks of rows; "auto" chooses by the size alone, so that it repeats."""
        return self.settled or choose_backend([graph], [blocks])

    def entered(self) -> AbstractContextManager[None]:
        """A block within which programs run on the device."""
        return backends.on(self.device, self.backend)


def device(name: str, backend: str) -> str:
    """`name`, where this machine has such a device and the backend runs on it.

    Raises:
        ArgumentError: it has not; says what there is.
    """
    check_choice("device", name, DEVICES)
    if name == "gpu":
        if backend == "numpy":
            raise ArgumentError(
                "the NumPy backend runs on the CPU", where="device", got="gpu", hint='use backend="xla"'
            )
        backends.get("xla").find_device(name)
    return name


def check_precision(precision: str, backend: str) -> None:
    """Refuse a precision that the device does not have on which this backend runs now."""
    lacking = backends.get(backend).lacking(precision)
    if lacking is not None:
        raise ArgumentError(
            f"{precision} is not supported by this machine",
            where="precision",
            expected=lacking,
            got=backends.get(backend).device_name(),
            hint='"float32" and "bfloat16" run everywhere',
        )
