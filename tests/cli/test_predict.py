import gzip
import json
import os
import re
import shutil

import numpy as np
import polars as pl
import pytest

from chainrule import resources
from chainrule.cli import predict, runs
from chainrule.data import batches, load


@pytest.fixture
def iris(fit):
    """A run on iris."""
    assert fit("iris", "--epochs", 60, "--out", "run")[0] == 0
    return "run"


@pytest.fixture
def flowers(iris, folder):
    """The table of iris without its target, as a file."""
    from chainrule.data import load

    frame = load("iris").frame
    frame.drop("target").write_csv(folder / "flowers.csv")
    return frame


def test_labels_are_printed_a_line_a_row(command, iris, flowers):
    status, out, err = command("predict", iris, "flowers.csv")
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert lines[0] == "target"
    assert np.mean(np.array(lines[1:]) == flowers["target"].to_numpy()) > 0.9


def test_the_target_may_be_in_the_table(command, iris, flowers):
    assert command("predict", iris, "iris")[1] == command("predict", iris, "flowers.csv")[1]


def test_probabilities_have_a_column_a_class_and_sum_to_one(command, iris, flowers, folder):
    status, out, _ = command("predict", iris, "flowers.csv", "--proba", "--out", "p.parquet")
    assert (status, out) == (0, "")
    chances = pl.read_parquet(folder / "p.parquet")
    labels = command("predict", iris, "flowers.csv")[1].split()[1:]
    assert chances.columns == ["setosa", "versicolor", "virginica"]
    assert np.allclose(chances.to_numpy().sum(axis=1), 1)
    assert [chances.columns[i] for i in chances.to_numpy().argmax(axis=1)] == labels


def test_numbers_are_in_the_units_of_the_user(command, fit):
    from chainrule.data import load

    fit("diabetes", "--epochs", 30, "--out", "run")
    status, out, _ = command("predict", "run", "diabetes")
    found, truth = np.array(out.split()[1:], dtype=float), load("diabetes").frame["target"].to_numpy()
    assert status == 0
    assert abs(found.mean() - truth.mean()) < 15
    assert np.corrcoef(found, truth)[0, 1] > 0.6


def test_the_test_rows_are_predicted_as_well_as_fit_said(command, fit, folder):
    from chainrule.data import load

    frame = load("wine").frame.sample(fraction=1, shuffle=True, seed=0)
    frame[:120].write_csv(folder / "wine.csv")
    frame[120:].write_csv(folder / "judge.csv")
    found = fit("wine.csv", "--epochs", 20, "--test", "judge.csv", "--out", "run")[1]
    assert (found["judged_by"], found["rows"]["test"]) == ("test", 58)
    labels = np.array(command("predict", "run", "judge.csv")[1].split()[1:])
    assert np.mean(labels == frame["target"][120:].to_numpy()) == found["metrics"]["accuracy"]


@pytest.mark.parametrize(("name", "options"), [("wine", {}), ("diabetes", {"members": 2}), ("iris", {"folds": 1})])
def test_what_is_loaded_predicts_the_same_bits(fit, command, name, options):
    from chainrule.cli import runs
    from chainrule.cli.made_ready import Prepared
    from chainrule.cli.options import Options
    from chainrule.data import load

    prepared = Prepared.of(name, Options(epochs=6, backend="numpy", **options))
    prepared.fit(progress=False)
    fit(
        name, "--epochs", 6, "--out", "run", *(word for name, value in options.items() for word in (f"--{name}", value))
    )
    model, _ = runs.read("run")
    again = model.predict_proba if model.preprocessor.classes else model.predict
    first = prepared.model.predict_proba if model.preprocessor.classes else prepared.model.predict
    assert np.array_equal(first(load(name)), again(load(name)))


def test_an_unseen_category_is_said_and_predicted(command, fit, table):
    table("colour,label\n" + "red,x\nblue,z\n" * 20)
    fit("table.csv", "--epochs", 3, "--out", "run")
    status, out, err = command("predict", "run", table("colour\ngreen\nred\n", "new.csv"))
    assert status == 0
    assert len(out.splitlines()) == 3
    assert err == (
        "chainrule: note: colour: 1 row with a level not seen in training (green), taken as none of those it saw\n"
    )


