"""Run folders: written, read back, and told from other folders.

A run folder is a trainer's folder whose `config.json` has one more entry, "run": the table, the options, the
preprocessing and the results; and a folder `checkpoint`, to go on from.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import chainrule as cr
from chainrule import files
from chainrule.data import Preprocessor
from chainrule.errors import RunError
from chainrule.tabular.answers import Answers
from chainrule.tabular.model import TabularModel
from chainrule.tabular.settings import Settings
from chainrule.train import snapshot, trainer_files

CHECKPOINT = "checkpoint"


def describe(folder: Path) -> dict[str, Any]:
    """The entry "run" of a run folder.

    Raises:
        RunError: if the folder is damaged, or is not a run.
    """
    if not os.path.isdir(folder):
        raise RunError("no such run folder", where=str(folder))
    config = snapshot.read_config(folder)
    try:
        run = config["run"]
        return {**run, "options": dict(run["options"]), "preprocessing": dict(run["preprocessing"])}
    except (ValueError, KeyError, TypeError) as error:
        raise RunError("config.json is damaged, or of another program", where=str(folder), got=repr(error)) from None


def write_description(folder: Path, run: dict[str, Any]) -> None:
    """Begin a run folder: say what it will be."""
    config = {"format": snapshot.FORMAT, "run": run}
    files.write(folder / snapshot.CONFIG, json.dumps(config, indent=1, ensure_ascii=False).encode())


def save(folder: Path, trainer: cr.Trainer, run: dict[str, Any]) -> None:
    """Write a run into its folder, all of it at once."""
    trainer_files.save(trainer, trainer.state, folder, {"run": run})


def model_description(model: TabularModel) -> dict[str, Any]:
    """What besides its networks a model is, as plain values."""
    return {
        "settings": asdict(model.settings),
        "preprocessing": model.preprocessor.to_dict(),
        "answers": model.answers.to_dict(),
    }


def read(folder: str) -> tuple[TabularModel, dict[str, Any]]:
    """The model of a whole run, and its description.

    Raises:
        RunError: if the folder is damaged, or is not a run.
    """
    run = describe(Path(folder))
    try:
        preprocessor = Preprocessor.from_dict(run["preprocessing"])
        settings, answers = Settings(**run["settings"]), Answers.from_dict(run["answers"])
        width = len(preprocessor.feature_names)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError("config.json is damaged", where=folder, got=repr(error)) from None
    trainer = cr.Trainer.load(folder)
    layers = getattr(trainer.model, "layers", [])
    if not layers or getattr(layers[0], "width", None) != width:
        raise RunError("the network and the preprocessing do not fit", where=folder)
    return TabularModel(preprocessor, settings, answers, trainer), run


def is_run(folder: Path) -> bool:
    """Whether a folder is a run by its format, or one that was begun and holds nothing yet; no link is one."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    try:
        if all(snapshot.is_left_over(path.name) for path in folder.iterdir()):
            return True
        return isinstance(snapshot.read_config(folder).get("run"), dict)
    except OSError:
        return False


def clear(folder: Path) -> None:
    """Remove the files of a run, or of its checkpoint; others stay, and so does the folder."""
    inner = folder / CHECKPOINT
    if inner.is_dir() and not inner.is_symlink():
        clear(inner)
        with contextlib.suppress(OSError):
            inner.rmdir()
    # What says that it is a run goes last, so that it can be cleared again if this is broken off.
    for path in sorted(snapshot.own_files(folder), key=lambda path: path.name == snapshot.CONFIG):
        files.remove(path)


def others(folder: Path) -> list[str]:
    """The names of what lies in a run folder and is not of the run."""
    if not folder.is_dir():
        return []
    own = {path.name for path in snapshot.own_files(folder)} | {CHECKPOINT}
    return sorted(path.name for path in folder.iterdir() if path.name not in own)
