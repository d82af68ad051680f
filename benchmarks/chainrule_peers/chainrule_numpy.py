"""chainrule on its NumPy backend, for jobs too small to compile."""

from __future__ import annotations

from typing import ClassVar

from chainrule_peers import chainrule_compiled


class Peer(chainrule_compiled.Peer):
    """The same call with another backend."""

    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    backend: ClassVar[str] = "numpy"
