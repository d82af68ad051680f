"""A program follows what is changed between two trainings, between two uses, and by callbacks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.backends import interpreter
from small import CLASSES, COLUMNS, QUIET, classifier, network, parameters, same, table

BACKENDS = ["numpy", "xla"]
X, Y = table()
ONEHOT = np.eye(CLASSES)[Y]
TINY = 1e-30
"""A rate too small to change anything, so that the loss of an epoch is that of the model as it was."""


class Tempered(nn.Module):
    """A model with an attribute that is a plain number."""

    def __init__(self) -> None:
        cr.seed(0)
        self.inner = nn.Linear(COLUMNS, CLASSES)
        self.temperature = 1.0
        self.shift = np.zeros(CLASSES)

    def forward(self, x: Any) -> Any:
        return self.inner(x) * self.temperature + cr.tensor(self.shift, dtype="float32")


class Weighted(nn.Module):
    """A loss with an attribute."""

    weight = 1.0

    def forward(self, output: Any, target: Any) -> Any:
        return ((output - target) ** 2).mean() * self.weight


class Decay(optim.Penalty):
    """A penalty of one's own."""

    def gradient(self, gradients: Any, parameters: Any) -> Any:
        return {name: g + parameters[name] * self.alpha for name, g in gradients.items()}


def trainer_of(model: nn.Module, loss: Any, backend: str, lr: float = TINY, **more: Any) -> cr.Trainer:
    return cr.Trainer(model, loss, optim.SGD(lr), backend=backend, **more)


def own_model(backend: str) -> tuple[cr.Trainer, Callable[[], None]]:
    model = Tempered()
    return trainer_of(model, nn.CrossEntropyLoss(), backend), lambda: setattr(model, "temperature", 30.0)


def own_array(backend: str) -> tuple[cr.Trainer, Callable[[], None]]:
    model = Tempered()
    return trainer_of(model, nn.CrossEntropyLoss(), backend), lambda: model.shift.__setitem__(0, 30.0)


def own_loss(backend: str) -> tuple[cr.Trainer, Callable[[], None]]:
    loss = Weighted()
    return trainer_of(network(), loss, backend), lambda: setattr(loss, "weight", 30.0)


def closure(backend: str) -> tuple[cr.Trainer, Callable[[], None]]:
    weights = np.ones(CLASSES, np.float32)

    def loss(output: Any, target: Any) -> Any:
        return (cr.square(output - target) * cr.tensor(weights)).mean()

    return trainer_of(network(), loss, backend), lambda: weights.__setitem__(slice(None), 30.0)


def layer_of_ours(backend: str) -> tuple[cr.Trainer, Callable[[], None]]:
    model = network(nn.LeakyReLU(0.1))
    return trainer_of(model, nn.CrossEntropyLoss(), backend), lambda: setattr(model[2], "negative_slope", 30.0)


def method_put_in_place(backend: str) -> tuple[cr.Trainer, Callable[[], None]]:
    model = network(nn.ReLU())
    return trainer_of(model, nn.CrossEntropyLoss(), backend), lambda: setattr(model[2], "forward", lambda x: x * 30.0)


def replaced_layer(backend: str) -> tuple[cr.Trainer, Callable[[], None]]:
    model = network(nn.ReLU())
    return trainer_of(model, nn.CrossEntropyLoss(), backend), lambda: model.layers.__setitem__(2, nn.LeakyReLU(30.0))


CHANGES = [own_model, own_array, own_loss, closure, layer_of_ours, method_put_in_place, replaced_layer]


