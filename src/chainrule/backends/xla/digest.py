"""What a program depends on, as one short name: programs of the same name are the same program."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path
from typing import Any

from chainrule.backends.kernels import KERNELS
from chainrule.backends.xla.devices import device
from chainrule.backends.xla.lower import OWN
from chainrule.graph.graph import Graph
from chainrule.passes.hoist_constants import constants, structural_hash


def digest(how: Any, graph: Graph | None = None) -> str:
    """The name of a program, all of whose operations are lowered by our own code.

    It covers what is given, our own sources that lower and interpret graphs, the versions, the settings of XLA and
    JAX, and the device.

    Args:
        how: what the program depends on besides its graph, distinguished by `repr`: options, arguments.
        graph: what it computes, if that is a graph.
    """
    told = hashlib.sha256(_sources())
    told.update(repr((_surroundings(), how)).encode())
    if graph is not None:
        told.update(repr(structural_hash(graph)).encode())
        for value in constants(graph):
            told.update(value.tobytes())
    return told.hexdigest()


def is_ours(graph: Graph) -> bool:
    """Whether all operations of a graph are lowered by our own code: those of others may change unnoticed."""
    package = __name__.partition(".")[0]
    for node in graph.nodes:
        row = OWN.get(node.op) or KERNELS.get(node.op)
        if row is not None and row.__module__.partition(".")[0] != package:
            return False
        if not all(is_ours(body) for body in node.attrs.values() if isinstance(body, Graph)):
            return False
    return True


def _surroundings() -> Any:
    import jax

    here = device()
    settings = [(name, getattr(jax.config, name, None)) for name in sorted(jax.config.values)]
    versions = jax.__version__, jax.lib.__version__, here.client.platform_version
    return versions, here.platform, here.device_kind, here.id, os.environ.get("XLA_FLAGS"), settings


@functools.cache
def _sources() -> bytes:
    """A digest of our own code that a program, and what it is compared with, follow from."""
    told = hashlib.sha256()
    root = Path(__file__).parents[2]
    for path in sorted(path for part in ("backends", "passes", "graph") for path in (root / part).rglob("*.py")):
        told.update(path.read_bytes())
    return told.digest()
