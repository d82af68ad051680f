"""Batches as a loader gives them are trained on as they come, to the same bits as the same rows in arrays."""

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError, ChainruleError, DataError, TrainingWarning
from chainrule.train.loaders import given_batches as batches
from small import CLASSES, QUIET, ROWS, classifier, network, parameters, regressor, same, table

BACKENDS = ["numpy", "xla"]
SIZE = 8
X, Y = table()
HELD = table(30, seed=1)
WEIGHT = np.linspace(0.5, 2.0, ROWS)


def cut(*arrays: Any, size: int = SIZE) -> list[tuple[Any, ...]]:
    """Arrays of rows as batches; the last one is smaller."""
    return [tuple(array[i : i + size] for array in arrays) for i in range(0, len(arrays[0]), size)]


class Loader:
    """What can be gone through again and again, and tells how often it has been."""

    def __init__(self, given: list[Any]) -> None:
        self.given, self.passes = given, 0

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        return iter(self.given)


FORMS: dict[str, Callable[[], Any]] = {
    "a list": lambda: cut(X, Y),
    "lists in a list": lambda: [list(batch) for batch in cut(X, Y)],
    "a loader": lambda: Loader(cut(X, Y)),
    "a generator function": lambda: lambda: iter(cut(X, Y)),
}