def targets(trainer: cr.Trainer) -> Any:
    return Y if isinstance(trainer.loss, nn.CrossEntropyLoss) else ONEHOT


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CHANGES)
def test_what_the_user_changes_between_two_trainings_counts(case: Any, backend: str) -> None:
    trainer, change = case(backend)
    y = targets(trainer)
    before = trainer.evaluate(X, y)["loss"]
    first = trainer.fit(X, y, epochs=1, **QUIET)
    change()
    second = trainer.fit(X, y, epochs=1, **QUIET)
    output = trainer.model.eval()(X)
    after = trainer.loss(output, y if y.ndim == 1 else y.astype(np.float32)).item()
    assert first.loss == pytest.approx([before], rel=1e-5)
    assert second.loss == pytest.approx([after], rel=1e-4)
    assert trainer.evaluate(X, y)["loss"] == pytest.approx(after, rel=1e-4)
    assert np.allclose(trainer.predict(X), output.numpy(), rtol=1e-4, atol=1e-5)
    assert abs(after - before) > 0.1 * before


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CHANGES)
def test_what_a_callback_changes_counts_from_the_next_epoch_on(case: Any, backend: str) -> None:
    trainer, change = case(backend)
    y = targets(trainer)
    history = trainer.fit(X, y, epochs=3, callbacks=[lambda t: change() if t.epochs == 1 else None], **QUIET)
    assert history.loss[1:] == pytest.approx([trainer.evaluate(X, y)["loss"]] * 2, rel=1e-4)
    assert abs(history.loss[0] - history.loss[1]) > 0.1 * history.loss[0]


def test_a_penalty_of_ones_own_is_followed() -> None:
    penalty = Decay(0.0)
    changed, other = (classifier(optimizer=optim.SGD(0.1), penalty=p) for p in (penalty, Decay(0.5)))
    changed.fit(X, Y, epochs=1, **QUIET)
    other.model.load_state_dict(changed.model.state_dict())
    other.epochs, other.steps = changed.epochs, changed.steps
    penalty.alpha = 0.5
    for trainer in (changed, other):
        trainer.fit(X, Y, epochs=1, **QUIET)
    assert same(changed, other)


@pytest.mark.parametrize("name", ["seed", "metrics"])
def test_a_setting_of_the_trainer_is_followed(name: str) -> None:
    trainer = classifier(nn.Dropout(0.5))
    first = trainer.fit(X, Y, epochs=1, **QUIET)
    trainer.metrics = []
    assert list(first.metrics) == ["accuracy"]
    assert trainer.fit(X, Y, epochs=1, **QUIET).metrics == {}


