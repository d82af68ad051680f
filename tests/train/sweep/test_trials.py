"""A sweep trains each trial as a Trainer with its hyperparameters would train it alone."""

import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.data.split import folds
from chainrule.errors import ArgumentError, ChainruleError, TrainingWarning
from small import CLASSES, COLUMNS, QUIET, table

X, Y = table(64)


def sweep(grid, backend="numpy", **parts):
    def model(width=6, rate=0.0):
        dropout = [nn.Dropout(rate)] if rate else []
        return nn.Sequential(nn.Linear(COLUMNS, width), nn.ReLU(), *dropout, nn.Linear(width, CLASSES))

    made = {"optimizer": lambda lr=0.02: optim.Adam(lr), **parts}
    return cr.Sweep(model=model, loss=nn.CrossEntropyLoss(), grid=grid, backend=backend, **made)


def alone(swept, trial, backend, **arguments):
    trainer = swept.trainer(trial.config)
    trainer.backend = backend
    train, held = folds(Y, "classify", 3)[trial.fold]
    history = trainer.fit(X[train], Y[train], validation=(X[held], Y[held]), **arguments, **QUIET)
    return trainer, history


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_members_are_what_a_trainer_makes_of_them_alone(backend):
    swept = sweep({"lr": [0.01, 0.05], "rate": [0.0, 0.3], "seed": [0, 7]}, backend)
    found = swept.fit(X, Y, epochs=3, batch_size=10, folds=3, **QUIET)
    assert len(found.trials) == 24
    for trial in found.trials[:: 1 if backend == "numpy" else 7]:
        trainer, history = alone(swept, trial, backend, epochs=3, batch_size=10)
        for name, weight in trainer.model.state_dict().items():
            np.testing.assert_allclose(trial.weights[name], weight, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(trial.history.val_loss, history.val_loss, rtol=1e-5)
        np.testing.assert_allclose(trial.history.metrics["val_accuracy"], history.metrics["val_accuracy"])


def test_early_stopping_keeps_what_a_trainer_would_keep():
    swept = sweep({"lr": [0.3, 0.02]})
    found = swept.fit(X, Y, epochs=12, batch_size=16, folds=3, early_stopping=2, **QUIET)
    stopped = []
    for trial in found.trials:
        trainer, history = alone(swept, trial, "numpy", epochs=12, batch_size=16, early_stopping=2)
        assert (trial.history.stopped, trial.history.best_epoch) == (history.stopped, history.best_epoch)
        assert trial.history.epochs == history.epochs
        for name, weight in trainer.model.state_dict().items():
            np.testing.assert_allclose(trial.weights[name], weight, rtol=1e-5, atol=1e-6)
        stopped.append(history.stopped)
    assert "early stopping" in stopped


def test_mistakes_of_the_theory_are_named_once_before_the_first_step():
    def model(width=6, last=None):
        return nn.Sequential(nn.Linear(COLUMNS, width), nn.ReLU(), nn.Linear(width, CLASSES), *filter(None, [last]))

    def fit(grid, rows=slice(None), **how):
        swept = cr.Sweep(model, nn.CrossEntropyLoss(), lambda lr=0.1: optim.SGD(lr), grid, backend="numpy")
        return swept.fit(X[rows], Y[rows], epochs=1, folds=2, **how, **QUIET)

    soft = "layer 3 gives probabilities to a cross-entropy"
    with pytest.warns(TrainingWarning, match=f"^{soft}") as caught:
        fit({"lr": [0.1, 0.2], "width": [4, 6], "last": [nn.Softmax()]})
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(TrainingWarning, match=f"^width=4, last=.*: {soft}") as caught:
        fit([{"width": 4, "last": nn.Softmax()}, {"width": 4, "last": None}])
    assert len(caught) == 1
    order = np.argsort(Y, kind="stable")
    with pytest.warns(TrainingWarning, match="^the labels are sorted and nothing shuffles them") as caught:
        fit({"width": [4, 6]}, order, shuffle="never", batch_size=8)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit({"width": [4, 6]}, order, batch_size=8)
        fit({"width": [4, 6]}, shuffle="never", batch_size=8)


def test_a_member_that_diverges_ends_alone():
    found = sweep({"lr": [1e30, 0.02]}, optimizer=lambda lr: optim.SGD(lr)).fit(X, Y, epochs=4, folds=3, **QUIET)
    wild, tame = found.trials[:3], found.trials[3:]
    assert {trial.history.stopped for trial in wild} == {"not finite"}
    assert all(trial.history.stopped == "finished" and trial.history.epochs == 4 for trial in tame)
    assert found.best == {"lr": 0.02}


def test_widths_are_programs_of_their_own_and_the_best_is_refitted():
    found = sweep({"width": [2, 9], "lr": [0.05]}).fit(X, Y, epochs=5, validation=0.25, **QUIET)
    assert {trial.weights["0.weight"].shape for trial in found.trials} == {(2, COLUMNS), (9, COLUMNS)}
    assert found.best_score == max(row["score"] for row in found.rows())
    trainer = found.refit(X, Y, **QUIET)
    assert trainer.evaluate(X, Y)["accuracy"] > 0.6
    trial = found.trials[0]
    np.testing.assert_array_equal(found.trainer(trial).model.state_dict()["0.weight"], trial.weights["0.weight"])


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: sweep({"lrr": [0.1]}), "lr"),
        (lambda: sweep({"lr": []}), "lr"),
        (lambda: sweep({"lr": "fast"}), "lr"),
        (lambda: sweep([]), "grid"),
        (lambda: sweep({"lr": [0.1]}).fit(X, Y, folds=3, validation=0.1, **QUIET), "folds"),
        (lambda: sweep({"lr": [0.1]}).fit(X, Y, folds=1, **QUIET), "folds"),
        (lambda: sweep({"lr": [0.1]}).fit(X, Y, early_stopping=2, **QUIET), "early_stopping"),
        (lambda: sweep({"lr": [-1.0]}).fit(X, Y, **QUIET), "lr"),
        (lambda: sweep({"lr": [0.1]}).fit(X, Y + 5, **QUIET), "labels"),
        (lambda: cr.Sweep(model=nn.Linear(4, 3), loss=nn.CrossEntropyLoss(), optimizer=optim.Adam(), grid={}), "model"),
    ],
)
def test_what_cannot_be_swept_is_refused_and_named(act, words):
    with pytest.raises(ChainruleError, match=words) as caught:
        act()
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(ArgumentError, match=r"widht.*width"):
        sweep({"widht": [3]})


