"""A parameter with `requires_grad = False` stays as it is, whatever trains the others."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError
from small import COLUMNS, QUIET, ROWS, classifier, network, same, table

BACKENDS = ["numpy", "xla"]
X, Y = table()
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD, momentum, L2": {"optimizer": optim.SGD(0.1, momentum=0.9), "penalty": optim.L2(0.1)},
    "SGD, momentum, L1": {"optimizer": optim.SGD(0.1, momentum=0.9), "penalty": optim.L1(0.1, biases=True)},
    "Adam, clipped": {"optimizer": optim.Adam(0.1), "clip": optim.ClipNorm(0.5)},
    "AdamW": {"optimizer": optim.AdamW(0.1, weight_decay=0.5)},
    "Adamax": {"optimizer": optim.Adamax(0.1)},
    "Nadam": {"optimizer": optim.Nadam(0.1)},
    "AdaGrad": {"optimizer": optim.AdaGrad(0.1)},
    "RMSProp": {"optimizer": optim.RMSProp(0.1, momentum=0.5, centered=True)},
    "Adadelta": {"optimizer": optim.Adadelta()},
    "LBFGS": {"optimizer": optim.LBFGS()},
}


def freeze(module: nn.Module, on: bool = True) -> None:
    for parameter in module.parameters():
        parameter.requires_grad = not on


def moved(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before if not np.array_equal(before[name], after[name])}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_is_frozen_is_kept_by_every_optimizer_decay_and_penalty(name: str, backend: str) -> None:
    trainer = classifier(backend=backend, **OPTIMIZERS[name])
    freeze(trainer.model[0])
    before = trainer.model.state_dict()
    trainer.fit(X, Y, epochs=3, batch_size=ROWS, **QUIET)
    assert moved(before, trainer.model.state_dict()) == {"2.weight", "2.bias"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_the_last_layer_is_training_it_alone_on_what_the_first_gives(backend: str) -> None:
    whole = classifier(backend=backend, optimizer=optim.AdamW(0.05), clip=optim.ClipNorm(0.3), penalty=optim.L2(0.01))
    freeze(whole.model[0])
    features = np.tanh(X @ whole.model[0].weight.numpy().T + whole.model[0].bias.numpy())
    head = nn.Linear(8, 3)
    head.load_state_dict({"weight": whole.model[2].weight.numpy(), "bias": whole.model[2].bias.numpy()})
    alone = cr.Trainer(
        head,
        nn.CrossEntropyLoss(),
        optim.AdamW(0.05),
        clip=optim.ClipNorm(0.3),
        penalty=optim.L2(0.01),
        backend=backend,
    )
    for trainer, rows in ((whole, X), (alone, features)):
        trainer.fit(rows, Y, epochs=4, batch_size=16, **QUIET)
    assert np.allclose(whole.model[2].weight.numpy(), head.weight.numpy(), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_buffers_of_a_frozen_normalisation_still_move(backend: str) -> None:
    trainer = classifier(nn.BatchNorm(8), backend=backend)
    freeze(trainer.model[2])
    before = trainer.model.state_dict()
    trainer.fit(X, Y, epochs=1, **QUIET)
    found = moved(before, trainer.model.state_dict())
    assert {"2.running_mean", "2.running_var"} <= found
    assert not found & {"2.weight", "2.bias"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_freezing_and_thawing_between_trainings_takes_effect(backend: str) -> None:
    trainer = classifier(backend=backend)
    trainer.fit(X, Y, epochs=1, **QUIET)
    freeze(trainer.model[0])
    before = trainer.model.state_dict()
    assert trainer.fit(X, Y, epochs=1, **QUIET).notes == []
    assert moved(before, trainer.model.state_dict()) == {"2.weight", "2.bias"}
    freeze(trainer.model[0], on=False)
    before = trainer.model.state_dict()
    [note] = trainer.fit(X, Y, epochs=1, **QUIET).notes
    assert "the optimizer starts afresh" in note
    assert moved(before, trainer.model.state_dict()) == set(before)


def test_freezing_after_a_training_keeps_the_momentum_of_the_rest() -> None:
    frozen, whole = (classifier(optimizer=optim.SGD(1e-30, momentum=0.5)) for _ in range(2))
    for trainer in (frozen, whole):
        trainer.fit(X, Y, epochs=2, **QUIET)
    freeze(frozen.model[0])
    for trainer in (frozen, whole):
        trainer.fit(X, Y, epochs=1, **QUIET)
    assert list(frozen.optimizer_state["velocity"]) == ["2.weight", "2.bias"]
    for name, velocity in frozen.optimizer_state["velocity"].items():
        assert np.allclose(velocity, whole.optimizer_state["velocity"][name], rtol=1e-5, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_with_nothing_to_train_is_refused(backend: str) -> None:
    trainer = classifier(backend=backend)
    freeze(trainer.model)
    with pytest.raises(ArgumentError, match="nothing to train: every parameter is frozen"):
        trainer.fit(X, Y, **QUIET)
    with pytest.raises(ArgumentError, match="nothing to train"):
        trainer.estimate(X, Y)
    assert trainer.evaluate(X, Y)["loss"] > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sweep_freezes_too(backend: str) -> None:
    def model() -> nn.Sequential:
        made = network()
        freeze(made[0])
        return made

    grid = {"lr": [0.01, 0.1], "seed": [0]}
    sweep = cr.Sweep(model, nn.CrossEntropyLoss(), lambda lr: optim.AdamW(lr, weight_decay=0.5), grid, backend=backend)
    result = sweep.fit(X, Y, epochs=2, **QUIET)
    for trial in result.trials:
        assert moved(model().state_dict(), trial.weights) == {"2.weight", "2.bias"}
        alone = sweep.trainer(trial.config)
        alone.fit(X, Y, epochs=2, **QUIET)
        assert np.allclose(alone.model.state_dict()["2.weight"], trial.weights["2.weight"], atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_head_that_replaces_another_begins_with_a_fresh_optimizer(backend: str) -> None:
    trainer = classifier(backend=backend)
    trainer.fit(X, Y, epochs=1, **QUIET)
    trainer.model.layers[2] = nn.Linear(8, 2)
    [note] = trainer.fit(X, Y % 2, epochs=1, **QUIET).notes
    assert "the optimizer starts afresh" in note
    assert trainer.predict(X).shape == (ROWS, 2)
    assert trainer.optimizer_state["mean"]["2.weight"].shape == (2, 8)


def test_a_head_of_the_same_shape_is_seen_too() -> None:
    trainer = classifier()
    trainer.fit(X, Y, epochs=1, **QUIET)
    trainer.model.layers[2] = nn.Linear(8, 3)
    [note] = trainer.fit(X, Y, epochs=1, **QUIET).notes
    assert "the optimizer starts afresh" in note


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_optimizer_begins_anew(backend: str) -> None:
    trainer = classifier(backend=backend)
    trainer.fit(X, Y, epochs=1, **QUIET)
    trainer.optimizer = optim.SGD(0.1, momentum=0.9)
    [note] = trainer.fit(X, Y, epochs=1, **QUIET).notes
    assert "the optimizer starts afresh" in note
    assert list(trainer.optimizer_state) == ["velocity"]


class Grouped(optim.Optimizer):
    """Plain descent of everything but the first layer."""

    def init(self, parameters: Any) -> dict[str, Any]:
        return {}

    def update(self, gradients: Any, state: Any, parameters: Any, lr: Any = None) -> Any:
        rate = {name: 0.0 if name.startswith("0.") else 1.0 for name in parameters}
        return {name: w - gradients[name] * lr * rate[name] for name, w in parameters.items()}, state


class Halved(optim.SGD):
    """A subclass of ours that tells parameters apart."""

    def update(self, gradients: Any, state: Any, parameters: Any, lr: Any = None) -> Any:
        return super().update({name: g * 0.5 for name, g in gradients.items()}, state, parameters, lr)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_optimizer_of_ones_own_gets_the_parameters_by_path(backend: str) -> None:
    trainer, half, full = (
        classifier(backend=backend, optimizer=optimizer)
        for optimizer in (Grouped(0.1), Halved(0.2, momentum=0.5), optim.SGD(0.1, momentum=0.5))
    )
    before = trainer.model.state_dict()
    for each in (trainer, half, full):
        each.fit(X, Y, epochs=1, batch_size=16, **QUIET)
    assert moved(before, trainer.model.state_dict()) == {"2.weight", "2.bias"}
    assert np.allclose(half.model[0].weight.numpy(), full.model[0].weight.numpy(), atol=1e-6)


class Forgetful(Grouped):
    """Leaves a parameter out of what it gives back."""

    def update(self, gradients: Any, state: Any, parameters: Any, lr: Any = None) -> Any:
        return {name: w for name, w in parameters.items() if name != "0.bias"}, state


def test_an_update_that_gives_back_other_parameters_is_refused() -> None:
    trainer = classifier(optimizer=Forgetful(0.1))
    with pytest.raises(ArgumentError, match=r"Forgetful\.update: the parameters it returns have other shapes"):
        trainer.fit(X, Y, **QUIET)


def test_a_frozen_parameter_is_read_anew_by_a_compiled_function() -> None:
    layer = nn.Linear(COLUMNS, 2)
    freeze(layer)
    f = cr.compile(lambda x: layer(x), backend="numpy")
    first = f(X[:3]).numpy()
    layer.load_state_dict({name: 2 * value for name, value in layer.state_dict().items()})
    assert np.allclose(f(X[:3]).numpy(), 2 * first, rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_program_serves_every_learning_rate(backend: str) -> None:
    changed, made = (classifier(backend=backend, optimizer=optim.SGD(lr)) for lr in (0.1, 0.01))
    changed.fit(X, Y, epochs=1, **QUIET)
    made.model.load_state_dict(changed.model.state_dict())
    made.epochs, made.steps = changed.epochs, changed.steps
    changed.optimizer.lr = 0.01
    second = changed.fit(X, Y, epochs=1, **QUIET)
    made.fit(X, Y, epochs=1, **QUIET)
    assert second.lr == [0.01]
    assert second.trace_seconds == second.compile_seconds == 0
    assert same(changed, made)
