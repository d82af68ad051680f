"""Peers take turns, a peer that trains otherwise is marked, and one that fails disturbs nobody."""

import json
import math
from statistics import median

import pytest

from chainrule.bench import report, table, turns
from chainrule.bench.peer import Refused
from chainrule.bench.peers import numpy as plain_numpy
from chainrule.bench.task import Cell
from chainrule.bench.turns import Pace, measure_cell
from chainrule.bench.worker import Desk
from chainrule.bench.worker_pool import PeerError, WorkerPool

CELL = Cell((5, 4, 3), batch=6, rows=12)
PACE = Pace(rounds=3, seconds=0.001)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(turns, "PAUSE", 0.0)


class InProcess:
    """A peer that answers as its process would, without one."""

    def __init__(self, kind):
        self.desk, self.asked = Desk(kind), []

    def ask(self, do, limit=None, **arguments):
        self.asked.append(do)
        return json.loads(json.dumps(self.desk.answer({"do": do, **arguments})))


class Floor:
    def ask(self, do, limit=None, **arguments):
        return {"us": 0.5}


class Faster(plain_numpy.Peer):
    """A learning rate 2 % too large."""

    def _adam(self):
        before = self.flat.copy()
        super()._adam()
        self.flat += 0.02 * (self.flat - before)


class NotANumber(plain_numpy.Peer):
    def train(self, epochs, shuffled=True):
        self.flat[:] = math.nan


def measured(peers, pace=PACE):
    return measure_cell(CELL, peers, Floor(), pace, lambda text: None)


def test_every_peer_has_a_time_and_a_ratio_for_each_round():
    found = measured({"chainrule": InProcess(plain_numpy.Peer), "numpy": InProcess(plain_numpy.Peer)})
    ours, theirs = found.peers["chainrule"], found.peers["numpy"]
    assert len(ours.us) == len(theirs.us) == len(found.floor) == 3
    assert theirs.ratios == pytest.approx([b / a for a, b in zip(ours.us, theirs.us, strict=True)])
    assert ours.same_loss
    assert theirs.same_loss


@pytest.mark.parametrize("wrong", [Faster, NotANumber])
def test_a_peer_that_trains_wrongly_is_marked_and_is_not_the_fastest(wrong):
    found = measured({"chainrule": InProcess(plain_numpy.Peer), "numpy": InProcess(wrong)})
    found.peers["numpy"].us = [0.0] * 3
    assert not found.peers["numpy"].same_loss
    assert found.peers["chainrule"].same_loss
    row = table.markdown_table({"networks": {"tiny": found}}).splitlines()[-1]
    assert row.count("other loss") == 1
    assert table.fastest(found) == "chainrule"


def test_a_peer_that_refuses_or_dies_is_named_and_the_others_go_on():
    class Dies(InProcess):
        def ask(self, do, limit=None, **arguments):
            if self.asked.count("time") == 8:
                raise PeerError("its process ended")
            return super().ask(do, **arguments)

    class Refuses(plain_numpy.Peer):
        def prepare(self):
            raise Refused("not today")

    peers = {"torch": Dies(plain_numpy.Peer), "keras": InProcess(Refuses), "numpy": InProcess(plain_numpy.Peer)}
    found = measured(peers)
    assert found.left_out == {"torch": "its process ended", "keras": "not today"}
    assert list(found.peers) == ["numpy"]


def test_a_floor_that_dies_is_named_and_the_peers_go_on():
    class Dies:
        def ask(self, do, limit=None, **arguments):
            raise PeerError("its process ended")

    found = measure_cell(CELL, {"numpy": InProcess(plain_numpy.Peer)}, Dies(), PACE, lambda text: None)
    assert found.left_out == {"floor": "its process ended"}
    assert len(found.peers["numpy"].us) == PACE.rounds
    assert "| 12 | – |" in table.markdown_table({"networks": {"tiny": found}})


def test_a_peer_whose_epoch_is_too_long_is_left_out_with_the_reason():
    found = measured({"numpy": InProcess(plain_numpy.Peer)}, Pace(rounds=1, longest_epoch=0.0))
    assert "one epoch takes" in found.left_out["numpy"]


def test_the_fixed_part_of_a_call_is_what_does_not_grow_with_the_epochs():
    found = measured({"numpy": InProcess(plain_numpy.Peer)})
    peer = found.peers["numpy"]
    peer.epochs, fixed, epoch = 10, 0.5, 2.0
    peer.call_s, peer.us = [fixed + epoch], [(fixed + 10 * epoch) / (10 * CELL.steps) * 1e6]
    assert found.fixed_s("numpy") == pytest.approx(fixed)


def test_a_report_survives_its_file(tmp_path):
    found = report.Report({"processor": "x", "cores": 2, "python": "3"}, ["numpy 2"], left_out={"torch": "why"})
    found.cells.append(measured({"numpy": InProcess(plain_numpy.Peer)}))
    report.write_report(tmp_path / "found.json", found)
    assert report.read_report(tmp_path / "found.json") == found


def test_the_table_names_who_was_left_out_and_what_is_lost():
    found = measured({"chainrule": InProcess(plain_numpy.Peer), "numpy": InProcess(plain_numpy.Peer)})
    found.peers["chainrule"].us, found.peers["numpy"].us = [10.0, 12.0, 11.0], [5.0, 6.0, 5.5]
    found.peers["numpy"].ratios = [0.5, 0.5, 0.5]
    found.left_out["torch"] = "its process ended"
    text = table.markdown_table({"networks": {"tiny": found}, "batch": {"again": found}})
    assert text.splitlines()[-1] == (
        "| tiny | 5-4-3 | 6 | 12 | 0.50 | 11.0 (10.0 – 12.0) | **5.50** (5.00 – 6.00) 0.50× |"
    )
    whole = report.Report({}, cells=[found], left_out={"keras": "not installed (pip install keras)"})
    notes = table.notes(whole, {CELL: "tiny"})
    assert "left out: keras: not installed (pip install keras)" in notes
    assert "left out: torch: its process ended (tiny)" in notes
    assert "lost to numpy 0.50× (tiny)" in notes


def test_processes_answer_and_what_fails_says_one_line(tmp_path, monkeypatch):
    (tmp_path / "absent_peer.py").write_text("import there_is_no_such_module")
    (tmp_path / "broken_peer.py").write_text("raise RuntimeError('no compiler\\nat all')")
    monkeypatch.syspath_prepend(str(tmp_path))
    peers = {
        "numpy": "chainrule.bench.peers.numpy",
        "broken": "broken_peer",
        "absent": "absent_peer",
    }
    with WorkerPool(peers) as pool:
        assert pool.left_out == {
            "absent": "not installed (there is no there_is_no_such_module)",
            "broken": "RuntimeError: no compiler",
        }
        found = measure_cell(CELL, pool.workers(), Floor(), Pace(rounds=1, seconds=0.001), lambda text: None)
        assert median(found.peers["numpy"].us) > 0
        assert found.peers["numpy"].same_loss
        with pytest.raises(PeerError, match="AssertionError"):
            pool.workers()["numpy"].ask("time", epochs=1)  # between two cells
        again = pool.workers()["numpy"]
        assert again.ask("hello")["version"].startswith("numpy")
        again.stop()
        with pytest.raises(PeerError, match="its process ended with status -9"):
            again.ask("hello")
