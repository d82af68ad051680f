"""Trainers on disk: a folder of JSON and safetensors, written beside and moved into place, so that no half is left."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import tree
from chainrule.data.standardize import Standardizer
from chainrule.errors import ArgumentError, RunError
from chainrule.train.history import History
from chainrule.train.recipe import from_recipe, to_recipe

if TYPE_CHECKING:
    from chainrule.nn.module import Module
    from chainrule.train.trainer import Trainer

FORMAT = "chainrule-trainer/1"
PARTS = ("model", "loss", "optimizer", "schedule", "penalty", "clip")
SETTINGS = ("normalize", "backend", "precision", "seed")
FileTree = dict[str, bytes]


@dataclass
class Best:
    """The best epoch so far, from 1 (0: none yet), with its validation loss and its parameters by path."""

    loss: float = math.inf
    epoch: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)


def save(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Write a trainer to a folder."""
    _write(Path(path), _files(trainer))


def load(path: str | os.PathLike[str], kind: type[Trainer], model: Module | None) -> Trainer:
    """Read a trainer from a folder."""
    folder = Path(path)
    config, tensors = _read(folder)
    try:
        recipe = config["trainer"]
        parts = {name: from_recipe(recipe[name]) for name in PARTS if name != "model" or model is None}
        parts.setdefault("model", model)
        metrics = recipe["metrics"]
        settings = {name: recipe[name] for name in SETTINGS}
    except (KeyError, TypeError) as error:
        raise RunError("damaged: config.json lacks an entry", where=str(folder), got=str(error)) from None
    for name in PARTS[:3]:
        if parts[name] is None:
            hint = (
                "build it and give it: Trainer.load(path, model=…)"
                if name == "model"
                else "make the Trainer anew and use load_state_dict"
            )
            raise RunError(f"its {name} is not made of chainrule's own classes", where=str(folder), hint=hint)
    try:
        trainer = kind(**parts, metrics=metrics, **settings)
    except (TypeError, ValueError) as error:
        raise RunError("the recipe does not fit this version", where=str(folder), got=str(error)) from None
    _restore(trainer, config, tensors, folder)
    return trainer


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a trainer."""
    return (Path(path) / "config.json").is_file()


def save_training(path: str | os.PathLike[str], trainer: Trainer, best: Best) -> None:
    """Write a checkpoint: a trainer, and the best parameters so far."""
    extra = {f"best.{name}": value for name, value in best.parameters.items()}
    _write(
        Path(path), _files(trainer, extra, {"best": {"loss": best.loss, "epoch": best.epoch} if best.epoch else None})
    )


def restore_training(path: str | os.PathLike[str], trainer: Trainer, epochs: int) -> Best:
    """Put a checkpoint into a trainer that shall do so many epochs in all; gives the best epoch so far."""
    config, tensors = _read(Path(path))
    _restore(trainer, config, tensors, Path(path))
    done = trainer.history.epochs
    trainer.history.stopped = "finished"
    if done > epochs:
        raise ArgumentError(
            "the checkpoint is further than that", where="epochs", expected=f"at least {done}", got=epochs
        )
    parameters = {name[5:]: value for name, value in tensors.items() if name.startswith("best.")}
    return Best(**config["best"], parameters=parameters) if config.get("best") else Best()


def _files(trainer: Trainer, extra: dict[str, Any] | None = None, more: dict[str, Any] | None = None) -> FileTree:
    from safetensors.numpy import save as to_bytes

    recipe = {name: to_recipe(getattr(trainer, name)) for name in PARTS}
    recipe |= {"metrics": [metric.name for metric in trainer.metrics]} | {
        name: getattr(trainer, name) for name in SETTINGS
    }
    state = trainer.optimizer_state
    config = {
        "format": FORMAT,
        "trainer": recipe,
        "steps": trainer.steps,
        "epochs": trainer.epochs,
        "history": {k: v for k, v in asdict(trainer.history).items() if k != "step_loss"},
        **(more or {}),
    }
    tensors = {f"model.{name}": value for name, value in trainer.model.state_dict().items()} | (extra or {})
    tensors["history.step_loss"] = np.asarray(trainer.history.step_loss, np.float64)
    if state is not None:
        tensors |= {f"optimizer.{n}": np.asarray(v) for n, v in _flat(state).items()}
    if trainer.standardizer is not None:
        tensors |= {"standardizer.mean": trainer.standardizer.mean, "standardizer.scale": trainer.standardizer.scale}
    lines = "".join(json.dumps(row) + "\n" for row in trainer.history.rows())
    return {
        "config.json": (json.dumps(config, indent=1) + "\n").encode(),
        "model.safetensors": to_bytes({name: np.asarray(value, order="C") for name, value in tensors.items()}),
        "history.jsonl": lines.encode(),
    }


def _flat(state: Any) -> dict[str, Any]:
    return dict(zip(tree.names(state), tree.flatten(state)[0], strict=True))


def _restore(trainer: Trainer, config: dict[str, Any], tensors: dict[str, Any], folder: Path) -> None:
    """Put what was read into a trainer: all of it, or nothing where a part does not fit."""
    before = trainer.model.state_dict()
    try:
        trainer.model.load_state_dict(_under("model.", tensors))
    except ValueError as error:
        raise RunError("the parameters are not those of this model", where=str(folder), got=str(error)) from None
    try:
        state = _optimizer_state(trainer, _under("optimizer.", tensors))
        scaling = _under("standardizer.", tensors)
        standardizer = Standardizer(scaling["mean"], scaling["scale"]) if scaling else None
        steps, epochs = int(config["steps"]), int(config["epochs"])
        history = History(**config["history"], step_loss=tensors["history.step_loss"].tolist())
    except (KeyError, TypeError, ValueError) as error:
        trainer.model.load_state_dict(before)
        got = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise RunError("damaged, or of another kind of trainer", where=str(folder), got=got) from None
    trainer.optimizer_state = state if state is not None else trainer.optimizer_state
    trainer.standardizer = standardizer or trainer.standardizer
    trainer.steps, trainer.epochs, trainer.history = steps, epochs, history


def _under(prefix: str, tensors: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _optimizer_state(trainer: Trainer, found: dict[str, Any]) -> Any:
    """The optimizer's state with the arrays found, by path; None where there are none."""
    if not found:
        return None
    plain = tree.map(lambda x: x.numpy(), trainer.optimizer.init(dict(trainer.model.tree_children())))
    tracked = trainer.optimizer.tracked(plain)
    empty = tracked if set(tree.names(tracked)) == set(found) else plain
    names = tree.names(empty)
    if unknown := [name for name in found if name not in names]:
        raise ValueError(f"no place in {type(trainer.optimizer).__name__} for {unknown[0]}")
    return tree.unflatten(tree.flatten(empty)[1], [found[name] for name in names])


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    if not folder.is_dir():
        raise RunError("no such folder", where=str(folder))
    try:
        config = json.loads((folder / "config.json").read_bytes())
        tensors = from_bytes((folder / "model.safetensors").read_bytes())
    except FileNotFoundError as error:
        raise RunError(f"not a chainrule run: {Path(error.filename).name} is missing", where=str(folder)) from None
    except (json.JSONDecodeError, UnicodeDecodeError, SafetensorError) as error:
        raise RunError("damaged", where=str(folder), got=str(error).split("\n")[0]) from None
    except OSError as error:
        raise RunError(f"cannot be read: {error.strerror}", where=str(folder)) from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        got = config.get("format") if isinstance(config, dict) else type(config).__name__
        raise RunError("not a chainrule run", where=str(folder / "config.json"), expected=FORMAT, got=got)
    return config, tensors


def _write(folder: Path, contents: FileTree) -> None:
    """Write files beside, then move each into place: a reader sees the old ones or the new ones, never half a file."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for name, content in contents.items():
                (beside / name).write_bytes(content)
            if folder.exists():
                for name in contents:
                    os.replace(beside / name, folder / name)
            else:
                os.chmod(beside, 0o755)
                os.replace(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise RunError(
            f"cannot be written: {error.strerror}", where=str(folder), hint="choose another folder or free some space"
        ) from None
