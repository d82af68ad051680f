import json
import runpy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from chainrule import optim
from chainrule.errors import ArgumentError
from chainrule.optim.plateau import Plateau

GOLDEN = Path(__file__).parent / "golden"
MAKE = runpy.run_path(str(GOLDEN / "make.py"))
CASES = {
    "defaults": optim.ReduceOnPlateau(),
    "impatient": optim.ReduceOnPlateau(factor=0.5, patience=1),
    "with a rest": optim.ReduceOnPlateau(factor=0.5, patience=0, cooldown=3),
    "with a bound": optim.ReduceOnPlateau(factor=0.3, patience=2, min_factor=0.05),
    "hard to please": optim.ReduceOnPlateau(factor=0.5, patience=2, threshold=0.2),
}


def factors(schedule: optim.Schedule, losses: Iterable[float]) -> list[float]:
    """The factor after each loss."""
    seen, found = Plateau(), []
    for loss in losses:
        seen = schedule.observe(seen, loss)
        found.append(seen.factor)
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_rate_is_reduced_where_pytorch_reduces_it(name: str) -> None:
    theirs = json.loads((GOLDEN / "plateaus.json").read_text())
    assert set(theirs) == set(CASES)
    # PyTorch leaves out a reduction of less than 1e-8; ours has none such to leave out.
    assert factors(CASES[name], MAKE["losses"]()) == pytest.approx(theirs[name], abs=1e-8)


@pytest.mark.torch
def test_the_rate_is_reduced_where_pytorch_reduces_it_live() -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    for name, schedule in CASES.items():
        assert factors(schedule, MAKE["losses"]()) == pytest.approx(MAKE["reductions"](name), abs=1e-8), name


def test_a_loss_below_zero_must_become_better_too() -> None:
    schedule = optim.ReduceOnPlateau(0.5, patience=0, threshold=0.1)
    assert factors(schedule, [-1.0, -1.0, -1.05, -1.2, -1.4]) == [1.0, 0.5, 0.25, 0.25, 0.25]


def test_a_first_loss_of_zero_is_taken_as_the_best() -> None:
    assert factors(optim.ReduceOnPlateau(0.5, patience=0), [0.0, 0.0, -1e-9]) == [1.0, 0.5, 0.5]


def test_steps_alone_change_nothing_and_a_warm_up_rises_before_it() -> None:
    schedule = optim.ReduceOnPlateau(0.5, patience=0)
    assert [float(schedule(step)) for step in (0, 5, 10**6)] == [1.0, 1.0, 1.0]
    warm = optim.Warmup(schedule, steps=4).bind(100, 10)
    assert [float(warm(step)) for step in (0, 1, 3, 50)] == [0.25, 0.5, 1.0, 1.0]
    assert warm.observes
    assert factors(warm, [1.0, 1.0]) == [1.0, 0.5]
    assert not optim.Warmup(optim.Cosine()).observes
    assert factors(optim.Cosine(), [1.0] * 50) == [1.0] * 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factor": 1.0}, r"factor.*in \(0, 1\), got 1\.0"),
        ({"factor": 0.0}, r"factor.*in \(0, 1\)"),
        ({"patience": -1}, "patience.*an integer of at least 0"),
        ({"threshold": 1.0}, r"threshold.*in \[0, 1\)"),
        ({"cooldown": 0.5}, "cooldown.*an integer of at least 0"),
        ({"min_factor": 2.0}, r"min_factor.*in \[0, 1\]"),
    ],
)
def test_a_bad_argument_is_refused_with_its_name_and_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        optim.ReduceOnPlateau(**arguments)
