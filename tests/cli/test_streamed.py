"""`fit` on tables that are read in chunks: on request, and by itself where memory is short."""

import json
import os

import numpy as np
import polars as pl
import pytest

from chainrule import resources
from chainrule.cli.streamed import Streamed
from chainrule.data.rows import FileRows
from chainrule.errors import DataError

SHORT = ("--epochs", 4, "--layers", "8")
CHUNKS = ("--layers", "8", "--stream", "--chunk-rows", 64, "--batch-size", 32)


def frame(rows=600, seed=0):
    rng = np.random.default_rng(seed)
    size, colour = rng.normal(size=rows), rng.choice(["red", "blue"], rows)
    return pl.DataFrame(
        {
            "size": [None if i % 11 == 0 else round(float(size[i]), 3) for i in range(rows)],
            "colour": colour.tolist(),
            "price": np.where(colour == "red", 3, 5) + size,
            "label": np.where((size > 0) == (colour == "red"), "yes", "no").tolist(),
        }
    )


@pytest.fixture
def table(folder):
    frame().write_csv(folder / "t.csv")
    frame().write_parquet(folder / "t.parquet")
    return folder


@pytest.fixture
def scarce(monkeypatch):
    """A machine with hardly any memory to spare."""
    monkeypatch.setattr(resources, "available_memory", lambda: 20_000)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
@pytest.mark.parametrize("target", ["label", "price"])
def test_a_streamed_run_is_a_run_like_any_other(table, fit, command, name, target):
    status, found, err = fit(name, *CHUNKS, "--target", target, "--epochs", 40)
    assert status == 0
    assert sum(found["rows"].values()) == 600
    assert found["features"] == {"label": 4, "price": 4}[target]
    known = next(iter(found["metrics"]))
    assert found["metrics"][known] > found["baseline"][known] + 0.1
    assert any("rows are streamed in" in note and "in memory at a time" in note for note in found["notes"])
    # What is said of memory is said before the training begins.
    assert "in memory at a time" in err.splitlines()[0]
    assert sorted(os.listdir("runs/t")) == ["checkpoint", "config.json", "history.jsonl", "model.safetensors"]
    status, out, _ = command("predict", "runs/t", name)
    assert status == 0
    assert len(out.splitlines()) == 601


def test_a_streamed_run_reaches_what_one_in_memory_does(table, fit):
    _, memory, _ = fit("t.csv", "--epochs", 30, "--layers", "8", "--out", "memory", "--folds", 1)
    _, streamed, _ = fit("t.csv", "--epochs", 30, "--layers", "8", "--stream", "--out", "streamed")
    for name in ("features", "parameters", "classes", "task", "target", "columns"):
        assert memory[name] == streamed[name]
    assert streamed["metrics"]["accuracy"] > memory["metrics"]["accuracy"] - 0.06


@pytest.mark.parametrize("target", ["label", "price"])
def test_several_networks_may_see_the_same_stream(table, fit, command, target):
    status, found, _ = fit(
        "t.parquet",
        *SHORT,
        *CHUNKS[2:],
        "--target",
        target,
        "--members",
        3,
        "--validation",
        0.1,
        "--test",
        0.3,
        "--bins",
        4,
    )
    assert status == 0
    assert (found["networks"], found["folds"]) == (3, 1)
    assert found["judged_by"] == "test"
    assert (found["rows"]["validation"], found["rows"]["test"]) == pytest.approx((60, 180), abs=12)
    first, second = (command("predict", "runs/t", "t.csv")[1] for _ in "ab")
    assert first == second


def test_a_table_that_does_not_fit_is_streamed_without_being_asked(table, fit, scarce):
    _, found, _ = fit("t.parquet", *SHORT)
    assert any("streamed" in note for note in found["notes"])
    config = json.loads((table / "runs/t/config.json").read_text())
    assert config["run"]["options"]["stream"] is True


def test_a_table_that_fits_is_not(table, fit):
    _, found, _ = fit("t.parquet", *SHORT)
    assert not any("streamed" in note for note in found["notes"])


def test_several_files_are_one_table(folder, fit):
    for i in range(3):
        frame(200, seed=i).write_parquet(folder / f"part-{i}.parquet")
    status, found, _ = fit("part-*.parquet", *SHORT, "--out", "several")
    assert status == 0
    assert sum(found["rows"].values()) == 600


