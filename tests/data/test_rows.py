"""Rows in files: read from anywhere as they were written, and a clear word about a file that cannot be."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from chainrule.data.rows import ArrayRows, in_map, in_npy, in_npz, npz_bytes
from chainrule.errors import DataError

X = np.arange(60, dtype=np.float32).reshape(20, 3)


@pytest.fixture
def npy(tmp_path):
    def write(array, name="X.npy"):
        np.save(tmp_path / name, array)
        return tmp_path / name

    return write


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", "uint8", "int64"])
@pytest.mark.parametrize("wanted", ["float32", "float64"])
def test_rows_of_a_file_come_from_anywhere_in_the_type_asked_for(npy, dtype, wanted):
    rows = in_npy(npy(X.astype(dtype)))
    assert (rows.shape, rows.dtype) == ((20, 3), np.dtype(dtype))
    for start, count in ((7, 5), (0, 20), (19, 1), (3, 1)):
        out = np.full((count, 3), -1, wanted)
        rows.read(start, out)
        assert np.array_equal(out, X[start : start + count])


def test_images_and_single_values_are_rows_too(npy):
    images = np.arange(48, dtype=np.uint8).reshape(4, 3, 4)
    out = np.empty((2, 3, 4), np.float32)
    in_npy(npy(images)).read(1, out)
    assert np.array_equal(out, images[1:3])
    labels = np.empty(3, np.int32)
    in_npy(npy(np.arange(9), "y.npy")).read(4, labels)
    assert labels.tolist() == [4, 5, 6]


def test_the_rows_of_a_map_are_read_from_its_file_at_the_right_place(npy):
    path = npy(X)
    mapped = np.load(path, mmap_mode="r")
    out = np.empty((2, 3), np.float32)
    for part, first in ((mapped, 0), (mapped[4:], 4), (mapped[4:][3:9], 7)):
        rows = in_map(part)
        assert rows.shape == part.shape
        rows.read(1, out)
        assert np.array_equal(out, X[first + 1 : first + 3])
    # Every second row does not lie one behind the other.
    assert in_map(mapped[::2]) is None


def test_many_threads_and_a_forked_process_read_one_file_at_once(npy, monkeypatch):
    array = np.arange(400_000, dtype=np.float32).reshape(-1, 4)
    rows = in_npy(npy(array))

    def read(seed):
        """How many of many reads from anywhere gave other rows than are there."""
        random, out = np.random.default_rng(seed), np.empty((300, 4), np.float32)
        wrong = 0
        for start in random.integers(0, len(array) - 300, 200):
            rows.read(start, out)
            wrong += not np.array_equal(out, array[start : start + 300])
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(16))) == [0] * 16
        monkeypatch.delattr(os, "preadv", raising=False)  # as on Windows
        assert list(pool.map(read, range(16))) == [0] * 16
    # What a fork shares is where the file stands.
    monkeypatch.undo()
    rows.file.seek(0)
    rows.read(70, np.empty((300, 4), np.float32))
    assert rows.file.tell() == 0


@pytest.mark.parametrize("how", ["written to", "shorter", "longer"])
def test_a_file_that_changes_is_refused_by_name(npy, how):
    path = npy(X)
    rows = in_npy(path)
    rows.read(0, np.empty((20, 3), np.float32))
    with open(path, "r+b") as file:
        if how == "written to":
            file.seek(200)
            file.write(b"\1")
        else:
            file.truncate(path.stat().st_size + (1 if how == "longer" else -1))
    # A disk that keeps whole seconds only must not hide it.
    os.utime(path, ns=(0, rows._written[1] + 10**9))
    with pytest.raises(DataError, match=r"X\.npy: rows 4 to 8 cannot be read \(the file "):
        rows.read(3, np.empty((5, 3), np.float32))


def test_a_file_that_is_replaced_is_read_on_as_it_was(npy, tmp_path):
    rows = in_npy(npy(X))
    npy(-X, "new.npy")
    os.replace(tmp_path / "new.npy", tmp_path / "X.npy")
    out = np.empty((20, 3), np.float32)
    rows.read(0, out)
    assert np.array_equal(out, X)


def test_masked_elements_are_refused_where_they_are_read():
    masked = np.ma.masked_array(X, np.zeros(X.shape, bool))
    out = np.empty((5, 3), np.float32)
    ArrayRows(masked, "X").read(3, out)
    assert np.array_equal(out, X[3:8])
    masked[7, 1] = np.ma.masked
    with pytest.raises(DataError, match="X, rows 4 to 8: masked elements: got 1 of them; fill them in"):
        ArrayRows(masked, "X").read(3, out)


def test_what_is_sliced_is_read_like_an_array():
    class Dataset:
        """Like one of HDF5."""

        shape, dtype = X.shape, X.dtype

        def __getitem__(self, rows):
            assert isinstance(rows, slice)
            return X[rows]

    out = np.empty((4, 3), np.float64)
    ArrayRows(Dataset(), "X").read(2, out)
    assert np.array_equal(out, X[2:6])


def test_an_archive_that_is_not_compressed_is_read_in_place(tmp_path):
    y = np.arange(20) % 3
    np.savez(tmp_path / "s.npz", X=X, y=y)
    found = in_npz(tmp_path / "s.npz")
    assert list(found) == ["X", "y"]
    out, labels = np.empty((5, 3), np.float32), np.empty(5, np.int32)
    found["X"].read(9, out)
    found["y"].read(9, labels)
    assert np.array_equal(out, X[9:14])
    assert np.array_equal(labels, y[9:14])
    assert npz_bytes(tmp_path / "s.npz") == pytest.approx(X.nbytes + y.nbytes, abs=300)


def test_a_compressed_archive_is_refused_with_what_to_do(tmp_path):
    np.savez_compressed(tmp_path / "c.npz", X=X)
    with pytest.raises(
        DataError, match=r"c\.npz: compressed, so it can only be read as a whole; save it with np\.savez"
    ):
        in_npz(tmp_path / "c.npz")


def test_a_file_that_became_shorter_is_named_with_the_rows_that_are_gone(npy):
    path = npy(X)
    rows = in_npy(path)
    with open(path, "r+b") as file:
        file.truncate(128 + 12 * 10)
    out = np.empty((5, 3), np.float32)
    for start, said in ((8, "rows 9 to 13 cannot be read (the file ends before)"), (5, "the file has changed since")):
        with pytest.raises(DataError, match=re.escape(said)):
            rows.read(start, out)
    with pytest.raises(
        DataError, match=r"X\.npy: the file is shorter than its header says: expected 368 bytes, got 248"
    ):
        in_npy(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a .npy file of plain numbers"),
        (b"a,b\n1,2\n", "not a .npy file of plain numbers"),
        (None, r"cannot be read \(No such file or directory\)"),
    ],
)
def test_what_is_no_such_file_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "X.npy").write_bytes(content)
    with pytest.raises(DataError, match=rf"X\.npy: {message}"):
        in_npy(tmp_path / "X.npy")


def test_an_array_stored_column_by_column_is_refused(npy):
    with pytest.raises(DataError, match=r"stored column by column.*np\.ascontiguousarray"):
        in_npy(npy(np.asfortranarray(X)))


def test_an_archive_that_is_none_is_named(tmp_path):
    (tmp_path / "X.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"X\.npz: not an \.npz file of plain arrays"):
        in_npz(tmp_path / "X.npz")
