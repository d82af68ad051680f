"""Compiled programs kept between processes: JAX's own cache, in our folder, switched on for our programs only.

JAX decides by a program's text, its options, the versions and the device whether an entry fits, so that an entry is
never wrong, only missing. A folder that cannot be written, a full disk, or a damaged entry costs the time to compile
and never ends a training. A cache that the user has set up for JAX is used in place of ours, as it is.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule.backends import cache

ROOM = 256 * 2**20
"""Bytes of programs that are kept; the least recently used ones go first. One program is some 100 kB."""
LEAST = 0.1
"""Seconds of compiling from which on a program is kept."""
_turn = threading.RLock()
_HIT = "/jax/compilation_cache/cache_hits"
_TROUBLE = re.compile(r"Error (reading|writing) persistent compilation cache entry for '(.*)': ((?s:.*))")


@dataclass
class Found:
    """What came of compiling: whether the program was kept from before, and what kept it from being kept now."""

    cached: bool = False
    note: str | None = None


@contextlib.contextmanager
def keeping() -> Iterator[Found]:
    """What JAX compiles within this block is kept, and taken from the cache where it was kept before."""
    import jax

    found, place = Found(), None
    # JAX's settings and Python's warnings belong to the whole process, so that threads take turns.
    with _turn, _listening(found):
        if not jax.config.jax_compilation_cache_dir:
            place = _place(found)
        with contextlib.nullcontext() if place is None else _kept_in(place, found):
            yield found


def _place(found: Found) -> Path | None:
    """The folder of our programs for this machine; None where none shall be, or can be, kept."""
    folder = cache.folder()
    if folder is None:
        return None
    place = folder / "xla" / cache.machine()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for inner in (place.parent, place):
            inner.mkdir(mode=0o700, exist_ok=True)
        _refuse_open(place, (folder, place.parent))
        return place
    except OSError as error:
        found.note = _not_kept(error)
        return None


def _refuse_open(place: Path, above: Iterable[Path]) -> None:
    """Refuse a folder that others can write to or put another one in the place of: they could have us run anything."""
    if not hasattr(os, "geteuid"):  # Windows
        return
    user = os.geteuid()
    for folder in above:
        status = folder.stat()
        # Where a folder is sticky, as /tmp is, nobody can rename what is not theirs.
        if status.st_uid not in (0, user) or status.st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
            raise PermissionError(f"others can write to {folder}")
    status = place.lstat()
    if status.st_uid != user or not stat.S_ISDIR(status.st_mode) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"others can write to {place}")


def _not_kept(reason: object) -> str:
    return f"compiled programs are not kept ({reason}); {cache.SWITCH} names another folder, or is off"


@contextlib.contextmanager
def _kept_in(place: Path, found: Found) -> Iterator[None]:
    before = set(_files(place))
    with warnings.catch_warnings(record=True) as said, _configured(place):
        warnings.filterwarnings("always", _TROUBLE.pattern)
        yield
    for warning in said:
        trouble = _TROUBLE.match(str(warning.message))
        if trouble is None:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif trouble[1] == "writing":
            found.note = _not_kept(trouble[3])
            _remove(set(_files(place)) - before)
        else:
            # JAX replaces no entry, so a damaged one would be met for ever.
            _remove(path for path in _files(place) if path.name.startswith(f"{trouble[2]}-"))
    if not found.cached:
        _make_room(place.parent)


@contextlib.contextmanager
def _configured(place: Path) -> Iterator[None]:
    """JAX's settings for our compiling; those of the user's own code are back afterwards."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    ours = {
        "jax_compilation_cache_dir": str(place),
        "jax_persistent_cache_min_compile_time_secs": LEAST,
        # JAX's own bound needs one more package, and a lock.
        "jax_compilation_cache_max_size": -1,
        "jax_raise_persistent_cache_errors": False,
    }
    theirs = {name: getattr(jax.config, name) for name in ours}

    def use(settings: dict[str, Any]) -> None:
        for name, value in settings.items():
            jax.config.update(name, value)
        # JAX looks at the folder once only.
        compilation_cache.reset_cache()

    use(ours)
    try:
        yield
    finally:
        use(theirs)


@contextlib.contextmanager
def _listening(found: Found) -> Iterator[None]:
    import jax.monitoring

    def listen(event: str, **_: Any) -> None:
        found.cached = found.cached or event == _HIT

    jax.monitoring.register_event_listener(listen)
    try:
        yield
    finally:
        jax.monitoring.unregister_event_listener(listen)


def _make_room(folder: Path) -> None:
    """Remove the programs that were longest not used, as far as the file system tells, until the rest is in bounds."""
    known = []
    for path in _files(folder):
        with contextlib.suppress(OSError):
            status = path.stat()
            known.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    known.sort(key=lambda entry: entry[0])
    excess = sum(size for _, size, _ in known) - ROOM
    for _, size, path in known:
        if excess <= 0:
            break
        _remove([path])
        excess -= size


def _files(folder: Path) -> list[Path]:
    return [Path(at, name) for at, _, names in os.walk(folder) for name in names]


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        # Another process may have been quicker, or be reading it.
        with contextlib.suppress(OSError):
            path.unlink()
