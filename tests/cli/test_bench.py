"""`chainrule bench` measures what backend="auto" goes by."""

from __future__ import annotations

import json

import pytest

from chainrule.cli import bench
from chainrule.cli.main import main


def test_bench_prints_estimate_and_measurement_for_both_backends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "CASES", (((4, 8, 3), 16, 32, 1),))
    assert main(["bench", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["backend"] for row in printed["rows"]] == ["numpy", "xla"]
    assert all(row["step_measured"] > 0 and row["step_estimated"] > 0 for row in printed["rows"])
    assert printed["rows"][1]["prepare_measured"] > printed["rows"][0]["prepare_measured"]
    assert set(printed["crossover_steps"]["4-8-3"]) == {"estimated", "measured"}


def test_bench_shows_a_table_and_the_crossover(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "CASES", (((4, 8, 3), 16, 32, 1),))
    assert main(["bench"]) == 0
    assert "compiling pays from" in capsys.readouterr().out
