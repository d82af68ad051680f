"""The peers of the step benchmark: one file each, with one class `Peer` in it."""

from __future__ import annotations

import importlib

from peers.task import PeerBase

PEERS = {
    "chainrule": "chainrule_xla",
    "chainrule-numpy": "chainrule_numpy",
    "torch": "torch_eager",
    "torch.compile": "torch_compiled",
    "jax+optax": "jax_step",
    "jax+optax-epoch": "jax_epoch",
    "scikit-learn": "scikit_learn",
    "numpy": "plain_numpy",
}
"""Name in the tables → file. Products of matrices alone, `products`, are run beside them as the floor."""

FLOOR = "products"


def load(name: str) -> type[PeerBase]:
    """The class of a peer; raises ImportError where what it needs is not installed."""
    file = "products" if name == FLOOR else PEERS[name]
    peer: type[PeerBase] = importlib.import_module(f"peers.{file}").Peer
    return peer