def test_an_existing_file_is_not_overwritten_without_being_told(command, refused, iris, flowers, folder):
    (folder / "p.csv").write_text("mine")
    assert "p.csv: exists already; --overwrite replaces a file" in refused(
        "predict", iris, "flowers.csv", "--out", "p.csv"
    )
    assert (folder / "p.csv").read_text() == "mine"
    assert command("predict", iris, "flowers.csv", "--out", "p.csv", "--overwrite")[0] == 0
    assert (folder / "p.csv").read_text().startswith("target\n")


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
@pytest.mark.parametrize("to", ["mine.csv", "nowhere.csv"])
def test_a_link_is_neither_followed_nor_replaced(refused, iris, flowers, folder, options, to):
    (folder / "mine.csv").write_text("mine")
    (folder / "p.csv").symlink_to(to)
    assert "p.csv: exists already" in refused("predict", iris, "flowers.csv", "--out", "p.csv", *options)
    assert os.readlink("p.csv") == to
    assert (folder / "mine.csv").read_text() == "mine"


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_a_file_that_came_while_predicting_is_not_overwritten(command, iris, flowers, folder, name, monkeypatch):
    frame = predict._frame

    def late(*given):
        (folder / name).write_text("mine")
        return frame(*given)

    monkeypatch.setattr(predict, "_frame", late)
    status, _, err = command("predict", iris, "flowers.csv", "--out", name)
    assert status == 2
    assert err.count("\n") == 1
    assert f"{name}: cannot be written" in err
    assert (folder / name).read_text() == "mine"
    assert not [path for path in os.listdir() if path.startswith(".")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "flowers.csv", "--out", "p.xlsx"), "--out: unknown kind of file: expected .csv or .parquet"),
        (("run", "flowers.csv", "--out", "no/p.csv"), "no: no folder that can be written to"),
        (("nowhere", "flowers.csv"), "nowhere: no such run folder"),
        (("run", "nothing.csv"), "nothing.csv: no such file"),
        (("run", "wine"), "columns that are missing: 'sepal length (cm)'"),
    ],
)
def test_a_wrong_request_is_refused(refused, iris, flowers, arguments, message):
    assert message in refused("predict", *arguments)


def test_a_column_of_another_type_is_refused(refused, iris, flowers, table):
    text = (
        "sepal length (cm),sepal width (cm),petal length (cm),petal width (cm)\n5,3,1,0.2\n5,wide,1,0.2\n5,slim,1,0.2\n"
    )
    assert "column 'sepal width (cm)': 2 of 3 cells are no number: got 'wide' in row 2" in refused(
        "predict", iris, table(text)
    )


def test_the_wrong_number_of_features_is_refused(fit, refused, folder):
    np.savez(folder / "a.npz", X=np.random.default_rng(0).normal(size=(40, 5)), y=np.arange(40) % 2)
    np.savez(folder / "b.npz", X=np.ones((4, 6)))
    fit("a.npz", "--epochs", 2, "--out", "run")
    assert "wrong number of features: expected 5, got 6" in refused("predict", "run", "b.npz")


def test_probabilities_of_a_number_are_refused(fit, refused):
    fit("diabetes", "--epochs", 2, "--out", "run")
    assert "--proba: a number has no classes" in refused("predict", "run", "diabetes", "--proba")


def _break(folder, how):
    config = folder / "config.json"
    if how == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif how == "foreign":
        config.write_text(json.dumps({"model": "something else"}))
    elif how == "not json":
        config.write_text("{")
    elif how == "no weights":
        (folder / "model.safetensors").unlink()
    elif how == "cut weights":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:100])
    else:
        content = json.loads(config.read_text())
        features = content["run"]["preprocessing"]["features"]["columns"]
        if how == "unknown kind":
            features[0]["kind"] = "picture"
        elif how == "missing entry":
            del features[0]["center"]
        elif how == "other width":
            features.pop()
        config.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "how",
    [
        "empty",
        "foreign",
        "not json",
        "no weights",
        "cut weights",
        "unknown kind",
        "missing entry",
        "other width",
    ],
)
def test_a_corrupted_or_foreign_run_is_refused(refused, iris, flowers, folder, how):
    _break(folder / iris, how)
    assert "run" in refused("predict", iris, "flowers.csv")


def test_what_fit_takes_predict_takes(command, fit, table, folder):
    rows = [f"{i % 7}.5,{'red' if i % 3 else 'blue'},{'x' if i % 7 > 3 else 'z'}\n" for i in range(80)]
    table("a,colour,label\n" + "".join(rows[:40]), "part-0.csv")
    table("a,colour,label\n" + "".join(rows[40:]), "part-1.csv")
    whole = table("a,colour,label\n" + "".join(rows), "whole.csv")
    (folder / "packed.csv.gz").write_bytes(gzip.compress((folder / "whole.csv").read_bytes()))
    assert fit("part-*.csv", "--epochs", 2, "--out", "run")[0] == 0
    answers = [command("predict", "run", name) for name in (whole, "part-*.csv", "packed.csv.gz")]
    assert [(status, out) for status, out, _ in answers] == [(0, answers[0][1])] * 3
    assert len(answers[0][1].splitlines()) == 81


