"""Files written whole or not at all: made beside their place under a name of their own, synced, moved into place.

A reader finds the old file or the new one, whenever the process ends and even if the machine stops. No link is
followed: a temporary file is made exclusively, and where the name itself is a link, the link gives way and what it
leads to stays as it is.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

_held: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())
"""The folders that are locked here."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, new: bool = False, synced: bool = True) -> Iterator[BinaryIO]:
    """A file to write to, which takes its place when the block ends and leaves nothing behind if the block fails.

    Args:
        path: the file; its folder must exist.
        new: whether a file that is there already is to be refused instead of replaced.
        synced: whether its name is to be on the disk too, as its content always is; else `sync` the folder later.

    Raises:
        FileExistsError: `new`, and there is something at the path.
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with replacing(path) as file:
        ...     _ = file.write(b"whole")
        >>> path.read_bytes()
        b'whole'
    """
    path = Path(path)
    beside = _beside(path)
    try:
        # "x" neither opens what is there nor follows a link.
        with open(beside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if new:
            _place_new(beside, path)
        else:
            os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    if synced:
        sync(path.parent)


def write(path: str | os.PathLike[str], content: bytes, *, new: bool = False, synced: bool = True) -> None:
    """Write a file whole or not at all; see `replacing`."""
    with replacing(path, new=new, synced=synced) as file:
        file.write(content)


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder to fill, which takes its place when the block ends and leaves nothing behind if the block fails.

    Raises:
        OSError: it cannot be made, or there is something at the path.
    """
    path = Path(path)
    beside = _beside(path)
    os.mkdir(beside)
    try:
        yield beside
        if os.path.lexists(path):
            raise _taken(path)
        os.rename(beside, path)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    sync(path.parent)


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a folder alone, by a file beside it: the lock goes with the process, however it ends.

    Within the block it may be locked again, and moved. Where nothing can be locked (beside a folder that cannot be
    written, on a file system that knows no locks) it is held without: better to write without a lock than not at all.

    Raises:
        BlockingIOError: somebody else holds it.
        OSError: there is no such folder.
    """
    path = Path(os.path.realpath(folder))
    if path in _held.get():
        yield
        return
    found = os.stat(path)
    with _lock(path.with_name(_lock_name(path.name))):
        # Before it was locked, the folder may have been moved away by who held it.
        if not os.path.samestat(found, os.stat(path)):
            raise _busy(path)
        token = _held.set(_held.get() | {path})
        try:
            yield
        finally:
            _held.reset(token)


def sync(folder: str | os.PathLike[str]) -> None:
    """Have the system write down which files a folder holds, where it can be told to."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file, a link, or a folder with what is in it.

    Raises:
        OSError: it cannot be removed.
    """
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def remove_at_once(folder: str | os.PathLike[str]) -> None:
    """Remove a folder with what is in it; whenever the process ends, its name is either gone or leads to all of it.

    Raises:
        OSError: it cannot be removed.
    """
    away = _beside(Path(folder))
    os.rename(folder, away)
    shutil.rmtree(away)


def is_temporary(name: str) -> bool:
    """Whether a name is one that a file of ours has until it is whole."""
    return re.fullmatch(r"\.chainrule-[0-9a-f]{16}\.part", name) is not None


def is_lock(name: str) -> bool:
    """Whether a name is that of a lock, which a process that was killed leaves behind and which then holds nothing."""
    return re.fullmatch(r"\.chainrule-[0-9a-f]{16}\.lock", name) is not None


def _beside(path: Path) -> Path:
    return path.with_name(f".chainrule-{secrets.token_hex(8)}.part")


def _taken(path: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "it already exists", str(path))


def _place_new(beside: Path, path: Path) -> None:
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:
        # Some file systems have no second names; there, somebody quicker is noticed only up to this line.
        if os.path.lexists(path):
            raise _taken(path) from None
        os.replace(beside, path)
    else:
        os.unlink(beside)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise _busy(path) from None
    except OSError:
        pass  # there are none here
    try:
        yield
    finally:
        try:
            # While it is still held, so that it is nobody else's; on Windows, filelock removes it after that.
            if lock.is_locked:
                with contextlib.suppress(OSError):
                    os.unlink(path)
        finally:
            lock.release()


def _lock_name(folder: str) -> str:
    return f".chainrule-{hashlib.sha256(folder.encode()).hexdigest()[:16]}.lock"


def _busy(path: Path) -> BlockingIOError:
    return BlockingIOError(errno.EWOULDBLOCK, "in use by another process", str(path))
