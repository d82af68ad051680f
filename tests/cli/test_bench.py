"""`chainrule bench` measures this machine beside the peers that are there, and names those that are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import chainrule.bench as measuring
from chainrule.bench import turns, worker_pool
from chainrule.cli import bench
from chainrule.cli.main import main

FLOOR = """
class Floor:
    def answer(self, request):
        return {"version": "", "us": 0.25}
"""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One small network and quick peers, of which one is not installed and one cannot be imported."""
    (tmp_path / "absent_peer.py").write_text("import there_is_no_such_module")
    (tmp_path / "broken_peer.py").write_text("raise OSError('no such library\\nas this')")
    monkeypatch.syspath_prepend(str(tmp_path))
    peers = {
        "chainrule": "chainrule.bench.peers.chainrule_numpy",
        "numpy": "chainrule.bench.peers.numpy",
        "broken": "broken_peer",
        "absent": "absent_peer",
    }
    (tmp_path / "quick_floor.py").write_text(FLOOR)
    monkeypatch.setattr(measuring, "PEERS", peers)
    monkeypatch.setattr(worker_pool, "FLOOR", "quick_floor")
    monkeypatch.setattr(turns, "PAUSE", 0.0)
    monkeypatch.setattr(bench, "TURN", 0.001)
    monkeypatch.setattr(bench, "CELLS", {"tiny": ((4, 8, 3), 16, 32)})


def test_bench_prints_times_and_the_floor_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    (cell,) = printed["cells"]
    assert cell["peers"]["numpy"]["us"] > cell["floor_us"] == 0.25
    assert cell["peers"]["numpy"]["ratio"] > 0
    assert cell["peers"]["chainrule"]["same_loss"]
    assert printed["left_out"]["absent"] == "not installed (there is no there_is_no_such_module)"


def test_bench_shows_a_table_and_one_line_for_each_peer_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 0
    out, err = capsys.readouterr()
    rows = {line.split()[1]: line for line in out.splitlines() if line.startswith("│")}
    assert {"chainrule", "numpy", "floor"} <= set(rows)
    assert "left out: absent: not installed (there is no there_is_no_such_module)" in out
    assert "left out: broken: OSError: no such library\n" in out
    assert "Traceback" not in out + err


def test_bench_leaves_out_what_it_has_no_time_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "SECONDS", 0.0)
    assert main(["bench"]) == 0
    assert "left out: numpy: no time was left" in capsys.readouterr().out
