"""Run folders: found a place for, filled beside it, moved into it when whole, read back.

A run is written in `NAME.part` and renamed to `NAME` at the end, so that a folder without that ending is always whole,
and a run that was killed can be gone on with from its `.part`. A run folder is a trainer's folder whose `config.json`
has one more entry, "run": the table, the options, the preprocessing and the results.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chainrule as cr
from chainrule.data import Preprocessor
from chainrule.errors import ArgumentError, RunError


@dataclass(frozen=True)
class Place:
    """Where a run goes: filled in `part`, moved to `final`."""

    final: Path

    @property
    def part(self) -> Path:
        """The folder that is filled."""
        return self.final.with_name(self.final.name + ".part")

    @property
    def checkpoint(self) -> Path:
        """Where the trainer keeps its state while it runs."""
        return self.part / "checkpoint"

    @property
    def taken(self) -> bool:
        """Whether there is something already."""
        return self.final.exists() or self.part.exists()


def check_place(out: str | None, overwrite: bool, resume: bool) -> None:
    """Refuse a place that cannot be used, before anything is loaded."""
    if overwrite and resume:
        raise ArgumentError("cannot be used together", where="--overwrite and --resume", hint="give one of them")
    if out is None:
        if resume:
            raise ArgumentError("needs to know the run", where="--resume", hint="name it with --out")
        return
    if Path(out).name in ("", ".."):
        raise ArgumentError("a name for a new folder is needed", where="--out", got=repr(out))
    place = Place(Path(out))
    if resume and not place.taken:
        raise RunError("there is no run to go on with", where=out)
    if not resume and place.taken and not overwrite:
        found = place.final if place.final.exists() else place.part
        hint = "--overwrite replaces it, --resume goes on with it"
        raise RunError("exists already", where=str(found), hint=hint)
    if overwrite and place.final.exists() and not _is_ours(place.final):
        raise RunError("is not a run, so it is not overwritten", where=out, hint="choose another folder")


def reserve(out: str | None, name: str, overwrite: bool = False) -> Place:
    """Make the `.part` folder of a run, under `runs/` and with a fresh name if none is given."""
    place = Place(Path(out)) if out else Place(Path("runs") / name)
    try:
        place.final.parent.mkdir(parents=True, exist_ok=True)
        if out and overwrite:
            shutil.rmtree(place.part, ignore_errors=True)
        number = 1
        while not _claimed(place, told=out is not None):
            number += 1
            place = Place(Path("runs") / f"{name}-{number}")
    except OSError as error:
        if isinstance(error, RunError):
            raise
        hint = "choose another folder with --out"
        raise RunError(f"cannot be written ({error.strerror})", where=str(place.final), hint=hint) from None
    return place


def _claimed(place: Place, told: bool) -> bool:
    """Whether the `.part` folder could be made, which no two processes can do at once."""
    if place.taken and not told:
        return False
    try:
        place.part.mkdir()
        return True
    except FileExistsError:
        if told:
            raise RunError("is being written by another run", where=str(place.part)) from None
        return False


def reopen(out: str) -> tuple[Place, bool]:
    """Make the `.part` folder of a run to go on with: what is there, or a copy of the whole run, which stays.

    Returns:
        The place, and whether the folder is a copy.
    """
    place = Place(Path(out))
    if place.part.exists():
        return place, False
    try:
        shutil.copytree(place.final, place.part)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(place.part, ignore_errors=True)
        raise RunError(f"cannot be copied ({error})", where=out) from None
    return place, True


def before(out: str) -> dict[str, Any]:
    """What a run to go on with was told."""
    place = Place(Path(out))
    if not place.part.exists() and place.final.is_dir() and not (place.final / "checkpoint").is_dir():
        raise RunError("has no checkpoint to go on from", where=out)
    return describe(place.part if place.part.exists() else place.final)


def describe(folder: Path) -> dict[str, Any]:
    """The entry "run" of a run folder."""
    if not folder.is_dir():
        raise RunError("no such run folder", where=str(folder))
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        run = config["run"]
        return {**run, "options": dict(run["options"]), "preprocessing": dict(run["preprocessing"])}
    except FileNotFoundError:
        raise RunError("not a run folder: config.json is missing", where=str(folder)) from None
    except (ValueError, KeyError, TypeError) as error:
        raise RunError("config.json is damaged, or of another program", where=str(folder), got=repr(error)) from None


def write_description(folder: Path, run: dict[str, Any]) -> None:
    """Put the entry "run" into the `config.json` of a folder."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({**config, "run": run}, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(beside, path)


def finish(place: Place, trainer: cr.Trainer, run: dict[str, Any]) -> tuple[Path, str | None]:
    """Write the run and move it into its place; where that fails, anywhere else.

    Returns:
        Where the run is, and why it is not where it should be.
    """
    try:
        _fill(place.part, trainer, run)
        _move(place)
        return place.final, None
    except OSError as error:
        return _rescue(place, trainer, run), str(error)


def _fill(folder: Path, trainer: cr.Trainer, run: dict[str, Any]) -> None:
    trainer.save(folder)
    write_description(folder, run)


def _move(place: Place) -> None:
    if place.final.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{place.final.name}-", dir=place.final.parent))
        os.rename(place.final, old / "run")
        os.rename(place.part, place.final)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(place.part, place.final)


def _rescue(place: Place, trainer: cr.Trainer, run: dict[str, Any]) -> Path:
    for parent in (tempfile.gettempdir(), str(Path.home()), os.getcwd()):
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"{place.final.name}-", dir=parent))
            _fill(folder, trainer, run)
            return folder
        except OSError:
            continue
    raise RunError("the trained model could not be saved anywhere", where=str(place.final), hint="free some space")


def give_up(place: Place) -> None:
    """Remove what was reserved for a request that turned out to be wrong."""
    shutil.rmtree(place.part, ignore_errors=True)
    if place.final.parent.name == "runs" and place.final.parent.is_dir() and not any(place.final.parent.iterdir()):
        place.final.parent.rmdir()


def read(folder: str) -> tuple[cr.Trainer, Preprocessor, dict[str, Any]]:
    """The trainer and the preprocessing of a whole run.

    Raises:
        RunError: if the folder is damaged, or is not a run.
    """
    run = describe(Path(folder))
    try:
        preprocessor = Preprocessor.from_dict(run["preprocessing"])
        width = len(preprocessor.feature_names)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError("config.json is damaged", where=folder, got=repr(error)) from None
    trainer = cr.Trainer.load(folder)
    layers = getattr(trainer.model, "layers", [])
    if not layers or getattr(layers[0], "in_features", width) != width:
        raise RunError("the network and the preprocessing do not fit", where=folder)
    return trainer, preprocessor, run


def _is_ours(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    try:
        return "run" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
