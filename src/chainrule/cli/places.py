"""Where a run goes: claimed, filled beside its place by one process at a time, moved into it when whole.

A run is filled in `NAME.part` and renamed to `NAME` at the end, so that a folder without that ending is always whole,
and a run that was killed can be gone on with from its `.part`. What is replaced or removed are the files of a run, by
their format and their names; whatever else lies in such a folder stays.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chainrule as cr
from chainrule import files
from chainrule.cli import runs
from chainrule.errors import ArgumentError, RunError
from chainrule.train import snapshot, trainer_files

ENDING = ".part"


@dataclass(frozen=True)
class Place:
    """Where a run goes: filled in `part`, moved to `final`.

    Attributes:
        ours: whether the filled folder is new, or a copy, so that nothing is lost with it.
        parent_is_ours: whether the folder around it was made for it.
    """

    final: Path
    ours: bool = True
    parent_is_ours: bool = False

    @property
    def part(self) -> Path:
        """The folder that is filled."""
        return self.final.with_name(self.final.name + ENDING)

    @property
    def checkpoint(self) -> Path:
        """Where the trainer keeps its state while it runs."""
        return self.part / runs.CHECKPOINT

    @property
    def there(self) -> list[Path]:
        """What there is already."""
        return [path for path in (self.final, self.part) if os.path.lexists(path)]


def check_place(out: str | None, overwrite: bool, resume: bool) -> None:
    """Refuse a place that cannot be used, before anything is loaded."""
    if overwrite and resume:
        raise ArgumentError("cannot be used together", where="--overwrite and --resume", hint="give one of them")
    if out is None:
        if resume:
            raise ArgumentError("needs to know the run", where="--resume", hint="name it with --out")
        return
    name = Path(out).name
    if name in ("", "..") or name.endswith(ENDING):
        expected = f"one that does not end in {ENDING}" if name.endswith(ENDING) else None
        raise ArgumentError("a name for a new folder is needed", where="--out", expected=expected, got=repr(out))
    place = Place(Path(out))
    if resume and not place.there:
        raise RunError("there is no run to go on with", where=out)
    if place.there and not resume and not overwrite:
        hint = "--overwrite replaces it, --resume goes on with it"
        raise RunError("exists already", where=str(place.there[0]), hint=hint)
    for path in place.there:
        if not runs.is_run(path):
            verb = "gone on with" if resume else "overwritten"
            raise RunError(f"is not a run, so it is not {verb}", where=str(path), hint="choose another folder")
    if resume and not trainer_files.exists(place.there[-1] / runs.CHECKPOINT):
        hint = "--overwrite begins anew"
        raise RunError("has no checkpoint to resume from", where=str(place.there[-1]), hint=hint)


@contextlib.contextmanager
def opened(out: str | None, name: str, overwrite: bool, resume: bool) -> Iterator[Place]:
    """The `.part` folder of a run, for this process alone: a new one, under `runs/` if no place is told, or the one of
    a run to go on with, a copy of the whole run if there is no other.

    Raises:
        RunError: somebody else is writing it, or it cannot be written.
    """
    place = Place(Path(out)) if out else Place(Path("runs") / name)
    try:
        with contextlib.ExitStack() as stack:
            try:
                place = _reopened(place) if resume else _reserved(place, out is not None, overwrite)
                stack.enter_context(files.locked(place.part))
                if overwrite:
                    runs.clear(place.part)
            except (BlockingIOError, FileExistsError, FileNotFoundError):
                raise RunError("is being written by another run", where=str(place.part)) from None
            except RunError:
                raise
            except OSError as error:
                hint = "choose another folder with --out"
                raise RunError(f"cannot be written ({error.strerror})", where=str(place.final), hint=hint) from None
            yield place
    finally:
        if place.parent_is_ours:
            with contextlib.suppress(OSError):
                # Only where nothing is left in it.
                place.final.parent.rmdir()


def _reserved(place: Place, told: bool, overwrite: bool) -> Place:
    parent = place.final.parent
    new = not parent.exists()
    _make_parent(parent)
    number, name = 1, place.final.name
    while True:
        if told or not place.there:
            try:
                place.part.mkdir()
                return Place(place.final, parent_is_ours=new)
            except FileExistsError:
                if told and overwrite and runs.is_run(place.part):
                    return place
                if told:
                    raise
        number += 1
        place = Place(parent / f"{name}-{number}")


def _make_parent(parent: Path) -> None:
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(20, "is not a folder", str(parent)) from None


def _reopened(place: Place) -> Place:
    """What is there, or what a run to go on with needs of the whole run, which stays."""
    if os.path.lexists(place.part):
        return Place(place.final, ours=False)
    with files.new_folder(place.part) as beside:
        runs.write_description(beside, runs.describe(place.final))
        snapshot.copy(place.final / runs.CHECKPOINT, beside / runs.CHECKPOINT)
    return place


def finish(place: Place, trainer: cr.Trainer, run: dict[str, Any]) -> tuple[Path, str | None]:
    """Write the run and move it into its place; where that fails, it stays where it is, or goes anywhere else.

    Returns:
        Where the run is, and why it is not where it should be.
    """
    try:
        runs.save(place.part, trainer, run)
    except OSError as error:
        return _rescue(place, trainer, run), str(error)
    try:
        _move(place)
        return place.final, None
    except OSError as error:
        return place.part, str(error)


def _move(place: Place) -> None:
    if not os.path.lexists(place.final):
        os.rename(place.part, place.final)
        files.sync(place.final.parent)
        return
    if not runs.is_run(place.final):
        raise RunError("is not a run, so it is not overwritten", where=str(place.final))
    # Folders cannot be exchanged at once everywhere. Until all is there, the run can be gone on with from its `.part`.
    if trainer_files.exists(place.checkpoint):
        snapshot.copy(place.checkpoint, place.final / runs.CHECKPOINT)
    else:
        runs.clear(place.final / runs.CHECKPOINT)
    snapshot.copy(place.part, place.final)
    _retire(place)


def _retire(place: Place) -> None:
    """Remove the `.part` of a run that is in its place; what is not of the run goes where the run is."""
    for name in runs.others(place.part):
        if not os.path.lexists(place.final / name):
            os.rename(place.part / name, place.final / name)
    if runs.others(place.part) or runs.others(place.checkpoint):
        _remove(place.part)
    else:
        files.remove_at_once(place.part)


def _remove(part: Path) -> None:
    runs.clear(part)
    with contextlib.suppress(OSError):
        # Only where nothing is left in it.
        part.rmdir()


def _rescue(place: Place, trainer: cr.Trainer, run: dict[str, Any]) -> Path:
    for parent in (tempfile.gettempdir(), str(Path.home()), os.getcwd()):
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"{place.final.name}-", dir=parent))
            runs.save(folder, trainer, run)
            return folder
        except OSError:
            continue
    raise RunError("the trained model could not be saved anywhere", where=str(place.final), hint="free some space")


def give_up(place: Place) -> None:
    """Remove what was reserved for a request that turned out to be wrong."""
    if not place.ours:
        return
    _remove(place.part)
