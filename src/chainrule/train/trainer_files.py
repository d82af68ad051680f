"""Trainers on disk: a folder of JSON and safetensors whose files belong to one moment."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import tree
from chainrule.data.standardize import Standardizer
from chainrule.errors import ArgumentError, RunError
from chainrule.optim.plateau import Plateau
from chainrule.train import snapshot
from chainrule.train.history import History
from chainrule.train.metrics import by_output
from chainrule.train.serialize import from_recipe, to_recipe
from chainrule.train.state import Best, Position, TrainState
from chainrule.train.structures import Standardizers

if TYPE_CHECKING:
    from collections.abc import Callable

    from chainrule.nn.module import Module
    from chainrule.train.setup import Setup

PARTS = ("model", "loss", "optimizer", "schedule", "penalty", "clip")
SETTINGS = ("normalize", "backend", "precision", "seed")
TENSORS, LINES = snapshot.NAMES


def save(
    setup: Setup, train_state: TrainState, path: str | os.PathLike[str], more: dict[str, Any] | None = None
) -> None:
    """Write a trainer to a folder, with more entries in its `config.json` if wanted."""
    config, tensors = _contents(setup, train_state)
    _write(Path(path), train_state, {**config, **(more or {})}, tensors)


def load(
    path: str | os.PathLike[str], made: Callable[..., tuple[Setup, TrainState]], model: Module | None
) -> tuple[Setup, TrainState]:
    """Read a trainer from a folder.

    Args:
        path: the folder.
        made: makes one of the arguments that `Trainer` takes.
        model: in place of the one that is written down.
    """
    folder = Path(path)
    config, tensors = _read(folder)
    try:
        recipe = config["trainer"]
        _refuse_larger(recipe, sum(value.size for value in _under("model.", tensors).values()), folder)
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
                else "build the Trainer yourself and use load_state_dict"
            )
            raise RunError(f"its {name} is not made of chainrule's own classes", where=str(folder), hint=hint)
    try:
        setup, train_state = made(**parts, metrics=metrics, **settings)
    except (TypeError, ValueError) as error:
        raise RunError("the recipe does not fit this version", where=str(folder), got=str(error)) from None
    _restore(setup, train_state, config, tensors, folder)
    frozen = config.get("frozen", ())
    for name, parameter in setup.model.named_parameters():
        parameter.requires_grad = name not in frozen
    return setup, train_state


def _refuse_larger(recipe: Any, numbers: int, folder: Path) -> None:
    """Refuse a recipe of layers that hold more numbers than there are in the file, before room is made for them."""
    if isinstance(recipe, list):
        recipe = dict(enumerate(recipe))
    if not isinstance(recipe, dict):
        return
    sizes = [v for k, v in recipe.items() if str(k).endswith("features") and isinstance(v, int)]
    if sizes and math.prod(sizes) > numbers:
        kind = recipe.get("type")
        raise RunError("damaged: a layer is larger than the file of its parameters", where=str(folder), got=kind)
    for part in recipe.values():
        _refuse_larger(part, numbers, folder)


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a trainer."""
    return (Path(path) / snapshot.CONFIG).is_file()


def check_place(path: str | os.PathLike[str]) -> None:
    """Refuse a folder for checkpoints that holds another program's files; see `snapshot.refuse_foreign`."""
    snapshot.refuse_foreign(Path(path))


def save_training(path: str | os.PathLike[str], setup: Setup, train_state: TrainState) -> None:
    """Write a checkpoint: a trainer, and where its training stands."""
    config, tensors = _contents(setup, train_state)
    position = train_state.position
    assert position is not None, "a checkpoint without a training"
    best = position.best
    config["best"] = {"value": best.value, "epoch": best.epoch, "monitor": best.monitor} if best.epoch else None
    config["layout"] = position.layout
    tensors |= {f"best.{name}": value for name, value in best.parameters.items()}
    tensors |= {f"epoch.{i}": value for i, value in enumerate(position.record)}
    _write(Path(path), train_state, config, tensors)


def restore_training(
    path: str | os.PathLike[str], setup: Setup, train_state: TrainState, epochs: int, layout: dict[str, Any]
) -> Position:
    """Restore a trainer that is to do so many epochs in all from a checkpoint; gives where the training stands.

    Raises:
        RunError: there is no checkpoint, or it is not one of this trainer.
        ArgumentError: the steps would come in another order, or more than those epochs are done.
    """
    if not exists(path):
        raise RunError("has no checkpoint to resume from", where=str(path), hint="leave out resume to start afresh")
    config, tensors = _read(Path(path))
    try:
        found, best = config["layout"], config["best"]
        record = [value for _, value in sorted(_under("epoch.", tensors).items(), key=lambda pair: int(pair[0]))]
        done = len(config["history"]["loss"]) + bool(record)
        kept = Best(**best, parameters=_under("best.", tensors)) if best else Best()
    except (KeyError, TypeError) as error:
        raise RunError("not a checkpoint of a training", where=str(path), got=str(error)) from None
    for name, value in layout.items():
        if found.get(name) != value:
            hint = "go on as the training began"
            raise ArgumentError(
                "differs from the checkpoint's", where=name, expected=found.get(name), got=value, hint=hint
            )
    if done > epochs:
        raise ArgumentError(
            "the checkpoint has more epochs than that", where="epochs", expected=f"at least {done}", got=epochs
        )
    _restore(setup, train_state, config, tensors, Path(path))
    train_state.history.stopped = "finished"
    return Position(kept, record, layout)