@pytest.fixture(params=["in one chunk", "in chunks of two"])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many batches are put together for a call."""
    if request.param != "in one chunk":
        row = X[:1].nbytes + 4
        monkeypatch.setattr(batches, "CHUNK", 2 * SIZE * row)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize(("form", "backend"), [*((form, "numpy") for form in FORMS), ("a loader", "xla")])
def test_batches_train_as_their_rows_in_that_order_do(form: str, backend: str) -> None:
    loaded, plain = (classifier(nn.Dropout(0.2), backend=backend, normalize="feature") for _ in range(2))
    first = loaded.fit(FORMS[form](), epochs=3, validation=HELD, **QUIET)
    second = plain.fit(X, Y, epochs=3, batch_size=SIZE, shuffle="never", validation=HELD, **QUIET)
    np.testing.assert_allclose(loaded.standardizer.mean, plain.standardizer.mean, rtol=1e-12)  # type: ignore[union-attr]
    np.testing.assert_allclose(parameters(loaded), parameters(plain), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(first.val_loss, second.val_loss, rtol=1e-6)
    np.testing.assert_allclose(first.metrics["accuracy"], second.metrics["accuracy"])


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("backend", BACKENDS)
def test_to_the_bit(backend: str) -> None:
    loaded, plain = (classifier(backend=backend) for _ in range(2))
    first = loaded.fit(cut(X, Y), epochs=3, **QUIET)
    second = plain.fit(X, Y, epochs=3, batch_size=SIZE, shuffle="never", **QUIET)
    assert same(loaded, plain)
    assert (first.loss, first.step_loss, dict(first.metrics)) == (second.loss, second.step_loss, dict(second.metrics))


@pytest.mark.usefixtures("chunk")
def test_each_epoch_gets_the_batches_of_its_own_pass() -> None:
    """Augmented ones, say: the training is that of one epoch after another on other rows."""
    passes: list[int] = []

    def augmented() -> Iterator[Any]:
        passes.append(len(passes))
        yield from cut(X + np.float32(0.1) * passes[-1], Y)

    loaded, plain = classifier(), classifier()
    loaded.fit(augmented, epochs=3, **QUIET)
    for i in range(1, 4):
        plain.fit(X + np.float32(0.1) * i, Y, epochs=1, batch_size=SIZE, shuffle="never", **QUIET)
    assert passes == [0, 1, 2, 3]
    assert same(loaded, plain)


@pytest.mark.usefixtures("chunk")
def test_a_loader_is_begun_after_the_callbacks_of_the_epoch_before() -> None:
    seen = []
    loader = Loader(cut(X, Y))

    def note(trainer: cr.Trainer) -> None:
        seen.append(loader.passes)

    classifier().fit(loader, epochs=3, callbacks=[note], **QUIET)
    assert seen == [2, 3, 4]


def test_a_generator_serves_one_epoch() -> None:
    loaded, plain = classifier(), classifier()
    loaded.fit(iter(cut(X, Y)), epochs=1, **QUIET)
    plain.fit(X, Y, epochs=1, batch_size=SIZE, shuffle="never", **QUIET)
    assert same(loaded, plain)
    with pytest.raises(ArgumentError, match="can be iterated over only once; give the function that makes it"):
        classifier().fit(iter(cut(X, Y)), epochs=2, **QUIET)
    with pytest.raises(ArgumentError, match="can be iterated over only once"):
        classifier().estimate(iter(cut(X, Y)), epochs=1)


@pytest.mark.usefixtures("chunk")
def test_a_third_member_is_the_weights() -> None:
    loaded, plain = classifier(), classifier()
    loaded.fit(cut(X, Y, WEIGHT), epochs=2, validation=(*HELD, np.ones(30)), **QUIET)
    plain.fit(
        X, Y, epochs=2, batch_size=SIZE, shuffle="never", sample_weight=WEIGHT, validation=(*HELD, np.ones(30)), **QUIET
    )
    np.testing.assert_allclose(parameters(loaded), parameters(plain), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(loaded.history.loss, plain.history.loss, rtol=1e-6)
    np.testing.assert_allclose(loaded.history.metrics["val_accuracy"], plain.history.metrics["val_accuracy"])


def test_what_is_validated_on_may_be_batches() -> None:
    loaded, plain, rows = classifier(), classifier(), classifier()
    settings: dict[str, Any] = {"epochs": 6, "early_stopping": 2, **QUIET}
    loaded.fit(cut(X, Y), validation=Loader(cut(*HELD)), **settings)
    plain.fit(cut(X, Y), validation=HELD, **settings)
    rows.fit(X, Y, batch_size=SIZE, shuffle="never", validation=cut(*HELD), **settings)
    assert loaded.history.val_loss == plain.history.val_loss == rows.history.val_loss
    assert loaded.history.best_epoch == plain.history.best_epoch


class Two(nn.Module):
    """Two inputs and two outputs by name."""

    def __init__(self) -> None:
        self.body, self.kind, self.price = network(out=8), nn.Linear(8, CLASSES), nn.Linear(8, 1)

    def forward(self, x: Any) -> Any:
        """Both outputs."""
        h = self.body(cr.concatenate([x["a"], x["b"]], 1))
        return {"kind": self.kind(h), "price": self.price(h)}


@pytest.mark.usefixtures("chunk")
def test_batches_may_be_of_several_inputs_by_name() -> None:
    def made() -> cr.Trainer:
        cr.seed(0)
        losses = {"kind": nn.CrossEntropyLoss(), "price": nn.MSELoss()}
        return cr.Trainer(Two(), losses, optim.Adam(0.02), backend="numpy")

    rows, targets = {"a": X[:, :1], "b": X[:, 1:]}, {"kind": Y, "price": X[:, :1]}
    given = [
        ({k: v[i : i + SIZE] for k, v in rows.items()}, {k: v[i : i + SIZE] for k, v in targets.items()})
        for i in range(0, ROWS, SIZE)
    ]
    loaded, plain = made(), made()
    loaded.fit(given, epochs=2, validation=given, **QUIET)
    plain.fit(rows, targets, epochs=2, batch_size=SIZE, shuffle="never", validation=(rows, targets), **QUIET)
    assert same(loaded, plain)
    assert loaded.history.val_loss == plain.history.val_loss


@pytest.mark.usefixtures("chunk")
def test_a_training_goes_on_from_the_end_of_an_epoch(tmp_path: Path) -> None:
    whole, broken, resumed = classifier(), classifier(), classifier()
    whole.fit(cut(X, Y), epochs=4, **QUIET)

    def stop(trainer: cr.Trainer) -> bool:
        return len(trainer.history.loss) == 2

    broken.fit(cut(X, Y), epochs=4, callbacks=[stop], checkpoint=tmp_path / "c", **QUIET)
    resumed.fit(cut(X, Y), epochs=4, checkpoint=tmp_path / "c", resume=True, **QUIET)
    assert same(whole, resumed)
    assert whole.history.loss == resumed.history.loss


class Midway(cr.Callback):
    """It stops the training within its second epoch."""

    every = 1

    def on_step_end(self, trainer: cr.Trainer) -> bool:
        """Stop after the tenth step."""
        return trainer.steps >= 10


def test_a_checkpoint_is_never_of_the_midst_of_an_epoch(tmp_path: Path) -> None:
    whole, broken, resumed = classifier(), classifier(), classifier()
    whole.fit(cut(X, Y), epochs=3, **QUIET)
    broken.fit(cut(X, Y), epochs=3, callbacks=[Midway()], checkpoint=tmp_path / "c", **QUIET)
    assert (broken.steps, cr.Trainer.load(tmp_path / "c").steps) == (10, 7)
    resumed.fit(cut(X, Y), epochs=3, checkpoint=tmp_path / "c", resume=True, **QUIET)
    assert same(whole, resumed)


def test_the_estimate_counts_the_chunks() -> None:
    trainer = classifier()
    stated = trainer.estimate(cut(X, Y), epochs=3)
    assert stated.data >= 2 * (X.nbytes + 4 * ROWS)
    assert trainer.standardizer is None


def test_the_loader_is_let_go_of() -> None:
    loader = Loader(cut(X, Y))
    held = weakref.ref(loader)
    trainer = classifier()
    trainer.fit(loader, epochs=2, **QUIET)
    del loader
    assert held() is None


def test_labels_that_come_sorted_are_told() -> None:
    order = np.argsort(Y)
    with pytest.warns(TrainingWarning, match="labels are sorted.*shuffle what the batches are made of"):
        classifier().fit(cut(X[order], Y[order]), epochs=1, **QUIET)


BAD = X.copy()
BAD[9, 2] = np.inf


@pytest.mark.parametrize(
    ("given", "settings", "message"),
    [
        (cut(BAD, Y), {}, "batch 1, X: not a finite number: got inf at row 1, column 2"),
        (cut(X, Y + 1), {}, "y: labels outside the model's classes"),
        ([(X[:8], Y[:7])], {}, "batch 0: X and y differ in length|X and y differ in length"),
        ([*cut(X, Y), (X[:8], Y[:8])], {}, "batch 6: batches of different sizes: expected 8 rows.*got 2"),
        ([(X[:8], Y[:8]), (X, Y)], {}, "batch 1: batches of different sizes: expected 8 rows.*got 50"),
        ([(X[:8], Y[:8]), (X[:8, :3], Y[:8])], {}, "batch 1: not built like the first batch"),
        ([(X[:8], Y[:8]), (X[:8], Y[:8], WEIGHT[:8])], {}, "batch 1: not built like the first batch"),
        (iter([]), {"epochs": 1}, "there are no batches"),
        (iter([X]), {"epochs": 1}, r"batch 0: not a batch: expected \(X, y\) or \(X, y, weight\), got a ndarray"),
        (cut(X, Y), {"batch_size": 4}, "batch_size: the batches have their own size"),
        (cut(X, Y), {"shuffle": "once"}, "shuffle: the batches come in their own order"),
        (cut(X, Y), {"validation": 0.1}, "validation: no rows can be held out of batches"),
        (cut(X, Y), {"sample_weight": WEIGHT}, r"give batches of \(X, y, weight\)"),
        (cut(X, Y), {"class_weight": "balanced"}, r"give batches of \(X, y, weight\)"),
        (Loader(cut(X, Y)), {"y": Y}, "y: batches have their own targets"),
    ],
)
def test_what_does_not_fit_is_said_before_any_step(given: Any, settings: Any, message: str) -> None:
    trainer = classifier()
    before = parameters(trainer).copy()
    with pytest.raises(ChainruleError, match=message):
        trainer.fit(given, **{"epochs": 2, **settings}, **QUIET)
    assert (parameters(trainer) == before).all()


def test_an_optimizer_that_needs_all_rows_refuses_batches() -> None:
    with pytest.raises(ArgumentError, match="LBFGS needs all rows"):
        regressor(optim.LBFGS()).fit(cut(X, X[:, :1]), epochs=2, **QUIET)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize(
    ("later", "message"),
    [
        (cut(X, Y)[:-1], "fewer batches than in the pass before"),
        ([*cut(X, Y), cut(X, Y)[-1]], "epoch 1: more batches than in the previous pass"),
        (cut(X, np.where(Y == 2, 7, Y)), "y: labels outside the model's classes"),
        (cut(BAD, Y), "batch 1 of epoch 1, X: not a finite number"),
        ([*cut(X, Y)[:-2], cut(X, Y)[-1], cut(X, Y)[-1]], "batch 5 of epoch 1: not of the size it had"),
    ],
)
def test_another_pass_is_checked_too(later: Any, message: str) -> None:
    passes = iter([cut(X, Y), later])
    with pytest.raises(DataError, match=message):
        classifier().fit(lambda: next(passes), epochs=1, **QUIET)


@pytest.mark.torch
def test_a_data_loader_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, TensorDataset

    rows = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    loaded, plain = classifier(), classifier()
    loaded.fit(DataLoader(rows, batch_size=SIZE), epochs=2, validation=DataLoader(rows, batch_size=20), **QUIET)
    plain.fit(X, Y, epochs=2, batch_size=SIZE, shuffle="never", validation=(X, Y), **QUIET)
    assert same(loaded, plain)
    assert loaded.history.val_loss == plain.history.val_loss
    shuffled = classifier()
    shuffled.fit(DataLoader(rows, batch_size=SIZE, shuffle=True, drop_last=True), epochs=20, **QUIET)
    assert shuffled.history.loss[-1] < shuffled.history.loss[0]
