import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sklearn.datasets

import chainrule
from chainrule.data import BUNDLED, bundled, from_arrays, load
from chainrule.errors import ArgumentError, DataError


@pytest.mark.parametrize(
    ("name", "shape", "first"),
    [
        ("digits", (1797, 65), 0),
        ("iris", (150, 5), "setosa"),
        ("wine", (178, 14), "class_0"),
        ("breast_cancer", (569, 31), "malignant"),
        ("diabetes", (442, 11), 151.0),
    ],
)
def test_a_bundled_set_is_a_table_whose_target_is_named(name, shape, first):
    source = load(name)
    assert (source.name, source.default_target, source.rows) == (name, "target", shape[0])
    assert source.frame.shape == shape
    assert source.frame["target"][0] == first


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_set_is_scikit_learns_to_the_bit(name):
    found, known = load(name).frame, getattr(sklearn.datasets, f"load_{name}")()
    assert found.columns == [*known.feature_names, "target"]
    assert np.array_equal(found.drop("target").to_numpy(), known.data)
    named = name in ("iris", "wine", "breast_cancer")
    assert found["target"].to_list() == (known.target_names[known.target] if named else known.target).tolist()


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_set_is_the_same_as_arrays(name):
    found, known = bundled.arrays(name), getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    assert all(np.array_equal(x, y) for x, y in zip(found, known, strict=True))
    assert [x.dtype for x in found] == [y.dtype for y in known]


def test_the_digits_have_whole_numbers_as_their_target():
    assert load("digits").frame["target"].dtype == pl.Int64


def test_a_bundled_set_whose_file_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "_FOLDER", tmp_path)
    with pytest.raises(DataError, match=r"iris: the file of this set cannot be read.*iris\.npz"):
        load("iris")
    (tmp_path / "iris.npz").write_bytes(b"not a set")
    with pytest.raises(DataError, match=r"iris: the file of this set cannot be read"):
        load("iris")


def test_a_file_does_not_shadow_a_bundled_set_unless_it_has_an_ending(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("iris", "iris.csv"):
        (tmp_path / name).write_text("a,b\n1,2\n")
    assert load("iris").rows == 150
    assert load("iris.csv").rows == 1


def test_csv_and_parquet_hold_the_same_table(tmp_path):
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None]})
    frame.write_csv(tmp_path / "t.csv")
    frame.write_parquet(tmp_path / "t.parquet")
    csv, parquet = load(str(tmp_path / "t.csv")), load(str(tmp_path / "t.parquet"))
    assert [csv.column(name).to_list() for name in "ab"] == [["1", "2"], ["x", ""]]
    assert csv.plain.values[:, 0].tolist() == parquet.plain.values[:, 0].tolist() == [1, 2]
    assert parquet.frame.equals(frame)
    assert csv.default_target is None
    assert csv.name == "t"


@pytest.mark.parametrize(("features", "target"), [("X", "y"), ("images", "labels")])
def test_arrays_are_flattened_and_their_target_is_known(tmp_path, features, target):
    np.savez(tmp_path / "a.npz", **{features: np.ones((4, 2, 3)), target: np.arange(4)[:, None]})
    source = load(str(tmp_path / "a.npz"))
    assert source.array.shape == (4, 6)
    assert source.y.shape == (4,)
    assert (source.rows, source.columns, source.default_target) == (4, [target], target)


def test_arrays_without_targets_can_be_read_for_prediction(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.ones((4, 2)))
    assert load(str(tmp_path / "a.npz")).columns == []


def test_an_unknown_set_names_the_nearest():
    with pytest.raises(DataError, match="digts: no such file or bundled set; bundled sets: digits"):
        load("digts")


def test_a_missing_file_names_the_nearest_in_its_folder(tmp_path):
    (tmp_path / "sales.csv").write_text("a\n1\n")
    (tmp_path / "notes.txt").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"in that folder: sales.csv"):
        load(str(tmp_path / "sale.csv"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", b"x", "unknown kind of file"),
        ("t.csv", b"a,b\n", "the table is empty"),
        ("t.csv", b"\x89PNG\r\n\x1a\n\x00", "not a text file"),
        ("t.parquet", b"nonsense", "not a Parquet file"),
        ("t.npz", b"nonsense", "not an .npz file of plain arrays"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(str(tmp_path / name))


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"A": np.ones(3)}, "expected X and y, or images and labels, got A"),
        ({"X": np.ones((3, 2)), "y": np.ones(2)}, "X and y differ in length: got 3 rows and 2 targets"),
        ({"X": np.array(["a"]), "y": np.ones(1)}, "not an array of numbers"),
        ({"X": np.ones((3, 2)), "y": np.ones((3, 2))}, "one value a row is needed"),
        ({"X": np.ones((3, 0)), "y": np.ones(3)}, "there are no features"),
        ({"X": np.ones((0, 2)), "y": np.ones(0)}, "the table is empty"),
        ({"X": np.array([{}], dtype=object), "y": np.ones(1)}, "not an .npz file of plain arrays"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load(str(tmp_path / "a.npz"))


def test_one_feature_without_an_axis_is_one_column():
    assert from_arrays(np.arange(4)).array.shape == (4, 1)


def test_importing_the_package_of_data_imports_no_table_library():
    code = "import sys, chainrule.data; print([m for m in ('polars', 'sklearn', 'rich') if m in sys.modules])"
    source = str(Path(chainrule.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == "[]"


def test_every_bundled_set_is_listed():
    assert BUNDLED == ("digits", "iris", "wine", "breast_cancer", "diabetes")


@pytest.mark.parametrize("table", [pl.DataFrame({"a": [1.0]}), np.zeros((3, 2)), [[1.0, 2.0]], None])
def test_what_is_no_name_is_refused_with_what_to_do(table):
    with pytest.raises(ArgumentError, match=r"load: the name of a file.*write a table to a file first"):
        load(table)