def test_products_may_be_of_lower_precision():
    found = sweep({"lr": [0.05]}, precision="bfloat16").fit(X, Y, epochs=2, **QUIET)
    assert found.trials[0].history.epochs == 2


def test_members_whose_steps_take_all_rows_are_bit_for_bit_what_a_trainer_makes_of_them():
    swept = sweep({"lr": [0.01, 0.05]})
    for trial in swept.fit(X, Y, epochs=3, batch_size=64, folds=3, **QUIET).trials:
        trainer, _ = alone(swept, trial, "numpy", epochs=3, batch_size=64)
        for name, weight in trainer.model.state_dict().items():
            np.testing.assert_array_equal(trial.weights[name], weight)


def test_a_metric_ranks_the_greater_first_where_that_is_better_and_asks_where_it_is_not_known():
    def spread(output, target):
        return cr.mean(abs(output))

    grid = [{"lr": 1e-6}, {"lr": 0.05}]
    result = sweep(grid, metrics=("auc", spread)).fit(*table(), epochs=5, validation=0.4, **QUIET)
    assert result.scored_by == "val_auc"
    assert result.best["lr"] == 0.05
    assert result.best_score == max(trial.score("val_auc") for trial in result.trials)
    result.scored_by = "val_spread"
    with pytest.raises(ArgumentError, match=r"scored_by: no direction is known for it.*greater_is_better"):
        _ = result.best
    spread.greater_is_better = False
    other = sweep(grid, metrics=(spread,)).fit(*table(), epochs=5, validation=0.4, **QUIET)
    assert other.best_score == min(trial.score("val_spread") for trial in other.trials)


@pytest.mark.parametrize(("backend", "stopping"), [("numpy", None), ("numpy", 4), ("xla", 4)])
def test_a_schedule_that_observes_the_losses_does_so_in_each_trial_as_alone(backend, stopping):
    def schedule(factor):
        return optim.Warmup(optim.ReduceOnPlateau(factor, patience=0, threshold=0.2), 3)

    swept = sweep({"lr": [0.02, 0.3], "factor": [0.5, 0.1]}, backend, schedule=schedule)
    how = {"epochs": 8, "batch_size": 16, "early_stopping": stopping}
    found = swept.fit(X, Y, folds=3, **how, **QUIET)
    lowest = set()
    for trial in found.trials[:: 1 if backend == "numpy" else 5]:
        trainer, history = alone(swept, trial, backend, **how)
        assert trial.history.lr == (history.lr if backend == "numpy" else pytest.approx(history.lr))
        for name, weight in trainer.model.state_dict().items():
            if backend == "numpy":
                assert np.array_equal(trial.weights[name], weight)
            np.testing.assert_allclose(trial.weights[name], weight, rtol=1e-4, atol=1e-5)
        lowest.add(round(min(trial.history.lr[2:]) / trial.config["lr"], 6))
    assert len(lowest) > 2
