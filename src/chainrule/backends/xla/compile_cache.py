"""Where compiled programs are kept between processes, so that none is traced and compiled a second time.

A program is a file, named by the digest of all that it follows from. One that was compared with the interpreter and
found right has another name, so that it need not be compared again. Whoever loads a program runs what is in its file:
folders and files that others can write to are refused. Whatever cannot be read or written costs the time to compile
and never ends a training.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from chainrule import files
from chainrule.backends import cache

MAX_BYTES = 256 * 2**20
"""Bytes of programs that are kept; the least recently used ones go first. One program is some 300 kB."""
MIN_SECONDS = 0.1
"""Seconds of tracing and compiling from which on a program is kept."""
VERIFIED = ".checked"
"""The ending of a program that was found right."""
SEAL = hashlib.sha256().digest_size
"""Bytes before a file's content: a digest of it and its name."""


class CacheEntry:
    """The place of one program, where it may be or may be put.

    Args:
        name: the digest of all that the program follows from.

    Attributes:
        note: what keeps the program from being kept, or None.
    """

    def __init__(self, name: str) -> None:
        self.note: str | None = None
        self._name, self._verified = name, False
        self._folder: Path | None = None
        try:
            self._folder = _folder()
        except OSError as error:
            self.note = not_cached(error)

    def load(self) -> bytes | None:
        """What was kept; None where nothing was. A damaged file is removed."""
        for path in self._paths():
            content = _read(path)
            if content is None:
                continue
            seal, content = content[:SEAL], content[SEAL:]
            if seal == self._seal(content):
                self._verified = path.suffix == VERIFIED
                return content
            _remove(path)
        return None

    def save(self, content: bytes) -> None:
        """Keep this, for which room is made."""
        if self._folder is None:
            return
        try:
            files.write(self._paths()[-1], self._seal(content) + content)
            _make_room(self._folder.parent)
        except OSError as error:
            self.note = not_cached(error)

    def is_verified(self) -> bool:
        """Whether the program was loaded, and had been found right before."""
        return self._verified

    def mark_verified(self) -> None:
        """Write down that the program was found right."""
        with contextlib.suppress(OSError):
            for checked, fresh in [self._paths()] if self._folder else []:
                os.replace(fresh, checked)

    def remove(self) -> None:
        """Keep it no longer."""
        for path in self._paths():
            _remove(path)

    def _paths(self) -> list[Path]:
        """Where it is if it was found right, and where it is if nobody has looked."""
        return [] if self._folder is None else [self._folder / f"{self._name}{end}" for end in (VERIFIED, "")]

    def _seal(self, content: bytes) -> bytes:
        return hashlib.sha256(self._name.encode() + content).digest()


def _folder() -> Path | None:
    """The folder of our programs for this machine; None where none shall be kept.

    Raises:
        OSError: it cannot be made, or others can write to it.
    """
    folder = cache.cache_folder()
    if folder is None:
        return None
    place = folder / "xla" / cache.machine_digest()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for inner in (place.parent, place):
        inner.mkdir(mode=0o700, exist_ok=True)
    _refuse_shared(place, (folder, place.parent))
    return place


def _refuse_shared(place: Path, above: Iterable[Path]) -> None:
    """Refuse a folder that others can write to or put another one in the place of: they could have us run anything."""
    if not hasattr(os, "geteuid"):  # Windows
        return
    user = os.geteuid()
    for folder in above:
        status = folder.stat()
        # Where a folder is sticky, as /tmp is, nobody can rename what is not theirs.
        if status.st_uid not in (0, user) or status.st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
            raise PermissionError(f"other users can write to {folder}")
    status = place.lstat()
    if not stat.S_ISDIR(status.st_mode) or not _is_private(status):
        raise PermissionError(f"other users can write to {place}")


def _is_private(status: os.stat_result) -> bool:
    """Whether something is the user's, and nobody else can write to it."""
    return not hasattr(os, "geteuid") or (
        status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _read(path: Path) -> bytes | None:
    """What is in a file that only the user can write to, which was now used; None where there is none."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and _is_private(status):
                content = file.read()
                os.utime(path)
                return content
    return None


def not_cached(reason: object) -> str:
    """The note that nothing is kept, and why."""
    said = " ".join(str(reason).split())
    return f"compiled programs are not kept ({said}); {cache.CACHE_VARIABLE} names another folder, or is off"


def _make_room(folder: Path) -> None:
    """Remove the programs that were longest not used until the rest is in bounds."""
    known = []
    for path in (Path(at, name) for at, _, names in os.walk(folder) for name in names):
        with contextlib.suppress(OSError):
            status = path.stat()
            known.append((status.st_mtime, status.st_size, path))
    known.sort(key=lambda entry: entry[0])
    excess = sum(size for _, size, _ in known) - MAX_BYTES
    for _, size, path in known:
        if excess <= 0:
            break
        _remove(path)
        excess -= size


def _remove(path: Path) -> None:
    # Another process may have been quicker, or be reading it.
    with contextlib.suppress(OSError):
        path.unlink()
