"""What a training gives back: its history, predictions and evaluations; and that several trainings go on."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.train import inference
from small import CLASSES, QUIET, ROWS, classifier, network, numbers, parameters, regressor, same, table

BACKENDS = ["numpy", "xla"]
X, Y = table()


# ---- history


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_history_has_a_value_a_step_and_a_value_an_epoch(backend: str) -> None:
    trainer = classifier(backend=backend)
    history = trainer.fit(X, Y, epochs=3, batch_size=16, validation=table(30, seed=1), **QUIET)
    assert history is trainer.history
    assert len(history.step_loss) == 3 * 4
    assert [len(v) for v in (history.loss, history.val_loss, history.lr, *history.metrics.values())] == [3] * 5
    assert list(history.metrics) == ["accuracy", "val_accuracy"]
    assert history.epochs == 3
    assert history.stopped == "finished"
    assert history.backend == backend
    assert history.seconds > 0
    assert history.best_epoch is None
    assert history.notes == []
    assert [row["epoch"] for row in history.rows()] == [1, 2, 3]
    assert history.rows()[1] == {
        "epoch": 2,
        "loss": history.loss[1],
        "lr": 0.02,
        "val_loss": history.val_loss[1],
        "accuracy": history.metrics["accuracy"][1],
        "val_accuracy": history.metrics["val_accuracy"][1],
    }


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_loss_of_an_epoch_is_the_mean_over_its_rows_not_over_its_batches(backend: str) -> None:
    history = classifier(backend=backend).fit(X, Y, epochs=3, batch_size=16, **QUIET)
    steps = np.reshape(history.step_loss, (3, 4))
    assert history.loss == pytest.approx(steps @ [16, 16, 16, 2] / ROWS, rel=1e-6)
    assert history.loss != pytest.approx(steps.mean(1), rel=1e-4)


@pytest.mark.parametrize("batch", [7, 16, 49, 50])
def test_every_row_is_trained_on_once_an_epoch_also_where_the_batch_does_not_divide_them(batch: int) -> None:
    # A rate too small to change anything makes the epoch's loss that of all rows at the start.
    trainer = classifier(optimizer=optim.SGD(1e-30))
    history = trainer.fit(X, Y, epochs=2, batch_size=batch, **QUIET)
    assert len(history.step_loss) == 2 * -(-ROWS // batch)
    assert history.loss == pytest.approx([trainer.evaluate(X, Y)["loss"]] * 2, rel=1e-5)
    assert history.metrics["accuracy"] == pytest.approx([trainer.evaluate(X, Y)["accuracy"]] * 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_batch_larger_than_the_data_uses_it_whole_and_says_so(backend: str) -> None:
    large, whole = classifier(backend=backend), classifier(backend=backend)
    history = large.fit(X, Y, epochs=2, batch_size=1000, **QUIET)
    assert history.notes == ["batch_size 1000 is more than the 50 rows: each step uses all 50"]
    assert whole.fit(X, Y, epochs=2, batch_size=ROWS, **QUIET).notes == []
    assert len(history.step_loss) == 2
    assert same(large, whole)


def test_the_learning_rate_at_the_end_of_each_epoch_is_written_down() -> None:
    trainer = classifier(optimizer=optim.SGD(0.5), schedule=optim.Step(2, 0.1))
    assert trainer.fit(X, Y, epochs=5, **QUIET).lr == pytest.approx([0.5, 0.5, 0.05, 0.05, 0.005])
    trainer = classifier(optimizer=optim.SGD(0.5), schedule=optim.Cosine())
    lr = trainer.fit(X, Y, epochs=4, batch_size=10, **QUIET).lr
    assert lr == pytest.approx([0.25 * (1 + np.cos(np.pi * (5 * e - 1) / 20)) for e in (1, 2, 3, 4)])


# ---- validation


@pytest.mark.parametrize("backend", BACKENDS)
def test_validation_on_a_pair_is_the_evaluation_after_the_epoch(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "BLOCK", 8)
    held = table(30, seed=1)
    trainer = classifier(nn.Dropout(0.5), backend=backend)
    seen: list[dict[str, float]] = []
    history = trainer.fit(
        X, Y, epochs=2, validation=held, callbacks=[lambda trainer: seen.append(trainer.evaluate(*held))], **QUIET
    )
    assert history.val_loss == pytest.approx([found["loss"] for found in seen], rel=1e-5)
    assert history.metrics["val_accuracy"] == pytest.approx([found["accuracy"] for found in seen])


def test_a_fraction_for_validation_is_held_out_of_training() -> None:
    # Rows numbered by their only feature; a rate too small to change anything leaves the model linear in it.
    rows = np.arange(40, dtype=np.float32)[:, None]
    model = nn.Linear(1, 1)
    model.load_state_dict({"weight": [[1.0]], "bias": [0.0]})
    trainer = cr.Trainer(model, nn.MSELoss("sum"), optim.SGD(1e-30), metrics=("mae",), backend="numpy")
    history = trainer.fit(rows, np.zeros((40, 1)), epochs=1, batch_size=8, validation=0.25, **QUIET)
    assert len(history.step_loss) == 4
    assert history.metrics["mae"][0] * 30 + history.metrics["val_mae"][0] * 10 == pytest.approx(rows.sum())
    again = trainer.fit(rows, np.zeros((40, 1)), epochs=1, batch_size=8, validation=0.25, **QUIET)
    assert again.val_loss == history.val_loss


def test_without_validation_there_are_no_validation_numbers() -> None:
    history = classifier().fit(X, Y, epochs=1, **QUIET)
    assert history.val_loss == []
    assert list(history.metrics) == ["accuracy"]


@pytest.mark.parametrize("fraction", [1e-9, 1 - 1e-9])
def test_a_fraction_leaves_at_least_one_row_on_each_side(fraction: float) -> None:
    history = classifier().fit(X, Y, epochs=1, batch_size=1, validation=fraction, **QUIET)
    assert len(history.step_loss) in (1, ROWS - 1)
    assert len(history.val_loss) == 1


# ---- normalising


def test_features_are_normalised_by_the_training_rows_also_when_predicting() -> None:
    wide = X * [1, 100, 0.01, 1] + [0, 1000, 0, -5]
    trainer, plain = classifier(normalize="feature"), classifier()
    Z = ((wide - wide.mean(0)) / wide.std(0)).astype(np.float32)
    trainer.fit(wide, Y, epochs=3, **QUIET)
    plain.fit(Z, Y, epochs=3, **QUIET)
    assert np.allclose(
        trainer.predict(wide[:5] + 1), plain.predict(((wide[:5] + 1) - wide.mean(0)) / wide.std(0)), atol=1e-3
    )
    assert trainer.evaluate(wide, Y)["accuracy"] == plain.evaluate(Z, Y)["accuracy"]


def test_what_is_held_out_does_not_teach_the_normaliser() -> None:
    trainer = classifier(normalize="feature")
    trainer.fit(X, Y, epochs=1, validation=(X + 100, Y), **QUIET)
    assert trainer.standardizer is not None
    assert trainer.standardizer.mean == pytest.approx(X.mean(0), rel=1e-5)


def test_a_second_training_keeps_the_first_ones_normaliser() -> None:
    trainer = classifier(normalize="feature")
    trainer.fit(X, Y, epochs=1, **QUIET)
    trainer.fit(X + 10, Y, epochs=1, **QUIET)
    assert trainer.standardizer is not None
    assert trainer.standardizer.mean == pytest.approx(X.mean(0), rel=1e-5)


def test_images_are_normalised_by_channel() -> None:
    images = np.random.default_rng(0).normal(size=(ROWS, 2, 3, 3)) * np.array([1, 50])[:, None, None]
    model = nn.Sequential(nn.Flatten(), nn.Linear(18, CLASSES))
    trainer = cr.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(0.01), normalize="channel", backend="numpy")
    trainer.fit(images, Y, epochs=1, **QUIET)
    assert trainer.standardizer is not None
    assert trainer.standardizer.scale.ravel() == pytest.approx(images.std(axis=(0, 2, 3)), rel=1e-5)
    assert trainer.predict(images).shape == (ROWS, CLASSES)


# ---- using the model


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rows", [1, 16, 40, 50])
def test_prediction_in_blocks_is_the_model_row_by_row(backend: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "BLOCK", 16)
    trainer = classifier(nn.Dropout(0.5), backend=backend)
    found = trainer.predict(X[:rows])
    assert found.shape == (rows, CLASSES)
    assert found.dtype == np.float32
    assert np.allclose(found, trainer.model.eval()(X[:rows]).numpy(), atol=1e-6)


def test_an_evaluation_in_blocks_is_that_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = regressor(metrics=("r2", "rmse", "mae"))
    whole = trainer.evaluate(*numbers())
    for block in (1, 7, 25, 50):
        monkeypatch.setattr(inference, "BLOCK", block)
        assert trainer.evaluate(*numbers()) == pytest.approx(whole, rel=1e-5)


def test_predicting_does_not_wait_for_a_training() -> None:
    assert classifier().predict(X.tolist()).shape == (ROWS, CLASSES)


# ---- several trainings


@pytest.mark.parametrize(
    ("backend", "precision", "optimizer"),
    [
        ("numpy", "float32", optim.Adam(0.02)),
        ("numpy", "float64", optim.AdamW(0.02)),
        ("numpy", "float32", optim.SGD(0.05, 0.9)),
        ("xla", "float32", optim.Adam(0.02)),
    ],
)
def test_two_trainings_of_two_epochs_are_one_of_four(backend: str, precision: str, optimizer: optim.Optimizer) -> None:
    twice, once = (
        classifier(nn.Dropout(0.2), optimizer=optimizer, backend=backend, precision=precision) for _ in range(2)
    )
    first, second = (twice.fit(X, Y, epochs=2, batch_size=16, **QUIET) for _ in range(2))
    whole = once.fit(X, Y, epochs=4, batch_size=16, **QUIET)
    assert first.step_loss + second.step_loss == whole.step_loss
    assert same(twice, once)
    assert (twice.epochs, twice.steps) == (once.epochs, once.steps) == (4, 16)


GOING_ON = [
    optim.Step(3, 0.5),
    optim.Exponential(0.8),
    optim.Cosine(steps=50),
    optim.OneCycle(steps=40),
    optim.Warmup(optim.Exponential(0.5), steps=6),
    optim.Warmup(optim.ReduceOnPlateau(0.5, patience=0), steps=6),
    optim.ReduceOnPlateau(0.5, patience=0),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("schedule", GOING_ON, ids=repr)
def test_a_schedule_goes_on_in_a_second_training(schedule: optim.Schedule, backend: str) -> None:
    def trainer() -> cr.Trainer:
        return classifier(optimizer=optim.SGD(2.0, momentum=0.5), schedule=schedule, backend=backend)

    twice, once = trainer(), trainer()
    histories = [twice.fit(X, Y, epochs=epochs, batch_size=16, **QUIET) for epochs in (3, 4)]
    whole = once.fit(X, Y, epochs=7, batch_size=16, **QUIET)
    assert histories[0].lr + histories[1].lr == whole.lr
    assert len(set(whole.lr)) > 2
    assert same(twice, once)
    assert histories[1].notes == []


@pytest.mark.parametrize("schedule", [optim.Cosine(), optim.OneCycle(), optim.Warmup(optim.Step(1, 0.1))], ids=repr)
def test_a_schedule_without_a_length_spans_each_training_and_says_so(schedule: optim.Schedule) -> None:
    arguments: dict[str, Any] = {"epochs": 2, "batch_size": 16, "shuffle": "never", **QUIET}
    again, fresh = (classifier(optimizer=optim.SGD(0.1), schedule=schedule) for _ in range(2))
    assert again.fit(X, Y, **arguments).notes == []
    fresh.model.load_state_dict(again.model.state_dict())
    second = again.fit(X, Y, **arguments)
    assert second.lr == fresh.fit(X, Y, **arguments).lr
    assert same(again, fresh)
    [note] = second.notes
    assert "the schedule starts afresh" in note


def test_a_schedule_that_has_come_to_a_rate_of_zero_says_so() -> None:
    trainer = classifier(optimizer=optim.SGD(0.1), schedule=optim.Cosine(steps=4))
    assert trainer.fit(X, Y, epochs=1, batch_size=16, **QUIET).notes == []
    before = parameters(trainer)
    [note] = trainer.fit(X, Y, epochs=1, batch_size=16, **QUIET).notes
    assert "Cosine(steps=4, final=0.0) is at its end: the learning rate is 0" in note
    assert (parameters(trainer) == before).all()


def test_an_epoch_counts_as_one_for_a_schedule_whatever_the_batch_is() -> None:
    trainer = classifier(optimizer=optim.SGD(0.1), schedule=optim.Step(2, 0.5))
    first = trainer.fit(X, Y, epochs=3, batch_size=10, **QUIET).lr
    assert first + trainer.fit(X, Y, epochs=3, batch_size=25, **QUIET).lr == pytest.approx(
        [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]
    )


def test_a_training_may_go_on_on_the_other_backend() -> None:
    moved, stayed = classifier(), classifier()
    for trainer in (moved, stayed):
        trainer.fit(X, Y, epochs=1, batch_size=16, **QUIET)
    moved.backend = "xla"
    histories = [trainer.fit(X, Y, epochs=1, batch_size=16, **QUIET) for trainer in (moved, stayed)]
    assert histories[0].step_loss == pytest.approx(histories[1].step_loss, rel=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        lambda trainer: setattr(trainer, "penalty", optim.L2(1.0, biases=True)),
        lambda trainer: setattr(trainer, "clip", optim.ClipNorm(1e-3)),
        lambda trainer: setattr(trainer.clip, "c", 1e-3),
        lambda trainer: setattr(trainer.optimizer, "momentum", 0.0),
        pytest.param(
            lambda trainer: setattr(trainer.model[2], "p", 1.0),
            marks=pytest.mark.filterwarnings("ignore:layer 2 drops everything"),
        ),
        lambda trainer: setattr(trainer, "loss", nn.CrossEntropyLoss(label_smoothing=0.5)),
    ],
)
def test_what_is_changed_between_two_trainings_counts_in_the_second(change: Any) -> None:
    def trainer() -> cr.Trainer:
        return classifier(
            nn.Dropout(0.1), optimizer=optim.SGD(0.1, 0.5), penalty=optim.L2(1.0), clip=optim.ClipNorm(10.0)
        )

    changed, unchanged = trainer(), trainer()
    for each in (changed, unchanged):
        each.fit(X, Y, epochs=1, **QUIET)
    change(changed)
    changed.optimizer_state = None if not getattr(changed.optimizer, "momentum", 1) else changed.optimizer_state
    for each in (changed, unchanged):
        each.fit(X, Y, epochs=1, **QUIET)
    assert not same(changed, unchanged)


# ---- backends, progress


def test_auto_takes_numpy_for_a_tiny_job_and_xla_for_a_long_one() -> None:
    assert classifier(backend="auto").fit(X, Y, epochs=1, **QUIET).backend == "numpy"
    trainer = classifier(backend="auto")
    history = trainer.fit(X, Y, epochs=100_000, callbacks=[lambda trainer: True], **QUIET)
    assert history.backend == "xla"
    assert history.epochs == 1


def test_a_loss_may_be_a_function() -> None:
    trainer = cr.Trainer(
        network(), lambda output, y: cr.mean(cr.cross_entropy(output, y)), optim.Adam(0.02), backend="numpy"
    )
    plain = classifier()
    for each in (trainer, plain):
        each.fit(X, Y, epochs=2, **QUIET)
    assert np.allclose(parameters(trainer), parameters(plain), atol=1e-6)


def test_the_progress_bar_goes_to_standard_error_alone(capfd: pytest.CaptureFixture[str]) -> None:
    classifier().fit(X, Y, epochs=2, validation=0.2)
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 2/2" in err
    assert "val_loss" in err
    assert "val_accuracy" in err
    classifier().fit(X, Y, epochs=2, **QUIET)
    assert capfd.readouterr() == ("", "")
