"""A schedule that observes the losses, in a training."""

from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim
from chainrule.optim.plateau import Plateau
from small import QUIET, classifier, parameters, same, table

X, Y = table()
HELD = table(30, seed=1)
RATE = 0.5


def trainer(backend: str = "numpy", schedule: optim.Schedule | None = None) -> cr.Trainer:
    """One whose loss soon wobbles, its rate being high."""
    schedule = schedule or optim.ReduceOnPlateau(0.5, patience=1, threshold=0.01)
    return classifier(optimizer=optim.Adam(RATE), schedule=schedule, backend=backend)


def rates(schedule: optim.Schedule, losses: list[float]) -> list[float]:
    """The rate in each epoch, by the losses before it."""
    return [RATE * reduce(schedule.observe, losses[:epoch], Plateau()).factor for epoch in range(len(losses))]


@pytest.mark.parametrize(("backend", "validation"), [("numpy", None), ("numpy", HELD), ("xla", HELD)])
def test_the_history_shows_the_rate_that_the_losses_ask_for(backend: str, validation: Any) -> None:
    each = trainer(backend)
    history = each.fit(X, Y, epochs=12, batch_size=25, validation=validation, **QUIET)
    assert each.schedule is not None
    assert history.lr == pytest.approx(rates(each.schedule, history.val_loss if validation else history.loss))
    assert history.lr[-1] < history.lr[0] == RATE
    if validation:
        assert history.lr != pytest.approx(rates(each.schedule, history.loss))


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_the_program_steps_at_the_reduced_rate(backend: str) -> None:
    # One row and gradient descent on it: the weights move by rate × gradient, and the gradient stays that of the start.
    each = cr.Trainer(
        cr.nn.Linear(1, 1, bias=False), lambda output, target: cr.sum(output), optim.SGD(1.0),
        schedule=optim.ReduceOnPlateau(0.5, patience=0, threshold=0.9), backend=backend, precision="float64",
    )  # fmt: skip
    ones = np.ones((1, 1))
    each.model.load_state_dict({"weight": np.array([[100.0]])})
    path = [100.0]
    each.fit(ones, ones, epochs=4, callbacks=[lambda t: path.append(parameters(t)[0])], **QUIET)
    assert np.diff(path).tolist() == [-1.0, -1.0, -0.5, -0.25]
    assert each.history.lr == [1.0, 1.0, 0.5, 0.25]


def test_a_training_broken_off_and_resumed_is_the_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    whole, part, rest = (trainer() for _ in range(3))
    settings: dict[str, Any] = {"batch_size": 25, "validation": HELD, **QUIET}
    whole.fit(X, Y, epochs=10, **settings)
    part.fit(X, Y, epochs=7, checkpoint=tmp_path / "c", **settings)
    assert part.history.lr[-1] < RATE
    rest.fit(X, Y, epochs=10, checkpoint=tmp_path / "c", resume=True, **settings)
    assert same(whole, rest)
    assert rest.history.lr == whole.history.lr


def test_it_goes_on_in_a_second_training_and_when_that_is_resumed(tmp_path: Path) -> None:
    def made() -> cr.Trainer:
        return trainer(schedule=optim.ReduceOnPlateau(0.5, patience=0, threshold=0.5))

    once, twice = made(), made()
    whole = once.fit(X, Y, epochs=11, **QUIET).lr
    first = twice.fit(X, Y, epochs=5, **QUIET).lr
    twice.save(tmp_path / "first")
    assert first + twice.fit(X, Y, epochs=6, **QUIET).lr == whole
    assert RATE > whole[5] > whole[-1]

    loaded = cr.Trainer.load(tmp_path / "first")
    for epochs in (2, 6):
        loaded.fit(X, Y, epochs=epochs, checkpoint=tmp_path / "c", resume=epochs == 6, **QUIET)
    assert first + loaded.history.lr == whole
    assert same(loaded, once)


def test_it_reduces_after_a_warm_up_too() -> None:
    schedule = optim.Warmup(optim.ReduceOnPlateau(0.5, patience=0, threshold=0.5), steps=3)
    each = trainer(schedule=schedule)
    history = each.fit(X, Y, epochs=10, batch_size=50, **QUIET)
    rising = np.minimum(np.arange(1, 11) / 3, 1)
    assert history.lr == pytest.approx(rates(schedule, history.loss) * rising, rel=1e-6)
    assert history.lr[-1] < RATE
