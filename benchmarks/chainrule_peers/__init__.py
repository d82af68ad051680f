"""The same training step in chainrule and in what else people use, measured in turn on one machine.

`PEERS` says who takes part. Each is a file with one class `Peer` in it, and runs in a process of its own (`worker`).
"""

from __future__ import annotations

from typing import NamedTuple

OURS = "chainrule"
"""What the others' times are divided by."""


class Entry(NamedTuple):
    """A peer: the module with its class, what that imports, and what to install where it is missing."""

    module: str
    needs: tuple[str, ...] = ()
    install: str = ""


PEERS = {
    OURS: Entry("chainrule_peers.chainrule_compiled"),
    "chainrule numpy": Entry("chainrule_peers.chainrule_numpy"),
    "torch": Entry("chainrule_peers.torch_eager", ("torch",), "torch"),
    "torch.compile": Entry("chainrule_peers.torch_compiled", ("torch",), "torch"),
    "jax+optax": Entry("chainrule_peers.jax_step", ("jax", "optax"), "optax"),
    "jax+optax scan": Entry("chainrule_peers.jax_scan", ("jax", "optax"), "optax"),
    "keras": Entry("chainrule_peers.keras_jax", ("keras", "jax"), "keras"),
    "scikit-learn": Entry("chainrule_peers.scikit_learn", ("sklearn",), "scikit-learn"),
    "tinygrad": Entry("chainrule_peers.tinygrad_jit", ("tinygrad",), "tinygrad"),
    "numpy": Entry("chainrule_peers.plain_numpy"),
}
"""Name in the tables → where it is."""

FLOOR = Entry("chainrule_peers.floor")
