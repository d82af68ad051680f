"""The benchmark of sweeps: both sides train the same grid, and what it prints are their figures."""

import json
import runpy
from pathlib import Path

import pytest

MAIN = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "sweep.py"))


def test_both_sides_train_and_the_time_of_a_sample_is_scaled(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CHAINRULE_CACHE", "off")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    asked = ["--side", "2", "--folds", "2", "--epochs", "2", "--sample", "1", "--jobs", "1"]
    MAIN["main"]([*asked, "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["chainrule"]["trials"] == 8
    assert found["scikit-learn"]["seconds"] == pytest.approx(4 * found["scikit-learn"]["measured"])
    assert found["scikit-learn"]["combinations"] == 1
    assert found["chainrule"]["accuracy"] > 0.5
    assert "ratio: " in capsys.readouterr().out


def test_the_grid_has_as_many_values_of_each_as_asked_for():
    assert {name: len(values) for name, values in MAIN["grid"](3).items()} == {"lr": 3, "alpha": 3}
