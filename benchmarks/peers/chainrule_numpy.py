"""chainrule on its NumPy backend, for jobs too small to compile."""

from __future__ import annotations

from typing import ClassVar

from peers import chainrule_xla


class Peer(chainrule_xla.Peer):
    """The same call with another backend."""

    sizes: ClassVar[tuple[str, ...]] = ("S", "M")
    backend: ClassVar[str] = "numpy"
