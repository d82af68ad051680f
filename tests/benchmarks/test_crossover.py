"""The benchmark of the automatic choice: its figures follow from its measurements, its fit finds known costs."""

import runpy
from pathlib import Path

import numpy as np
import pytest

NAMES = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "crossover.py"))


def row(counts, costs, kind, nodes=100, prepare=1.5):
    step = {backend: float(np.dot(counts, costs[kind[backend]])) for backend in ("numpy", "xla")}
    return {
        "case": "a", "step": step, "estimated": {"numpy": 3e-4, "xla": 1e-4}, "kind": kind, "counts": counts,
        "nodes": nodes, "prepare": prepare, "prepare_estimated": 1.0,
    }  # fmt: skip


def test_the_fit_finds_the_costs_that_made_the_times():
    rng = np.random.default_rng(0)
    costs = {"numpy": [2e-6, 1e-11, 4e-10], "one kernel": [5e-8, 8e-12, 5e-11]}
    kind = {"numpy": "numpy", "xla": "one kernel"}
    every = [(rng.uniform(50, 500), 10 ** rng.uniform(5, 8), 10 ** rng.uniform(4, 6)) for _ in range(6)]
    rows = [row(counts, costs, kind, nodes=n, prepare=0.5 + 0.01 * n) for n, counts in enumerate(every, 50)]
    found = NAMES["fitted"](rows)
    for name, expected in costs.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)
    np.testing.assert_allclose(found["prepare"], [0.5, 0.01], rtol=1e-6)


def test_compiling_pays_from_the_step_at_which_the_time_saved_makes_up_for_preparing():
    found = row([100.0, 1e6, 1e5], {"numpy": [3e-6, 0, 0], "xla": [1e-6, 0, 0]}, {"numpy": "numpy", "xla": "xla"})
    assert NAMES["crossover"](found, "step", "prepare") == pytest.approx(1.5 / 2e-4)
    assert "| 7,500 (5,000) |" in NAMES["table"]([found])
    found["step"]["xla"] = 1.0
    assert NAMES["crossover"](found, "step", "prepare") == float("inf")


def test_an_unknown_network_is_refused():
    with pytest.raises(SystemExit, match="no network begins with 5-5"):
        NAMES["main"](["--only", "5-5"])
