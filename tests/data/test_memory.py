"""How much memory there is and how much a file takes: what decides whether `fit` streams."""

import numpy as np
import polars as pl
import pytest

from chainrule import resources
from chainrule.data import load, memory
from chainrule.errors import DataError


def test_what_is_needed_grows_with_the_file(tmp_path):
    frame = pl.DataFrame({"a": range(1000), "b": [0.5] * 1000})
    frame.write_csv(tmp_path / "t.csv")
    frame.write_parquet(tmp_path / "t.parquet")
    np.savez_compressed(tmp_path / "t.npz", X=np.zeros((1000, 20)), y=np.zeros(1000))
    assert memory.needed(tmp_path / "t.csv") == 9 * (tmp_path / "t.csv").stat().st_size
    assert memory.needed(tmp_path / "t.parquet") == 32 * 2000
    # Of a compressed file it is the size of what is in it that counts.
    assert memory.needed(tmp_path / "t.npz") == pytest.approx(4 * 168_000, rel=0.01)


@pytest.mark.parametrize(("free", "fits"), [(10**6, True), (100_000, False)])
def test_a_file_fits_into_half_of_what_is_free(tmp_path, monkeypatch, free, fits):
    pl.DataFrame({"a": range(1000), "b": [0.5] * 1000}).write_parquet(tmp_path / "t.parquet")
    monkeypatch.setattr(resources, "available_memory", lambda: free)
    assert memory.fits(tmp_path / "t.parquet") is fits


def test_a_file_that_does_not_fit_is_refused_before_it_is_read_and_can_perhaps_be_streamed(tmp_path, monkeypatch):
    X, y = np.random.default_rng(0).normal(size=(2000, 20)), np.zeros(2000)
    np.savez_compressed(tmp_path / "small.npz", X=X, y=y)
    np.savez(tmp_path / "plain.npz", X=X, y=y)
    pl.DataFrame(X).write_csv(tmp_path / "t.csv")
    monkeypatch.setattr(resources, "available_memory", lambda: 1_000_000)
    match = r"small.npz: does not fit into memory \(about 1.35 MB are needed, 1 MB are free\), and cannot be streamed"
    with pytest.raises(DataError, match=match):
        load(str(tmp_path / "small.npz"))
    for name in ("plain.npz", "t.csv"):
        with pytest.raises(DataError, match=rf"{name}: does not fit into memory .*chainrule.data.stream") as error:
            load(str(tmp_path / name))
        assert "\n" not in str(error.value)
    monkeypatch.setattr(resources, "available_memory", lambda: 10**9)
    assert load(str(tmp_path / "small.npz")).rows == 2000