def test_every_row_has_its_answer_whatever_stands_beside_it(command, fit, table):
    rows = [f"{i % 7}.5,{'red' if i % 3 else 'blue'},0{i % 7 > 3:d}\n" for i in range(80)]
    fit(table("a,colour,label\n" + "".join(rows)), "--epochs", 20, "--out", "run")
    status, out, err = command("predict", "run", table("a,colour\n0.5,red\n,\n6.5,red\nNULL,red\n<1,red\n", "new.csv"))
    assert status == 0
    answers = out.splitlines()
    assert len(answers) == 6
    assert {*answers[1:]} <= {"00", "01"}
    for i, row in enumerate(["0.5,red", ",", "6.5,red"], 1):
        assert command("predict", "run", table(f"a,colour\n{row}\n", "one.csv"))[1].splitlines()[1] == answers[i]
    assert "chainrule: note: a: 1 cell is no number: '<1' in row 5; it counts as missing\n" in err


def test_control_characters_of_labels_reach_a_file_and_not_a_terminal(command, fit, table, folder, monkeypatch):
    rows = [f"{i % 7}.5,{chr(27)}[31m{'x' if i % 7 > 3 else 'z'}\n" for i in range(80)]
    name = table("a,label\n" + "".join(rows))
    assert fit(name, "--epochs", 2, "--out", "run")[0] == 0
    assert chr(27) in command("predict", "run", name)[1]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    out = command("predict", "run", name)[1]
    assert chr(27) not in out
    assert "\\x1b[31m" in out


def test_words_for_missing_and_ignored_columns_are_options(command, fit, table, refused):
    name = table("a,b,label\n" + "".join(f"{i % 7},{i % 5},{('None', 'x')[i % 2]}\n" for i in range(60)))
    assert "the target is the same in every row" in refused("fit", name)
    status, found, _ = fit(name, "--na", "", "--ignore", "b", "--epochs", 2, "--out", "run")
    assert (status, found["classes"], found["columns"]) == (0, ["None", "x"], 1)
    assert command("predict", "run", table("a\n1\n", "new.csv"))[0] == 0


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_that_does_not_fit_is_predicted_in_batches(command, fit, table, folder, monkeypatch, ending):
    rows = [f"{i % 7}.5,{'red' if i % 3 else 'blue'},{'xz'[i % 7 > 3]}\n" for i in range(400)]
    whole = table("a,colour,label\n" + "".join(rows))
    fit(whole, "--epochs", 2, "--out", "run")
    frame = pl.read_csv(folder / whole).with_columns(a=pl.when(pl.int_range(400) == 333).then(1e6).otherwise("a"))
    getattr(frame, f"write_{ending}")(folder / f"new.{ending}")
    at_once = command("predict", "run", f"new.{ending}")
    monkeypatch.setattr(resources, "available_memory", lambda: 10_000)
    monkeypatch.setattr(batches, "TEXT", 700)
    monkeypatch.setattr(batches, "CELLS", 200)
    assert command("predict", "run", f"new.{ending}") == at_once
    assert "a: 1 row far outside the 0.5 to 6.5 of training: 1e+06 in row 334" in at_once[2]


@pytest.mark.parametrize(("precision", "most"), [("float32", 9), ("float64", 17)])
@pytest.mark.parametrize("words", [("iris", "--proba"), ("diabetes",)])
def test_numbers_have_the_digits_of_the_precision(fit, command, precision, most, words):
    run = fit(words[0], "--epochs", 2, "--precision", precision)[1]["run"]
    rows = command("predict", run, *words)[1].splitlines()[1:]
    digits = [len(re.sub(r"e.*|[^0-9]", "", cell).lstrip("0")) for row in rows for cell in row.split(",")]
    assert most - 2 <= max(digits) <= most
    model = runs.read(run)[0]
    source = load(words[0])
    found = model.predict_proba(source) if model.preprocessor.classes else model.predict(source)[:, None]
    assert np.allclose([[float(cell) for cell in row.split(",")] for row in rows], found, rtol=1e-8, atol=0)


def test_a_column_to_keep_that_is_called_as_an_answer_is_refused_with_what_to_do(refused, fit):
    run = fit("iris", "--epochs", 1)[1]["run"]
    line = refused("predict", run, "iris", "--keep", "target")
    assert "--keep: would stand in the answer twice: got 'target'; an answer is called as the target" in line
