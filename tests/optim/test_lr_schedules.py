import json
import math
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim
from chainrule.errors import ArgumentError

GOLDEN = Path(__file__).parent / "golden"

# By hand from the definitions.
VALUES: list[tuple[optim.Schedule, dict[int, float]]] = [
    (optim.Constant(), {0: 1.0, 7: 1.0, 10**6: 1.0}),
    (optim.Step(3, 0.5), {0: 1.0, 2: 1.0, 3: 0.5, 5: 0.5, 6: 0.25, 30: 2.0**-10}),
    (optim.Step(2, 0.1).bind(steps=40, steps_per_epoch=10), {0: 1.0, 19: 1.0, 20: 0.1, 39: 0.1, 40: 0.01}),
    (optim.Exponential(0.5), {0: 1.0, 1: 0.5, 4: 0.0625}),
    (optim.Exponential(0.5).bind(steps=40, steps_per_epoch=10), {0: 1.0, 9: 1.0, 10: 0.5, 39: 0.125}),
    (optim.Linear(10), {0: 1.0, 4: 0.6, 10: 0.0, 99: 0.0}),
    (optim.Linear(final=0.5).bind(steps=8, steps_per_epoch=4), {0: 1.0, 4: 0.75, 8: 0.5, 9: 0.5}),
    (optim.OneCycle(10, pct_start=0.5), {0: 0.04, 2: 0.52, 4: 1.0, 9: 4e-6, 99: 4e-6}),
    (optim.OneCycle(pct_start=0.5).bind(steps=10, steps_per_epoch=3), {0: 0.04, 4: 1.0, 9: 4e-6}),
    (optim.OneCycle(1), {0: 1.0, 1: 4e-6}),
    (optim.OneCycle(5, pct_start=0.0, final_div_factor=1.0), {0: 1.0, 2: 0.52, 4: 0.04}),
    (optim.OneCycle(5, pct_start=1.0, div_factor=2.0), {0: 0.5, 2: 0.75, 4: 1.0}),
    (optim.Warmup(optim.Linear(), steps=2).bind(10, 5), {0: 0.5, 2: 1.0, 6: 0.5, 10: 0.0}),
    (optim.Cosine(100), {0: 1.0, 25: (1 + math.sqrt(0.5)) / 2, 50: 0.5, 100: 0.0, 1000: 0.0}),
    (optim.Cosine(10, final=0.2), {0: 1.0, 5: 0.6, 10: 0.2, 11: 0.2}),
    (optim.Cosine().bind(steps=8, steps_per_epoch=4), {0: 1.0, 4: 0.5, 8: 0.0}),
    (optim.Cosine(20).bind(steps=8, steps_per_epoch=4), {10: 0.5}),
    (optim.Warmup(steps=4), {0: 0.25, 1: 0.5, 3: 1.0, 4: 1.0, 99: 1.0}),
    (optim.Warmup(optim.Cosine(10), steps=2), {0: 0.5, 1: 1.0, 2: 1.0, 7: 0.5, 12: 0.0}),
    (optim.Warmup(optim.Step(1, 0.5), steps=2).bind(50, 5), {0: 0.5, 2: 1.0, 6: 1.0, 7: 0.5, 12: 0.25}),
    (optim.Warmup(optim.Cosine()).bind(steps=100, steps_per_epoch=10), {0: 0.2, 4: 1.0, 5: 1.0, 100: 0.0}),
]


@pytest.mark.parametrize(("schedule", "values"), VALUES, ids=lambda v: repr(v) if isinstance(v, optim.Schedule) else "")
def test_a_schedule_has_its_values_at_numbers_and_traced(schedule: optim.Schedule, values: dict[int, float]) -> None:
    for step, value in values.items():
        assert float(schedule(step)) == pytest.approx(value, abs=1e-12)
    graph = cr.trace(schedule, np.zeros((), np.float32))
    for step, value in values.items():
        assert graph.run(np.float32(step)) == pytest.approx(value, rel=1e-5, abs=1e-6)


# What the golden numbers' cases are called here.
CASES: dict[str, optim.Schedule] = {
    "Step": optim.Step(3, 0.5),
    "Exponential": optim.Exponential(0.9),
    "Linear": optim.Linear(10, final=0.2),
    "Linear to 0": optim.Linear(7),
    "Cosine": optim.Cosine(12, final=0.25),
    "OneCycle": optim.OneCycle(40),
    "OneCycle with other numbers": optim.OneCycle(25, pct_start=0.55, div_factor=4.0, final_div_factor=10.0),
}


@pytest.mark.parametrize("name", CASES)
def test_factors_are_those_of_pytorch(name: str) -> None:
    theirs = json.loads((GOLDEN / "schedules.json").read_text())
    assert set(theirs) == set(CASES)
    assert [float(CASES[name](step)) for step in range(len(theirs[name]))] == pytest.approx(theirs[name], abs=1e-12)


@pytest.mark.torch
def test_factors_are_those_of_pytorch_live() -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    factors = runpy.run_path(str(GOLDEN / "make.py"))["factors"]
    for name, schedule in CASES.items():
        theirs = factors(name)
        assert [float(schedule(step)) for step in range(len(theirs))] == pytest.approx(theirs, abs=1e-12), name


def test_a_step_falls_at_exactly_its_epoch_however_many_steps_an_epoch_has() -> None:
    for steps_per_epoch in (1, 3, 7, 45, 781, 1563):
        schedule = optim.Step(10, 0.1).bind(10**6, steps_per_epoch)
        graph = cr.trace(schedule, np.zeros((), np.float32))
        for epoch in (10, 20, 50):
            at = epoch * steps_per_epoch
            before, after = 0.1 ** (epoch / 10 - 1), 0.1 ** (epoch / 10)
            assert [float(schedule(at - 1)), float(schedule(at))] == pytest.approx([before, after])
            assert [float(graph.run(np.float32(t))) for t in (at - 1, at)] == pytest.approx([before, after], rel=1e-4)


def test_binding_leaves_the_schedule_itself_unbound() -> None:
    schedule = optim.Warmup(optim.Cosine())
    schedule.bind(100, 10)
    assert schedule.steps is None
    assert schedule.then.steps is None


@pytest.mark.parametrize("schedule", [optim.Cosine(), optim.Warmup(), optim.Linear(), optim.OneCycle()])
def test_a_schedule_without_a_length_says_so(schedule: optim.Schedule) -> None:
    with pytest.raises(ArgumentError, match=r"length is not known; give steps"):
        schedule(0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.Step(0), "every.*at least 1"),
        (lambda: optim.Step(2, 0.0), "gamma.*above 0"),
        (lambda: optim.Exponential(-0.5), "gamma.*above 0"),
        (lambda: optim.Linear(0), "steps.*at least 1"),
        (lambda: optim.Linear(10, final=-0.1), r"final.*in \[0, 1\]"),
        (lambda: optim.OneCycle(2.5), "steps.*an integer of at least 1"),  # type: ignore[arg-type]
        (lambda: optim.OneCycle(pct_start=1.5), r"pct_start.*in \[0, 1\]"),
        (lambda: optim.OneCycle(div_factor=0.5), "div_factor.*at least 1"),
        (lambda: optim.OneCycle(final_div_factor=0.0), "final_div_factor.*at least 1"),
        (lambda: optim.Cosine(0), "steps.*at least 1"),
        (lambda: optim.Cosine(10, final=1.5), r"final.*in \[0, 1\]"),
        (lambda: optim.Warmup(steps=0), "steps.*at least 1"),
        (lambda: optim.Warmup(0.5), "then: not a schedule"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_argument_is_refused_with_its_name_and_range(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()
