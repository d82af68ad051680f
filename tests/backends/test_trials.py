"""What the compiled program of a fleet promises beyond what it shares with a single training's."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from small import QUIET

EPOCHS = 12


@pytest.fixture(scope="module")
def task():
    """Labels that have nothing to do with the rows: the loss on rows held out soon rises, at another epoch a rate."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(60, 4)).astype("float32"), rng.integers(0, 3, 60)


def trials(task, patience):
    sweep = cr.Sweep(
        lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)), nn.CrossEntropyLoss(),
        lambda lr: cr.optim.Adam(lr), {"lr": [0.003, 0.03, 0.3], "seed": [0, 1]}, backend="xla",
    )  # fmt: skip
    return sweep.fit(*task, epochs=EPOCHS, validation=0.4, early_stopping=patience, **QUIET).trials


def epochs_with(patience, losses):
    """How many epochs a training with these losses has, stopped after so many without a better one."""
    best, waited = np.inf, 0
    for epoch, loss in enumerate(losses, 1):
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited >= patience:
            return epoch
    return len(losses)


@pytest.mark.parametrize("patience", [1, 3])
def test_a_member_stops_after_just_as_many_epochs_without_a_better_loss(task, patience):
    whole = trials(task, None)
    expected = [epochs_with(patience, trial.history.val_loss) for trial in whole]
    assert len(set(expected)) > 1
    assert min(expected) < EPOCHS
    assert [trial.history.epochs for trial in trials(task, patience)] == expected
