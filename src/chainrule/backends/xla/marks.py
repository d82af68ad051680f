"""Which programs were compared with the interpreter in an earlier process, and need not be again.

A mark is a small file beside the kept programs. Its name says all that a program follows from: the graphs, how they
are looped over, our own sources that lower and interpret them, the options, the versions and the machine. It counts
only for a program that was itself taken from the cache, and only where nobody but the user could have put it there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chainrule import files
from chainrule.backends import cache
from chainrule.backends.xla.compiler import options
from chainrule.backends.xla.devices import device
from chainrule.graph.graph import Graph
from chainrule.passes.hoist_constants import constants, structural_hash

MOST = 4096
"""Marks that are kept; where there are more, the older half goes."""


@dataclass(frozen=True)
class Mark:
    """The mark of one program.

    Attributes:
        name: the digest of all that the program follows from.
        folder: where marks are; None where none are kept.
    """

    name: str
    folder: Path | None

    def stands(self) -> bool:
        """Whether such a program was found right before."""
        if self.folder is None or not _own(self.folder, stat.S_ISDIR):
            return False
        path = self.folder / self.name
        with contextlib.suppress(OSError):
            return _own(path, stat.S_ISREG) and path.read_text() == self.name
        return False

    def set(self) -> None:
        """Write down that the program was found right."""
        if self.folder is None:
            return
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.write(self.folder / self.name, self.name.encode())
            _make_room(self.folder)

    def remove(self) -> None:
        """Forget it."""
        if self.folder is not None:
            with contextlib.suppress(OSError):
                (self.folder / self.name).unlink()


def mark(graphs: Iterable[Graph], how: Any, kind: str) -> Mark:
    """The mark of a program of this kind made of graphs, and of how they are put together."""
    import jax

    told = hashlib.sha256(_sources())
    versions = (jax.__version__, version("jaxlib"), os.environ.get("XLA_FLAGS"), device().device_kind, options(kind))
    told.update(repr((versions, kind, how)).encode())
    for graph in graphs:
        told.update(repr(structural_hash(graph)).encode())
        for value in constants(graph):
            told.update(value.tobytes())
    folder = cache.folder()
    return Mark(told.hexdigest(), None if folder is None else folder / "checked" / cache.machine())


@functools.cache
def _sources() -> bytes:
    """A digest of our own code that a program, and what it is compared with, follow from."""
    told = hashlib.sha256()
    root = Path(__file__).parents[2]
    for path in sorted(path for part in ("backends", "passes", "graph") for path in (root / part).rglob("*.py")):
        told.update(path.read_bytes())
    return told.digest()


def _own(path: Path, kind: Any) -> bool:
    """Whether a path is of this kind, no link, and nobody but the user can write to it."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return kind(status.st_mode) and (
        not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)
    )


def _make_room(folder: Path) -> None:
    paths = list(folder.iterdir())
    if len(paths) > MOST:
        for path in sorted(paths, key=lambda path: path.stat().st_mtime)[: len(paths) // 2]:
            path.unlink()
