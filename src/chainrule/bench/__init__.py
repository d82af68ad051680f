"""The same training step in chainrule and in other common libraries, measured in turn on one machine.

A peer is a file in `peers/` with one class `Peer` in it; each runs in a process of its own (`worker`).
"""

from __future__ import annotations

from chainrule.bench import peers
from chainrule.discovery import modules

OURS = "chainrule"
"""What the others' times are divided by."""

PEERS = modules(peers)
"""Name in the tables → module with the class `Peer`."""

FLOOR = "chainrule.bench.floor"
"""The module that measures the floor."""
