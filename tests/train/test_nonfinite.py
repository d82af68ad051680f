"""A training that stops being finite says where, and keeps the parameters from before."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import DataError, NotFiniteError, OutOfRangeError
from chainrule.train.fit_loop import Loop
from small import QUIET, ROWS, network, parameters, table

BACKENDS = ["numpy", "xla"]


def exploding(backend: str, **settings: Any) -> cr.Trainer:
    """The exponential of what grows with every step overflows before anything else does."""
    model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Lambda(cr.exp))
    model.load_state_dict({"0.weight": np.ones((3, 4))})
    return cr.Trainer(model, nn.MSELoss(), optim.SGD(1e-3), backend=backend, **settings)


def kinked(backend: str, **settings: Any) -> cr.Trainer:
    """√(x − x): the value is finite and its gradient is not, so the first update spoils the parameters."""
    cr.seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Lambda(lambda x: cr.sqrt(x - x) + x), nn.Linear(8, 3))
    return cr.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(0.01), backend=backend, **settings)


class Gate(nn.Module):
    """√|g·x₀|, which has no slope where x₀ is 0."""

    def __init__(self) -> None:
        self.gate = nn.Parameter(np.ones(4, np.float32))

    def forward(self, x: Any) -> Any:
        return cr.sqrt(abs(self.gate * x[:, :1]))


def failure(trainer: cr.Trainer, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(NotFiniteError) as caught:
        trainer.fit(*args, **QUIET, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_overflow_names_step_layer_and_operation_and_the_last_finite_parameters_stay(backend: str) -> None:
    trainer = exploding(backend)
    X = np.full((ROWS, 4), 0.2, np.float32)
    X[30:] = 50.0
    message = failure(trainer, X, np.zeros((ROWS, 3)), epochs=3, batch_size=10, shuffle="never")
    assert message.startswith("step 4: the loss became inf in epoch 1, step 4 of 5")
    assert "first not finite in layer 1, operation exp" in message
    assert "keeps its parameters from before" in message
    assert len(trainer.history.step_loss) == 3
    assert np.isfinite(trainer.history.step_loss).all()
    assert np.isfinite(parameters(trainer)).all()
    assert trainer.steps == 3
    assert not (parameters(trainer) == 1).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_gradient_that_goes_bad_first_names_its_own_step_and_operation(backend: str) -> None:
    trainer = kinked(backend)
    before = parameters(trainer)
    message = failure(trainer, *table(), epochs=2, batch_size=16)
    assert message.startswith("step 1: the gradient became infinite or NaN in epoch 1, step 1 of 4")
    assert "first not finite in layer 1, operation adjoint_quotient (in the gradient)" in message
    assert np.array_equal(parameters(trainer), before)


@pytest.mark.parametrize("at", [1, 3])
def test_it_is_found_wherever_a_call_of_the_program_begins(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loop, "_pace", lambda self, seconds, steps: setattr(self, "steps_a_call", 1))
    X, y = table()
    X[:, 0] = 1.0
    X[16 * at : 16 * (at + 1), 0] = 0.0
    model = nn.Sequential(Gate(), nn.Linear(4, 3))
    trainer = cr.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(1e-3), backend="numpy")
    message = failure(trainer, X, y, epochs=2, batch_size=16, shuffle="never")
    assert message.startswith(f"step {at + 1}: the gradient became infinite or NaN in epoch 1, step {at + 1} of 4")
    assert "in layer 0, operation adjoint_quotient (in the gradient)" in message
    assert trainer.steps == at
    assert np.isfinite(parameters(trainer)).all()


def test_an_overflow_in_a_later_epoch_counts_the_steps_from_the_start() -> None:
    trainer = cr.Trainer(network(out=1), nn.MSELoss(), optim.SGD(1e3, momentum=0.9), backend="numpy")
    X, _ = table()
    message = failure(trainer, X, X[:, :1], epochs=200, batch_size=25)
    step = len(trainer.history.step_loss) + 1
    assert f"in epoch {(step - 1) // 2 + 1}, step {(step - 1) % 2 + 1} of 2" in message
    assert np.isfinite(parameters(trainer)).all()


def test_after_such_a_stop_a_lower_rate_trains_on() -> None:
    trainer = cr.Trainer(network(out=1), nn.MSELoss(), optim.SGD(1e3), backend="numpy")
    X, _ = table()
    failure(trainer, X, X[:, :1], epochs=200)
    other = cr.Trainer(network(out=1), nn.MSELoss(), optim.SGD(0.05), backend="numpy")
    history = other.fit(X, X[:, :1], epochs=20, **QUIET)
    assert history.loss[-1] < history.loss[0]
    assert np.isfinite(trainer.predict(X)).all()


def test_an_overflow_in_a_large_gradient_alone_is_said_one_step_later_as_lost_parameters() -> None:
    # Only small gradients are summed up in every step: here the bias's is finite and the 4,800 weights' is not.
    model = nn.Linear(8, 600)
    model.load_state_dict({"weight": np.full((600, 8), 1e-30), "bias": np.zeros(600)})
    trainer = cr.Trainer(model, nn.MSELoss(), optim.SGD(1e-3), backend="numpy")
    message = failure(trainer, np.full((16, 8), 1e30), np.full((16, 600), 1e12), epochs=2, batch_size=16)
    assert message.startswith("step 2: the loss became inf")
    assert "already not finite before this step, by the update of the step before: weight" in message
    assert "build the model again" in message


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_update_that_overflows_names_the_parameter_that_it_lost(backend: str) -> None:
    trainer = cr.Trainer(network(out=1), nn.MSELoss(), optim.SGD(1e38), backend=backend)
    X, _ = table()
    message = failure(trainer, X, 1e3 * X[:, :1], epochs=2, batch_size=16)
    assert message.startswith("step 2: ")
    assert "by the update of the step before: 0.weight" in message


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_label_outside_the_classes_of_a_loss_of_ones_own_stops_the_training_and_is_named(backend: str) -> None:
    X, y = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32), np.arange(64) % 3
    y[40] = 10
    entropy = nn.CrossEntropyLoss()
    for loss in (lambda o, t: entropy(o, t), lambda o, t: -(cr.one_hot(t, 3) * cr.log_softmax(o)).sum()):
        trainer = cr.Trainer(network(), loss, optim.SGD(0.01), backend=backend)
        with pytest.raises(OutOfRangeError, match=r"epoch 1, step 3 of 4, label: .* 0…2, got 10 in row 8 of the batch"):
            trainer.fit(X, y, batch_size=16, shuffle="never", epochs=2, **QUIET)
        assert np.isfinite(parameters(trainer)).all()


def test_rows_to_ignore_are_refused_by_a_training_which_counts_every_row() -> None:
    X, y = table()
    y = np.where(np.arange(len(y)) == 3, -100, y)
    with pytest.raises(DataError, match="leave out the rows to ignore"):
        cr.Trainer(network(), nn.CrossEntropyLoss(), optim.SGD(0.01)).fit(X, y, **QUIET)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_label_outside_the_classes_in_the_validation_is_named_too(backend: str) -> None:
    X, y = table()
    bad, entropy = np.where(np.arange(len(y)) == 4, 10, y), nn.CrossEntropyLoss()
    trainer = cr.Trainer(network(), lambda o, t: entropy(o, t), optim.SGD(0.01), backend=backend)
    with pytest.raises(OutOfRangeError, match=r"label: .* 0…2, got 10 in row 4"):
        trainer.fit(X, y, validation=(X, bad), epochs=2, **QUIET)
