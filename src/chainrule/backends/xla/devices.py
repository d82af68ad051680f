"""The device that programs run on, and what it can compute in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from chainrule import resources
from chainrule.backends.interpreter import TF32_NEEDS
from chainrule.errors import ArgumentError


def keep_to_quota() -> None:
    """Have XLA make no more threads than the container's quota has processors; XLA counts those that it may run on.

    XLA looks only when it starts. A number that the user has set is kept.
    """
    if resources.quota() is not None:
        os.environ.setdefault("PJRT_NPROC", str(resources.cores()))


def find_device(kind: str) -> Any:
    """The first device of a kind, "cpu" or "gpu".

    Raises:
        ArgumentError: JAX finds none; the message says what it finds.
    """
    import jax

    try:
        return jax.devices(kind)[0]
    except RuntimeError as error:
        # Where the plugin is installed, the reason why it did not start is all that can help.
        reason = str(error).splitlines()[0] if "nable to initialize" in str(error) else None
        raise ArgumentError(
            "JAX found no such device",
            where="device",
            expected=kind,
            got=reason or ", ".join(sorted({d.platform for d in jax.devices()})),
            hint="pip install 'chainrule[cuda]' on a machine with an NVIDIA GPU",
        ) from None


@contextlib.contextmanager
def running_on(kind: str) -> Iterator[None]:
    """Within this block programs run, and arrays are put, on the first device of a kind."""
    import jax

    with jax.default_device(find_device(kind)):
        yield


def device() -> Any:
    """The device that programs run on now."""
    import jax

    chosen = jax.config.jax_default_device
    if chosen is None or isinstance(chosen, str):
        return jax.devices(chosen)[0]
    return chosen


def device_name() -> str:
    """What the programs run on now."""
    name: str = device().platform
    return name


def device_memory() -> tuple[int, int] | None:
    """Bytes in use and bytes free on a device with memory of its own; None where programs use the system's."""
    stated = None if device_name() == "cpu" else device().memory_stats()
    if not stated or "bytes_limit" not in stated:
        return None
    return stated["bytes_in_use"], stated["bytes_limit"] - stated["bytes_in_use"]


def lacking(precision: str) -> str | None:
    """What a precision needs that the device lacks; None if it lacks nothing."""
    if precision == "tf32" and not has_tf32():
        return TF32_NEEDS
    return "a CPU or a GPU" if precision == "float64" and device_name().lower() in ("tpu", "metal") else None


def has_tf32() -> bool:
    """Whether the device multiplies in TF32: an NVIDIA GPU of the Ampere generation or later."""
    try:
        return device().platform == "gpu" and float(getattr(device(), "compute_capability", "")) >= 8.0
    except ValueError:
        # AMD's GPUs name their generation by letters.
        return False
