"""Stopping without going back to the best epoch, alone, in a sweep and after a resume."""

import numpy as np
import pytest

import chainrule as cr

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
Y = (X[:, :1] + 0.3 * RNG.normal(size=(90, 1)) > 0).astype(float)


def model(width=8):
    return cr.nn.Sequential(cr.nn.Linear(4, width), cr.nn.Tanh(), cr.nn.Linear(width, 1))


def trainer(backend="numpy", lr=0.02):
    cr.seed(3)
    return cr.Trainer(
        model(), cr.nn.BCEWithLogitsLoss(), cr.optim.Adam(lr), metrics=["accuracy"], backend=backend, seed=3,
        precision="float64",
    )  # fmt: skip


def stopped_by_hand(losses, patience, min_delta):
    """scikit-learn's rule: an epoch that is not better than the best so far by enough is one more without progress."""
    best, count = np.inf, 0
    for epoch, loss in enumerate(losses, 1):
        count = count + 1 if loss > best - min_delta else 0
        best = min(best, loss)
        if count >= patience:
            return epoch
    return len(losses)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_without_restore_best_the_last_weights_stay_and_every_lower_value_is_the_one_to_beat(backend):
    every = trainer(backend).fit(X, Y, epochs=150, progress=False).loss
    expected = stopped_by_hand(every, 4, 2e-3)
    assert 5 < expected < 150
    # Against the last value that was better by enough, and not the lowest, it would have gone on for longer.
    assert cr.EarlyStopping(4, "loss", min_delta=2e-3).judged(every[:expected])[1] < 4
    early = cr.EarlyStopping(4, "loss", min_delta=2e-3, restore_best=False)
    one, other = trainer(backend), trainer(backend)
    history = one.fit(X, Y, epochs=150, early_stopping=early, progress=False)
    assert (history.stopped, history.epochs, history.best_epoch) == ("early stopping", expected, None)
    other.fit(X, Y, epochs=expected, progress=False)
    np.testing.assert_allclose(one.predict(X), other.predict(X), rtol=1e-12)


def test_a_sweep_stops_each_trial_as_a_trainer_alone():
    early = cr.EarlyStopping(4, "loss", min_delta=2e-3, restore_best=False)
    sweep = cr.Sweep(
        model, cr.nn.BCEWithLogitsLoss(), lambda lr: cr.optim.Adam(lr), {"lr": [0.02, 0.05], "seed": [3]},
        metrics=["accuracy"], backend="numpy", precision="float64",
    )  # fmt: skip
    result = sweep.fit(X, Y, epochs=150, early_stopping=early, progress=False)
    for trial in result.trials:
        alone = trainer(lr=trial.config["lr"])
        history = alone.fit(X, Y, epochs=150, early_stopping=early, progress=False)
        assert (trial.history.stopped, trial.history.epochs) == ("early stopping", history.epochs)
        assert np.array_equal(result.trainer(trial).predict(X), alone.predict(X))


def test_a_sweep_goes_by_a_metric_and_keeps_the_best_epoch():
    sweep = cr.Sweep(
        model, cr.nn.BCEWithLogitsLoss(), cr.optim.Adam(0.02), {"seed": [3]}, metrics=["accuracy"], backend="numpy",
    )  # fmt: skip
    result = sweep.fit(X, Y, epochs=60, validation=0.3, early_stopping=5, monitor="val_accuracy", progress=False)
    [trial] = result.trials
    scores = trial.history.metrics["val_accuracy"]
    assert trial.history.best_epoch == int(np.argmax(scores)) + 1
    assert trial.history.epochs == trial.history.best_epoch + 5


def test_a_sweep_refuses_a_value_that_it_does_not_compute():
    sweep = cr.Sweep(model, cr.nn.BCEWithLogitsLoss(), cr.optim.Adam(0.02), {"seed": [3]}, metrics=["accuracy"])
    with pytest.raises(cr.ChainruleError, match="no such value"):
        sweep.fit(X, Y, validation=0.3, early_stopping=cr.EarlyStopping(3, "val_auc"), progress=False)


def test_a_resumed_training_stops_where_it_would_have_stopped(tmp_path):
    early = cr.EarlyStopping(4, "loss", min_delta=2e-3, restore_best=False)
    whole, broken_off = trainer(), trainer()
    expected = whole.fit(X, Y, epochs=150, early_stopping=early, progress=False)
    stop = expected.epochs - 2
    broken_off.fit(
        X, Y, epochs=150, early_stopping=early, progress=False, checkpoint=tmp_path / "run",
        callbacks=[lambda t: t.history.epochs == stop],
    )  # fmt: skip
    again = trainer()
    history = again.fit(
        X, Y, epochs=150, early_stopping=early, progress=False, checkpoint=tmp_path / "run", resume=True
    )
    assert history.epochs == expected.epochs
    assert np.array_equal(again.predict(X), whole.predict(X))
