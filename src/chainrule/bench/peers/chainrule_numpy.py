"""chainrule on its NumPy backend, for jobs too small to compile."""

from __future__ import annotations

from typing import ClassVar

from chainrule.bench.peers import chainrule


class Peer(chainrule.Peer):
    """The same call with another backend."""

    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    backend: ClassVar[str] = "numpy"
