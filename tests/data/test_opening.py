"""What can be opened as a stream, and what is said of the rest."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.data.rows import ArrayRows, FileRows
from chainrule.errors import ChainruleError

X = np.arange(60, dtype=np.float32).reshape(20, 3)
Y = np.arange(20) % 3


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", Y)
    return tmp_path / "X.npy", tmp_path / "y.npy"


def test_files_maps_and_arrays_are_the_same_stream(files):
    kinds = {}
    for features, targets in (
        files,
        tuple(map(str, files)),
        tuple(np.load(path, mmap_mode="r") for path in files),
        (X, Y),
        (X, Y.tolist()),
        (files[0], Y),
    ):
        stream = cr.data.stream(features, targets)
        a, b = np.empty((20, 3), np.float32), np.empty(20, np.int32)
        stream.read(0, a, b)
        assert np.array_equal(a, X)
        assert np.array_equal(b, Y)
        kinds[type(features)] = type(stream.X)
    assert kinds[np.memmap] is FileRows
    assert kinds[np.ndarray] is ArrayRows


def test_arrays_can_have_rows_held_out(files):
    stream = cr.data.stream(*files, validation=0.2, test=0.2, seed=1)
    parts = [stream.validation[0], stream.test[0]]
    assert stream.rows + sum(map(len, parts)) == 20
    assert cr.data.stream(*files).validation is None


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("X.npy", None, "target: rows without targets; give y, an array or a .npy file"),
        ("X.h5", "y.npy", r"X\.h5: a kind of file that cannot be streamed: expected \.csv"),
        ("digits", None, "digits: a kind of file that cannot be streamed"),
        ("none.npz", None, r"none\.npz: cannot be read \(No such file"),
        ("none.csv", None, r"none\.csv: no such file"),
    ],
)
def test_what_cannot_be_opened_is_named(files, monkeypatch, source, target, message):
    monkeypatch.chdir(files[0].parent)
    with pytest.raises(ChainruleError, match=message):
        cr.data.stream(source, target)


def test_an_archive_with_other_arrays_is_named(tmp_path):
    np.savez(tmp_path / "t.npz", A=X, B=Y)
    with pytest.raises(
        ChainruleError, match="the arrays are missing: expected X and y, or images and labels, got A, B"
    ):
        cr.data.stream(tmp_path / "t.npz")
