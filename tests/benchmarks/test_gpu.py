"""The run on a GPU asks for one, and measures each network in each precision there."""

import jax
import pytest

import gpu
from chainrule.bench import cell_series


def test_without_a_gpu_it_says_so_and_refuses(capsys):
    if jax.default_backend() == "gpu":
        pytest.skip("this machine has a GPU")
    assert gpu.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("gpu.py: error: ")


def test_every_cell_is_on_the_gpu_and_its_batch_divides_the_rows():
    cells = cell_series.select_cells(gpu.SERIES)
    assert len(cells) == 12
    assert {cell.device for cell in cells.values()} == {"gpu"}
    assert all(cell.rows % cell.batch == 0 for cell in cells.values())


def test_peers_without_a_gpu_are_unknown_here(capsys):
    with pytest.raises(SystemExit) as stop:
        gpu.main(["--peers", "scikit-learn"])
    assert stop.value.code == 2
    assert "unknown: scikit-learn" in capsys.readouterr().err
