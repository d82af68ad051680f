"""The full run measures each cell once, can go on, and refuses what it does not know."""

import contextlib

import pytest

import grid
from chainrule.bench import cell_series, report
from chainrule.bench.task import Cell
from chainrule.bench.turns import CellResult


@pytest.fixture
def measured_cells(monkeypatch):
    """The cells that were measured, without measuring."""
    done = []

    def measure(cell, workers, floor, pace, say):
        done.append(cell)
        return CellResult(cell, 2.0, 1.0, floor=[{"us": 1.0, "operations_per_s": 1e9, "bytes_per_s": 1e9}])

    class WorkerPool(contextlib.nullcontext):
        def __init__(self, peers, device):
            super().__init__(self)
            self.left_out, self.versions, self.floor, self.workers = {}, [], None, dict

    monkeypatch.setattr(cell_series, "measure_cell", measure)
    monkeypatch.setattr(cell_series, "WorkerPool", WorkerPool)
    return done


def test_each_cell_is_measured_once_though_series_share_cells():
    cells = [cell for members in grid.SERIES.values() for cell in members.values()]
    assert len(cell_series.select_cells(grid.SERIES)) == len(set(cells)) < len(cells)


def test_batches_divide_the_rows():
    assert all(cell.rows % cell.batch == 0 for cell in cell_series.select_cells(grid.SERIES).values())


def test_a_run_that_was_broken_off_goes_on_where_it_stopped(tmp_path, measured_cells, capsys):
    file = str(tmp_path / "found.json")
    grid.main(["--only", "S", "--json", file])
    grid.main(["--only", "S,M", "--json", file, "--again"])
    assert measured_cells == [grid.NETWORKS["S"], grid.NETWORKS["M"]]
    assert [found.cell for found in report.read_report(tmp_path / "found.json").cells] == measured_cells
    assert "| M | 784-512-256-10 |" in capsys.readouterr().out


def test_a_cell_that_two_series_share_is_in_both():
    found = report.Report({}, cells=[CellResult(grid.NETWORKS["S"], 2.0, 1.0)])
    assert {name: list(cells) for name, cells in cell_series.by_series(grid.SERIES, found).items()} == {
        "networks": ["S"],
        "batch": ["batch 32"],
    }


def test_the_list_names_cells(capsys):
    grid.main(["--list", "--only", "rows"])
    assert capsys.readouterr().out.splitlines()[0].split()[:2] == ["rows", "192"]


@pytest.mark.parametrize(
    "wrong", [["--peers", "numpi"], ["--only", "XL"], ["--rounds", "0"], ["--again"]], ids=lambda wrong: wrong[0]
)
def test_what_is_not_known_is_refused(wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        grid.main(wrong)
    assert stop.value.code == 2
    assert wrong[-1] in capsys.readouterr().err


def test_arithmetic_counts_no_gradient_of_the_inputs():
    assert Cell((2, 3), batch=4, rows=4).arithmetic == 2 * 2 * 4 * 2 * 3
