"""Predictions and evaluations: the model's own outputs, whatever is filled up or kept between calls."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import backends, nn, optim
from chainrule.train import inference
from small import CLASSES, COLUMNS, QUIET, ROWS, classifier, network, table

BACKENDS = ["numpy", "xla"]
X, Y = table()


class Centred(nn.Module):
    """Mixes rows: each is compared with the mean of all."""

    def __init__(self) -> None:
        cr.seed(0)
        self.inner = nn.Linear(COLUMNS, CLASSES)

    def forward(self, x: Any) -> Any:
        return cr.softmax(self.inner(x - x.mean(axis=0)), axis=0)


class Counting(Centred):
    """Knows how many rows there are."""

    def forward(self, x: Any) -> Any:
        return self.inner(x) * (1.0 / x.shape[0])


class Several(Centred):
    """Gives a dict with a tuple in it, and a number that is not of the rows."""

    def forward(self, x: Any) -> Any:
        y = self.inner(x)
        return {"logits": y, "more": (y[:, 0], [cr.relu(y)]), "size": cr.square(self.inner.weight).sum()}


def trainer_of(model: nn.Module, backend: str, loss: Any = None) -> cr.Trainer:
    return cr.Trainer(model, loss or nn.CrossEntropyLoss(), optim.SGD(0.1), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("make", [network, Centred, Counting])
@pytest.mark.parametrize("rows", [1, 2, 3, 31, 33, 50])
def test_a_prediction_is_what_the_model_gives_for_all_the_rows(
    make: Any, rows: int, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "BLOCK", 32)
    model = make()
    trainer = trainer_of(model, backend)
    assert np.allclose(trainer.predict(X[:rows]), model.eval()(X[:rows]).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("make", [network, Centred, Counting])
def test_an_evaluation_is_the_loss_of_the_models_outputs(
    make: Any, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "BLOCK", 32)
    model = make()
    trainer = trainer_of(model, backend)
    for rows in (1, 33, 50):
        output = model.eval()(X[:rows])
        found = trainer.evaluate(X[:rows], Y[:rows])
        assert found["loss"] == pytest.approx(trainer.loss(output, Y[:rows]).item(), rel=1e-5)
        assert found["accuracy"] == pytest.approx((output.numpy().argmax(1) == Y[:rows]).mean())


def test_rows_that_are_filled_up_change_no_bit_of_a_layer() -> None:
    trainer = classifier(backend="xla")
    whole = trainer.predict(X[:32])
    for rows in (17, 20, 31):
        assert trainer.predict(X[:rows]).tobytes() == whole[:rows].tobytes()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_structure_of_outputs_is_predicted_and_trained_on(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "BLOCK", 16)
    model = Several()

    def loss(output: Any, target: Any) -> Any:
        return cr.mean(cr.cross_entropy(output["logits"], target)) + 0.01 * output["size"] + output["more"][0].mean()

    trainer = trainer_of(model, backend, loss)
    before = trainer.evaluate(X, Y)["loss"]
    history = trainer.fit(X, Y, epochs=5, batch_size=25, validation=(X, Y), **QUIET)
    assert history.val_loss[-1] < before
    assert trainer.evaluate(X, Y)["loss"] == pytest.approx(history.val_loss[-1], rel=1e-4)
    found, expected = trainer.predict(X), model.eval()(X)
    assert list(found) == ["logits", "more", "size"]
    assert isinstance(found["more"], tuple)
    assert isinstance(found["more"][1], list)
    for a, b in zip(cr.tree.flatten(found)[0], cr.tree.flatten(expected)[0], strict=True):
        assert isinstance(a, np.ndarray)
        assert np.allclose(a, b.numpy(), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_programs_are_kept_and_bounded_in_number(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    module = backends.get(backend)
    original = module.compile_graph
    monkeypatch.setattr(module, "compile_graph", lambda graph: made.append(graph) or original(graph))
    monkeypatch.setattr(inference, "KEPT", 4)
    trainer = classifier(backend=backend)
    for _ in range(5):
        trainer.predict(X)
        trainer.evaluate(X, Y)
    kept = len(made)
    assert kept <= 3
    for rows in range(1, ROWS):
        trainer.predict(X[:rows])
    assert len(trainer.inference._kept) <= 4
    if backend == "xla":
        assert len(made) <= kept + 7


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_weights_count_in_the_next_prediction(backend: str) -> None:
    trainer = classifier(backend=backend)
    trainer.predict(X)
    trainer.model.load_state_dict({k: np.zeros_like(v) for k, v in trainer.model.state_dict().items()})
    assert not trainer.predict(X).any()
    assert trainer.evaluate(X, Y)["loss"] == pytest.approx(np.log(CLASSES))


class Noisy(nn.Module):
    """Draws in inference too."""

    def forward(self, x: Any) -> Any:
        return x + cr.random.normal(x.shape)


def test_a_model_that_draws_gives_other_numbers_each_time_and_the_generator_is_left_alone_else() -> None:
    model = nn.Sequential(nn.Linear(COLUMNS, CLASSES), Noisy())
    trainer = trainer_of(model, "numpy")
    assert (trainer.predict(X) != trainer.predict(X)).any()
    cr.seed(3)
    expected = nn.Linear(2, 2).weight.numpy()
    plain = classifier()
    cr.seed(3)
    plain.predict(X)
    assert (nn.Linear(2, 2).weight.numpy() == expected).all()
