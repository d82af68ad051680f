"""How much memory there is and how much a file takes: what decides whether `fit` streams."""

import numpy as np
import polars as pl
import pytest

from chainrule.data import memory


def test_what_is_needed_grows_with_the_file(tmp_path):
    frame = pl.DataFrame({"a": range(1000), "b": [0.5] * 1000})
    frame.write_csv(tmp_path / "t.csv")
    frame.write_parquet(tmp_path / "t.parquet")
    np.savez_compressed(tmp_path / "t.npz", X=np.zeros((1000, 20)), y=np.zeros(1000))
    assert memory.needed(tmp_path / "t.csv") == 9 * (tmp_path / "t.csv").stat().st_size
    assert memory.needed(tmp_path / "t.parquet") == 32 * 2000
    # Of a compressed file it is the size of what is in it that counts.
    assert memory.needed(tmp_path / "t.npz") == pytest.approx(4 * 168_000, rel=0.01)


@pytest.mark.parametrize(("free", "fits"), [(None, True), (10**6, True), (100_000, False)])
def test_a_file_fits_into_half_of_what_is_free(tmp_path, monkeypatch, free, fits):
    pl.DataFrame({"a": range(1000), "b": [0.5] * 1000}).write_parquet(tmp_path / "t.parquet")
    monkeypatch.setattr(memory, "available", lambda: free)
    assert memory.fits(tmp_path / "t.parquet") is fits


def test_the_container_may_have_less_than_the_system(monkeypatch):
    texts = {"/proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    5000 kB\n"}
    monkeypatch.setattr(memory, "_read", lambda path: texts.get(path, ""))
    assert memory.available() == 5_120_000
    texts |= {"/sys/fs/cgroup/memory.max": "3000000", "/sys/fs/cgroup/memory.current": "1000000"}
    assert memory.available() == 2_000_000
    texts["/sys/fs/cgroup/memory.max"] = "max"
    assert memory.available() == 5_120_000
    texts.clear()
    assert memory.available() is None