def test_an_archive_that_is_not_compressed_is_streamed(folder, fit, scarce):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    np.savez(folder / "a.npz", X=rng.normal(size=(300, 4)) + y[:, None], y=y)
    status, found, _ = fit("a.npz", *SHORT)
    assert status == 0
    assert any("streamed" in note for note in found["notes"])


def test_a_compressed_archive_that_does_not_fit_is_refused_in_one_line(folder, refused, scarce):
    np.savez_compressed(folder / "a.npz", X=np.zeros((300, 4)), y=np.arange(300) % 2)
    line = refused("fit", "a.npz")
    assert "a.npz: does not fit into memory (about 49 kB are needed, 20 kB are free), and cannot be streamed" in line
    assert "save it with np.savez" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("t.csv", "--stream", "--chunk-rows", 16, "--batch-size", 32),
            "chunk_rows: not a whole batch: expected at least 32",
        ),
        (
            ("t.csv", "--stream", "--chunk-rows", 0),
            "--chunk-rows: not an allowed value: expected an integer of at least 1",
        ),
        (("t.csv", "--stream", "--target", "lable"), "target: no such column: expected one of 'label'"),
        (("digits", "--stream"), "digits: a kind of file that cannot be streamed: expected .csv"),
        (("none-*.csv",), "none-*.csv: no file fits the pattern"),
        (("t.csv", "--stream", "--folds", 3), "--folds: a table that is read in chunks is not dealt into folds"),
        (("t.csv", "--stream", "--weights", "price"), "--weights: not for a table that is read in chunks"),
        (("t.csv", "--stream", "--class-weight", "balanced"), "--class-weight: not for a table that is read in chunks"),
        (("t.csv", "--stream", "--metric", "auc"), "--metric: not for a table that is read in chunks"),
        (("t.csv", "--stream", "--test", "t.parquet"), "--test: of a stream only a share can be held out"),
        (("t.csv", "--stream", "--validation", "t.parquet"), "--validation: of a stream only a share can be held out"),
    ],
)
def test_a_wrong_request_is_refused(table, refused, arguments, message):
    assert message in refused("fit", *arguments)


def test_a_streamed_run_is_gone_on_with_as_a_stream(table, fit, refused):
    fit("t.csv", *CHUNKS, "--epochs", 4, "--out", "run")
    status, found, _ = fit("t.csv", *CHUNKS, "--epochs", 7, "--out", "run", "--resume")
    assert status == 0
    assert found["epochs"] == 7
    history = [json.loads(line) for line in (table / "run/history.jsonl").read_text().splitlines()]
    assert len(history) == 7
    frame(seed=1).write_csv(table / "t.csv")
    assert "was trained on other rows" in refused("fit", "t.csv", "--out", "run", "--resume")


def test_where_the_rows_cannot_be_read_any_more_what_was_learnt_is_kept(table, fit, monkeypatch):
    read = FileRows.read

    def broken(self, start, out):
        broken.reads += 1
        if broken.reads > 3000:
            raise DataError("rows 1 to 9 cannot be read (Input/output error)", where="the disk")
        read(self, start, out)

    broken.reads = 0
    monkeypatch.setattr(FileRows, "read", broken)
    status, found, err = fit("t.csv", *CHUNKS, "--epochs", 90)
    assert status == 1
    assert "the disk: rows 1 to 9 cannot be read (Input/output error)" in err
    assert found["stopped"] == "not read"
    assert found["epochs"] < 90
    assert os.path.isfile("runs/t/model.safetensors")
    monkeypatch.setattr(FileRows, "read", read)
    status, found, _ = fit("t.csv", "--out", "runs/t", "--resume")
    assert (status, found["epochs"]) == (0, 90)


def test_the_guess_is_the_most_frequent_class_or_the_mean(table):
    from chainrule.cli.options import Options

    for target in ("label", "price"):
        made = Streamed.of("t.parquet", Options(target=target))
        y = np.empty((made.stream.rows, *made.stream.y.shape[1:]), np.float32)
        made.stream.y.read(0, y)
        preprocessor = made.model.preprocessor
        if target == "label":
            shares = np.bincount(y.astype(int)) / len(y)
            assert made.guess == preprocessor.classes[shares.argmax()]
            assert made.usual == pytest.approx(shares)
        else:
            assert made.guess == pytest.approx(preprocessor.decode(y).mean())
