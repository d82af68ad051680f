"""Trainers that are copied, pickled, saved and loaded: what is shared stays shared, what is frozen stays frozen."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError
from chainrule.train import history as history_module
from small import COLUMNS, QUIET, classifier, network, numbers, parameters, regressor, same, table

X, Y = table()
COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda trainer: pickle.loads(pickle.dumps(trainer)),  # our own bytes
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("backend", ["numpy", "xla"])
@pytest.mark.parametrize("how", COPIES)
def test_a_copy_trains_on_as_the_original_does(how: str, backend: str) -> None:
    trainer = classifier(nn.Dropout(0.3), backend=backend, optimizer=optim.Adam(0.02), schedule=optim.Step(1, 0.5))
    trainer.fit(X, Y, epochs=2, batch_size=16, **QUIET)
    twin = COPIES[how](trainer)
    before = parameters(trainer).copy()
    histories = [twin.fit(X, Y, epochs=2, batch_size=16, **QUIET)]
    assert (parameters(trainer) == before).all()
    histories.append(trainer.fit(X, Y, epochs=2, batch_size=16, **QUIET))
    assert same(twin, trainer)
    assert histories[0].step_loss == histories[1].step_loss
    assert histories[0].notes == []


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize(
    "loss", [nn.MSELoss(), nn.HuberLoss(), nn.BCEWithLogitsLoss(), nn.CrossEntropyLoss()], ids=repr
)
def test_every_usual_metric_goes_along(loss: nn.Loss, how: str) -> None:
    trainer = cr.Trainer(network(), loss, optim.Adam())
    assert [metric.name for metric in COPIES[how](trainer).metrics] == [metric.name for metric in trainer.metrics]


@pytest.mark.parametrize("how", COPIES)
def test_what_is_shared_stays_shared_in_a_copy(how: str) -> None:
    model = COPIES[how](tied())
    assert model[0] is model[2]
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias", "3.weight", "3.bias"]


def tied() -> nn.Sequential:
    cr.seed(0)
    shared = nn.Linear(COLUMNS, COLUMNS)
    return nn.Sequential(shared, nn.Tanh(), shared, nn.Linear(COLUMNS, 3))


def nested() -> nn.Sequential:
    cr.seed(0)
    block = nn.Sequential(nn.Linear(COLUMNS, COLUMNS), nn.BatchNorm(COLUMNS))
    return nn.Sequential(nn.Sequential(block, nn.Tanh()), block, block[0], nn.Linear(COLUMNS, 3))


def one_weight() -> nn.Sequential:
    cr.seed(0)
    model = nn.Sequential(nn.Linear(COLUMNS, COLUMNS), nn.Tanh(), nn.Linear(COLUMNS, COLUMNS), nn.Linear(COLUMNS, 3))
    model[2].weight = model[0].weight
    return model


@pytest.mark.parametrize("make", [tied, nested, one_weight])
def test_a_model_that_shares_is_saved_and_loaded_with_its_sharing(make: Any, tmp_path: Path) -> None:
    trainer = cr.Trainer(make(), nn.CrossEntropyLoss(), optim.Adam(0.01), backend="numpy")
    trainer.fit(X, Y, epochs=1, **QUIET)
    trainer.save(tmp_path / "run")
    loaded = cr.Trainer.load(tmp_path / "run")
    assert list(loaded.model.state_dict()) == list(trainer.model.state_dict())
    for each in (trainer, loaded):
        each.fit(X, Y, epochs=2, **QUIET)
    assert same(trainer, loaded)


def test_what_is_frozen_is_frozen_when_it_is_loaded(tmp_path: Path) -> None:
    trainer = classifier()
    trainer.model[0].weight.requires_grad = False
    trainer.fit(X, Y, epochs=1, **QUIET)
    trainer.save(tmp_path / "run")
    loaded = cr.Trainer.load(tmp_path / "run")
    assert [name for name, p in loaded.model.named_parameters() if not p.requires_grad] == ["0.weight"]
    assert loaded.fit(X, Y, epochs=1, **QUIET).notes == []
    assert (loaded.model[0].weight.numpy() == trainer.model[0].weight.numpy()).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"X": X + 1}, "X, y: differs from the checkpoint's"),
        ({"y": (Y + 1) % 3}, "X, y: differs from the checkpoint's"),
        ({"X": X[::-1]}, "X, y: differs from the checkpoint's"),
        ({"validation": (X[:20] + 1, Y[:20])}, "X, y: differs from the checkpoint's"),
        ({"batch_size": 25}, "batch_size: differs from the checkpoint's"),
        ({"shuffle": "never"}, "shuffle: differs from the checkpoint's"),
    ],
)
def test_other_rows_batches_or_orders_are_no_resumption(changed: Any, message: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"X": X, "y": Y, "validation": (X[:20], Y[:20]), "batch_size": 16, **QUIET}
    classifier().fit(**given, epochs=1, checkpoint=tmp_path / "c")
    trainer = classifier()
    before = parameters(trainer)
    with pytest.raises(ArgumentError, match=message):
        trainer.fit(**given | changed, epochs=2, checkpoint=tmp_path / "c", resume=True)
    assert (parameters(trainer) == before).all()
    assert trainer.fit(**given, epochs=2, checkpoint=tmp_path / "c", resume=True).epochs == 2


def test_a_stream_of_other_rows_is_no_resumption(tmp_path: Path) -> None:
    def stream(name: str, rows: Any) -> Any:
        np.savez(tmp_path / name, X=rows, y=numbers()[1])
        return cr.data.stream(tmp_path / f"{name}.npz")

    regressor(normalize="feature").fit(stream("a", X), epochs=1, checkpoint=tmp_path / "c", **QUIET)
    with pytest.raises(ArgumentError, match="differs from the checkpoint's"):
        regressor(normalize="feature").fit(
            stream("b", X + 1), epochs=2, checkpoint=tmp_path / "c", resume=True, **QUIET
        )


# ---- the losses of the steps


def test_the_losses_of_a_long_training_are_thinned_and_say_of_which_steps_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole, thin = (classifier(nn.Dropout(0.2)) for _ in range(2))
    every = whole.fit(X, Y, epochs=9, batch_size=7, **QUIET).step_loss
    monkeypatch.setattr(history_module, "MOST", 10)
    history = thin.fit(X, Y, epochs=9, batch_size=7, **QUIET)
    assert history.steps == len(every) == 72
    assert 5 < len(history.step_loss) <= 10
    assert list(history.step_loss) == [every[step - 1] for step in history.loss_steps]
    assert same(whole, thin)
    thin.save(tmp_path / "run")
    assert cr.Trainer.load(tmp_path / "run").history == history


def test_thinning_does_not_depend_on_how_the_steps_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "MOST", 16)
    losses = np.random.default_rng(0).normal(size=333)
    whole, parts = cr.History(), cr.History()
    whole.record(losses)
    for part in np.split(losses, [1, 2, 30, 31, 100, 250]):
        parts.record(part)
    assert whole == parts
    assert list(whole.step_loss) == losses[:: whole.step_loss_every].tolist()
    assert np.asarray(whole.step_loss).nbytes == 8 * len(whole.step_loss)