def test_a_part_of_ones_own_that_has_not_changed_keeps_its_program(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    original = interpreter.compile_loops
    monkeypatch.setattr(interpreter, "compile_loops", lambda looping: made.append(1) or original(looping))
    trainer, change = own_model("numpy")
    for _ in range(3):
        trainer.fit(X, Y, epochs=2, callbacks=[lambda t: None], **QUIET)
    assert len(made) == 1
    change()
    trainer.fit(X, Y, epochs=2, **QUIET)
    assert len(made) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_that_a_callback_sets_are_trained_on(backend: str) -> None:
    trainer = classifier(optimizer=optim.SGD(TINY), backend=backend)

    def zero(trainer: cr.Trainer) -> None:
        trainer.model.load_state_dict({k: np.zeros_like(v) for k, v in trainer.model.state_dict().items()})

    history = trainer.fit(X, Y, epochs=3, callbacks=[zero], **QUIET)
    assert history.loss[1:] == pytest.approx([np.log(CLASSES)] * 2)
    assert history.stopped == "finished"
    assert not parameters(trainer).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_buffers_and_early_stopping_go_along_with_callbacks_that_set_weights(backend: str) -> None:
    trainer = classifier(nn.BatchNorm(8), backend=backend)

    def scale(trainer: cr.Trainer) -> None:
        trainer.model[2].load_state_dict({**trainer.model[2].state_dict(), "running_mean": np.full(8, 7.0)})

    trainer.fit(X, Y, epochs=2, callbacks=[scale], validation=table(20, 1), early_stopping=5, **QUIET)
    held = trainer.fit(X, Y, epochs=1, callbacks=[scale], **QUIET)
    assert held.epochs == 1
    assert trainer.model[2].running_mean.numpy() == pytest.approx(np.full(8, 7.0))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_rate_that_a_callback_sets_is_used_and_written_down(backend: str) -> None:
    trainer = classifier(optimizer=optim.SGD(0.5), backend=backend)

    def halve(trainer: cr.Trainer) -> None:
        trainer.optimizer.lr *= 0.5

    history = trainer.fit(X, Y, epochs=3, batch_size=16, callbacks=[halve], **QUIET)
    assert history.lr == [0.5, 0.25, 0.125]
    by_schedule = classifier(optimizer=optim.SGD(0.5), schedule=optim.Exponential(0.5), backend=backend)
    by_schedule.fit(X, Y, epochs=3, batch_size=16, **QUIET)
    assert np.allclose(parameters(trainer), parameters(by_schedule), atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_callback_freezes(backend: str) -> None:
    trainer, seen = classifier(backend=backend), []

    def freeze(trainer: cr.Trainer) -> None:
        seen.append(trainer.model.state_dict())
        trainer.model[0].weight.requires_grad = False

    trainer.fit(X, Y, epochs=3, callbacks=[freeze], **QUIET)
    assert (seen[0]["0.weight"] == seen[2]["0.weight"]).all()
    assert (seen[0]["0.bias"] != seen[2]["0.bias"]).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_callback_that_changes_nothing_changes_nothing(backend: str) -> None:
    watched, alone = (classifier(nn.Dropout(0.3), backend=backend) for _ in range(2))
    watched.fit(X, Y, epochs=3, batch_size=16, callbacks=[lambda trainer: None], **QUIET)
    alone.fit(X, Y, epochs=3, batch_size=16, **QUIET)
    assert same(watched, alone)


def test_a_training_that_a_callback_has_stopped_says_so() -> None:
    assert classifier().fit(X, Y, epochs=9, callbacks=[lambda trainer: True], **QUIET).stopped == "callback"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_parameter_of_the_loss_is_used_as_it_is_and_said_not_to_be_trained(backend: str) -> None:
    scale = nn.Parameter(np.float32(2.0))
    trainer = trainer_of(network(), lambda o, t: ((o - t) ** 2).mean() * scale, backend, lr=0.1)
    half = trainer_of(network(), lambda o, t: ((o - t) ** 2).mean() * 2.0, backend, lr=0.1)
    [note] = trainer.fit(X, ONEHOT, epochs=2, **QUIET).notes
    half.fit(X, ONEHOT, epochs=2, **QUIET)
    assert "not trained" in note
    assert scale.item() == 2.0
    assert np.allclose(parameters(trainer), parameters(half), atol=1e-6)


@pytest.mark.parametrize("during", [False, True])
def test_a_parameter_that_is_replaced_is_trained_in_place_of_the_old_one(during: bool) -> None:
    trainer = classifier()
    trainer.fit(X, Y, epochs=1, **QUIET)
    old = trainer.model[0].weight

    def replace(trainer: cr.Trainer) -> None:
        if trainer.model[0].weight is old:
            trainer.model[0].weight = nn.Parameter(old.numpy())

    before = old.numpy()
    if during:
        trainer.fit(X, Y, epochs=2, callbacks=[replace], **QUIET)
        before = old.numpy()
    replace(trainer)
    trainer.fit(X, Y, epochs=1, **QUIET)
    assert trainer.model[0].weight is not old
    assert (old.numpy() == before).all()
    assert not (trainer.model[0].weight.numpy() == before).any()


def test_an_optimizer_in_place_of_an_equal_one_has_its_own_rate() -> None:
    trainer = classifier(optimizer=optim.SGD(0.5))
    assert trainer.fit(X, Y, epochs=1, **QUIET).lr == [0.5]
    trainer.optimizer = optim.SGD(0.25)
    assert trainer.fit(X, Y, epochs=1, **QUIET).lr == [0.25]


def test_a_parameter_frozen_between_two_trainings_stays_and_thaws_again() -> None:
    trainer = classifier()
    trainer.fit(X, Y, epochs=1, **QUIET)
    weight = trainer.model[0].weight
    for frozen in (True, False):
        weight.requires_grad, before = not frozen, weight.numpy()
        trainer.fit(X, Y, epochs=1, **QUIET)
        assert (weight.numpy() == before).all() == frozen
