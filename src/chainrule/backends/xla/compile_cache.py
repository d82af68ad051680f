"""Where compiled programs are cached between processes, so that none is traced and compiled a second time.

A program is a file, named by the digest of everything it depends on. One that was verified against the interpreter has
another name, so that it need not be verified again. Loading a program executes what is in its file, so folders and
files that other users can write to are refused. Whatever cannot be read or written costs the time to compile and never
ends a training.
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
"""Bytes of programs in the cache; the least recently used ones go first. One program is some 300 kB."""
MIN_SECONDS = 0.1
"""Seconds of tracing and compiling from which on a program is cached."""
VERIFIED = ".checked"
"""The suffix of a verified program."""
SEAL = hashlib.sha256().digest_size
"""Bytes of the digest (of name and content) before a file's content."""


class CacheEntry:
    """The cache entry of one program, whether it exists yet or not.

    Args:
        name: the digest of everything the program depends on.

    Attributes:
        note: why the program cannot be cached, or None.
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
        """The stored content; None if there is none. A damaged file is removed."""
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
        """Store this, evicting others to make room."""
        if self._folder is None:
            return
        try:
            files.write(self._paths()[-1], self._seal(content) + content)
            _make_room(self._folder.parent)
        except OSError as error:
            self.note = not_cached(error)

    def is_verified(self) -> bool:
        """Whether the program was loaded and had been verified before."""
        return self._verified

    def mark_verified(self) -> None:
        """Record that the program was verified."""
        with contextlib.suppress(OSError):
            for checked, fresh in [self._paths()] if self._folder else []:
                os.replace(fresh, checked)

    def remove(self) -> None:
        """Remove it from the cache."""
        for path in self._paths():
            _remove(path)

    def _paths(self) -> list[Path]:
        """Its path once verified, and its path before."""
        return [] if self._folder is None else [self._folder / f"{self._name}{end}" for end in (VERIFIED, "")]

    def _seal(self, content: bytes) -> bytes:
        return hashlib.sha256(self._name.encode() + content).digest()


def _folder() -> Path | None:
    """The cache folder for this machine; None if caching is off.

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
    """Refuse a folder that other users can write to or replace: they could make us execute anything."""
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
    """Whether it belongs to the user and nobody else can write to it."""
    return not hasattr(os, "geteuid") or (
        status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _read(path: Path) -> bytes | None:
    """The content of a file that only the user can write to, marked as used now; None if there is none."""
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
    """The note that nothing is cached, and why."""
    said = " ".join(str(reason).split())
    return f"compiled programs are not cached ({said}); {cache.CACHE_VARIABLE} names another folder, or is off"


def _make_room(folder: Path) -> None:
    """Evict the least recently used programs until the rest is within bounds."""
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
