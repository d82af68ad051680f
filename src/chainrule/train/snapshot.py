"""A folder whose files belong to one moment: replaced all together, or not at all.

`config.json` names the other files with their checksums, and replacing it is what makes the new ones count. Before
that they lie beside under names of their own, afterwards they move to their plain names. So a reader, or whoever
resumes after the process was killed, finds either the old moment or the new one, and a mixture is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from chainrule import files
from chainrule.errors import RunError

FORMAT = "chainrule-trainer/2"
CONFIG = "config.json"
NAMES = ("model.safetensors", "history.jsonl")
"""The other files of such a folder."""


def write(folder: Path, config: dict[str, Any], contents: dict[str, bytes]) -> None:
    """Write `config.json` and the files named in NAMES, replacing those that are there.

    Raises:
        RunError: they cannot be written, or the folder's files are another program's.
    """
    refuse_foreign(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.is_dir():
            with files.locked(folder):
                _commit(folder, config, contents)
        else:
            with files.new_folder(folder) as beside:
                _commit(beside, config, contents)
    except BlockingIOError:
        raise RunError("is being written by another process", where=str(folder)) from None
    except OSError as error:
        raise RunError(
            f"cannot be written: {error.strerror}", where=str(folder), hint="choose another folder or free some space"
        ) from None


def read(folder: Path, names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The config, and the files of its moment.

    Raises:
        RunError: there is no such folder, or it is damaged, or of another program.
    """
    while True:
        before = _written(folder)
        config = read_config(folder)
        try:
            listed = config["files"]
            found = {name: _content(folder, name, listed[name]) for name in names}
        except (KeyError, TypeError) as error:
            raise RunError("damaged: config.json lacks an entry", where=str(folder), got=str(error)) from None
        except OSError as error:
            raise RunError(f"cannot be read: {error.strerror}", where=str(folder)) from None
        missing = [name for name in names if found[name] is None]
        if not missing:
            return config, {name: content for name, content in found.items() if content is not None}
        if _written(folder) == before:
            raise _lacking(folder, missing[0])


def copy(source: Path, target: Path) -> None:
    """Write one folder's moment into another.

    Raises:
        RunError: as `read` and `write`.
    """
    config, contents = read(source, NAMES)
    write(target, config, contents)


def read_config(folder: Path) -> dict[str, Any]:
    """What `config.json` of a folder of ours says.

    Raises:
        RunError: there is no such folder, or it is damaged, or of another program.
    """
    if not folder.is_dir():
        raise RunError("no such folder", where=str(folder))
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except FileNotFoundError:
        raise RunError(f"not a chainrule run: {CONFIG} is missing", where=str(folder)) from None
    except (ValueError, RecursionError) as error:
        raise RunError("damaged", where=str(folder / CONFIG), got=str(error).split("\n")[0]) from None
    except OSError as error:
        raise RunError(f"cannot be read: {error.strerror}", where=str(folder)) from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        got = config.get("format") if isinstance(config, dict) else type(config).__name__
        raise RunError("not a chainrule run", where=str(folder / CONFIG), expected=FORMAT, got=got)
    return config


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder that holds another program's files under the names that ours would have.

    Raises:
        RunError: naming one.
    """
    there = [name for name in (CONFIG, *NAMES) if os.path.lexists(folder / name)]
    if not there:
        return
    try:
        read_config(folder)
    except RunError:
        hint = "choose another folder"
        raise RunError(f"holds a {there[0]} that is not chainrule's", where=str(folder), hint=hint) from None


def own_files(folder: Path) -> list[Path]:
    """The files of a folder that are ours by their names, those of a write that was broken off among them."""
    return [path for path in folder.iterdir() if path.name in (CONFIG, *NAMES) or is_left_over(path.name)]


def is_left_over(name: str) -> bool:
    """Whether a name is one that a write which was broken off leaves behind."""
    aside = "|".join(map(re.escape, NAMES))
    set_aside = re.fullmatch(rf"\.({aside})\.[0-9a-f]{{16}}", name) is not None
    return set_aside or files.is_temporary(name) or files.is_lock(name)


def _commit(folder: Path, config: dict[str, Any], contents: dict[str, bytes]) -> None:
    listed = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    try:
        for name, content in contents.items():
            files.write(folder / _aside(name, listed[name]), content, synced=False)
        files.sync(folder)
        files.write(folder / CONFIG, (json.dumps({**config, "files": listed}, indent=1) + "\n").encode())
        for name in contents:
            # Should the machine stop, these may be undone: a reader looks for both names.
            os.replace(folder / _aside(name, listed[name]), folder / name)
    finally:
        _sweep(folder)


def _sweep(folder: Path) -> None:
    """Remove what writes that were broken off have left, whatever `config.json` now counts as its own excepted."""
    with contextlib.suppress(OSError, RunError):
        listed = read_config(folder).get("files", {}) if (folder / CONFIG).exists() else {}
        needed = {_aside(name, digest) for name, digest in listed.items()}
        for path in folder.iterdir():
            # A lock is of a folder within, which somebody may hold just now.
            if is_left_over(path.name) and path.name not in needed and not files.is_lock(path.name):
                files.remove(path)


def _aside(name: str, digest: str) -> str:
    return f".{name}.{digest[:16]}"


def _written(folder: Path) -> tuple[int, int] | None:
    """Tells one writing of the folder from another."""
    with contextlib.suppress(OSError):
        found = os.stat(folder / CONFIG)
        return found.st_ino, found.st_mtime_ns
    return None


def _content(folder: Path, name: str, digest: str) -> bytes | None:
    """The file with this checksum, under its plain name or still beside; None where there is none."""
    # In this order, since it may be moved between the two looks.
    for place in (folder / _aside(name, digest), folder / name):
        with contextlib.suppress(FileNotFoundError):
            content = place.read_bytes()
            if hashlib.sha256(content).hexdigest() == digest:
                return content
    return None


def _lacking(folder: Path, name: str) -> RunError:
    if not (folder / name).exists():
        return RunError(f"not a chainrule run: {name} is missing", where=str(folder))
    what = f"damaged: {name} is not the file that config.json was written with"
    return RunError(what, where=str(folder), hint="nothing is read from files of different moments")