def _contents(setup: Setup, train_state: TrainState) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a trainer is on disk: the entries of `config.json`, and its tensors by name."""
    recipe = {name: to_recipe(getattr(setup, name)) for name in PARTS}
    recipe |= {"metrics": by_output(setup.metrics)} | {name: getattr(setup, name) for name in SETTINGS}
    config = {
        "format": snapshot.FORMAT,
        "trainer": recipe,
        "steps": train_state.steps,
        "epochs": train_state.epochs,
        "frozen": [name for name, p in setup.model.named_parameters() if not p.requires_grad],
        "plateau": [None if value == math.inf else value for value in train_state.plateau],
        "history": {k: v for k, v in asdict(train_state.history).items() if k != "step_loss"},
    }
    tensors = {f"model.{name}": value for name, value in setup.model.state_dict().items()}
    tensors["history.step_loss"] = np.asarray(train_state.history.step_loss, np.float64)
    state = train_state.optimizer
    if state is not None:
        tensors |= {f"optimizer.{n}": np.asarray(v) for n, v in _flat(state).items()}
    tensors |= {f"standardizer.{name}": value for name, value in _moments(train_state.standardizer).items()}
    return config, tensors


def _write(folder: Path, train_state: TrainState, config: dict[str, Any], tensors: dict[str, Any]) -> None:
    from safetensors.numpy import save as to_bytes

    content = to_bytes({name: np.asarray(value, order="C") for name, value in tensors.items()})
    lines = "".join(json.dumps(row) + "\n" for row in train_state.history.rows())
    snapshot.write(folder, config, {TENSORS: content, LINES: lines.encode()})


def _flat(state: Any) -> dict[str, Any]:
    return dict(zip(tree.names(state), tree.flatten(state)[0], strict=True))


def _restore(
    setup: Setup, train_state: TrainState, config: dict[str, Any], tensors: dict[str, Any], folder: Path
) -> None:
    """Put what was read into a trainer: all of it, or nothing where a part does not fit."""
    before = setup.model.state_dict()
    try:
        setup.model.load_state_dict(_under("model.", tensors))
    except ValueError as error:
        raise RunError("the parameters are not those of this model", where=str(folder), got=str(error)) from None
    try:
        state = _optimizer_state(setup, _under("optimizer.", tensors), config["frozen"])
        standardizer = _standardizer(_under("standardizer.", tensors))
        steps, epochs = int(config["steps"]), int(config["epochs"])
        factor, best, waited, resting = config["plateau"]
        plateau = Plateau(factor, math.inf if best is None else best, waited, resting)
        history = History(**config["history"], step_loss=tensors["history.step_loss"].tolist())
    except (KeyError, TypeError, ValueError) as error:
        setup.model.load_state_dict(before)
        got = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise RunError("damaged, or of another kind of trainer", where=str(folder), got=got) from None
    train_state.optimizer = state if state is not None else train_state.optimizer
    train_state.standardizer = standardizer or train_state.standardizer
    train_state.steps, train_state.epochs, train_state.history, train_state.plateau = steps, epochs, history, plateau


def _moments(standardizer: Standardizers) -> dict[str, Any]:
    """The arrays of a standardiser by name; of several inputs each has its name before."""
    if standardizer is None:
        return {}
    if isinstance(standardizer, dict):
        each = {name: _moments(one) for name, one in standardizer.items()}
        return {f"{name}.{key}": value for name, found in each.items() for key, value in found.items()}
    return {"mean": standardizer.mean, "scale": standardizer.scale}


def _standardizer(found: dict[str, Any]) -> Standardizers:
    if not found:
        return None
    if "mean" in found:
        return Standardizer(found["mean"], found["scale"])
    inputs = dict.fromkeys(name.rpartition(".")[0] for name in found)
    return {name: Standardizer(found[f"{name}.mean"], found[f"{name}.scale"]) for name in inputs}


def _under(prefix: str, tensors: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _optimizer_state(setup: Setup, found: dict[str, Any], frozen: list[str]) -> Any:
    """The optimizer's state with the arrays found, by path; None where there are none."""
    if not found:
        return None
    fresh = setup.optimizer.init(dict(setup.model.tree_children()))
    known = {
        # There is none of a parameter that was frozen all along.
        key: {name: x for name, x in value.items() if f"{key}.{name}" in found or name not in frozen}
        if isinstance(value, dict)
        else value
        for key, value in fresh.items()
    }
    plain = tree.map(lambda x: x.numpy(), known)
    tracked = setup.optimizer.tracked(plain)
    empty = tracked if set(tree.names(tracked)) == set(found) else plain
    names = tree.names(empty)
    if unknown := [name for name in found if name not in names]:
        raise ValueError(f"no place in {type(setup.optimizer).__name__} for {unknown[0]}")
    return tree.unflatten(tree.flatten(empty)[1], [found[name] for name in names])


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    config, contents = snapshot.read(folder, (TENSORS,))
    try:
        return config, from_bytes(contents[TENSORS])
    except SafetensorError as error:
        raise RunError("damaged", where=str(folder), got=str(error).split("\n")[0]) from None
