"""`fit`: which rows are trained on, choose when to stop, and judge; how much they count; and for how long it trains."""

import re

import numpy as np
import pytest

from chainrule.cli import runs

SHORT = ("--epochs", 4, "--layers", "8")


def made(rows=60, seed=0):
    """A table of numbers, a category and a flag, whose label follows from them."""
    rng = np.random.default_rng(seed)
    size, colour = rng.normal(size=rows), rng.choice(["red", "blue"], rows)
    label = np.where((size > 0) == (colour == "red"), "yes", "no")
    lines = [f"{size[i]:.3f},{colour[i]},{str(i % 2 == 0).lower()},{label[i]}" for i in range(rows)]
    return "\n".join(["size,colour,flag,label", *lines, ""])


# ---- rows: which train, which judge


def test_every_row_is_trained_on_and_judged_by_networks_that_have_not_seen_it(fit, folder):
    status, found, _ = fit("iris", *SHORT)
    assert status == 0
    assert found["rows"] == {"train": 150, "validation": 0, "test": 0}
    assert (found["folds"], found["networks"]) == (5, 5)
    assert found["judged_by"] == "out of fold"
    assert set(found["metrics"]) == {"accuracy", "balanced_accuracy", "auc", "f1", "log_loss"}
    assert all(0 < error < 0.2 for error in found["errors"].values())


def test_random_labels_are_judged_to_be_random(fit, command, table):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(150, 10)), rng.choice(["x", "z"], 150)
    header = ",".join(f"x{i}" for i in range(10)) + ",label"
    name = table("\n".join([header, *(",".join([*map(str, row), label]) for row, label in zip(X, y, strict=True)), ""]))
    status, found, _ = fit(name, "--epochs", 200, "--lr", 0.02, "--out", "run")
    assert status == 0
    assert abs(found["metrics"]["accuracy"] - 0.5) < 3 * found["errors"]["accuracy"]
    assert abs(found["metrics"]["auc"] - 0.5) < 3 * found["errors"]["auc"]


@pytest.mark.parametrize(
    ("options", "networks"), [(("--folds", 3), 3), (("--members", 2), 10), (("--folds", 2, "--members", 3), 6)]
)
def test_networks_are_as_many_as_asked_for(fit, command, options, networks):
    status, found, _ = fit("iris", *SHORT, *options, "--out", "run")
    assert (status, found["networks"]) == (0, networks)
    assert len(command("predict", "run", "iris")[1].splitlines()) == 151


def test_one_fold_holds_a_share_out_to_stop_and_judges_by_it(fit, command):
    status, found, _ = fit("iris", *SHORT, "--folds", 1)
    assert status == 0
    assert (found["networks"], found["folds"], found["judged_by"]) == (1, 1, "held out")
    assert "accuracy" in found["metrics"]
    _, out, _ = command("fit", "iris", *SHORT, "--folds", 1, "--backend", "numpy")
    assert "network 4-8-3" in out
    assert "rows held out" in out


@pytest.mark.parametrize("options", [("--test", 0.2), ("--validation", 0.2), ("--test", 0.2, "--validation", 0.1)])
def test_a_share_of_the_rows_may_stand_apart(fit, options):
    shares = dict(zip(options[::2], options[1::2], strict=True))
    status, found, _ = fit("iris", *SHORT, *options)
    assert status == 0
    assert found["rows"]["test"] == 150 * shares.get("--test", 0)
    assert found["rows"]["validation"] == 150 * shares.get("--validation", 0)
    assert sum(found["rows"].values()) == 150
    assert found["judged_by"] == ("test" if "--test" in shares else "held out")
    assert found["folds"] == (1 if "--validation" in shares else 5)


@pytest.fixture
def halves(folder):
    """Two files of one table, and one whose columns have other names."""
    lines = made(120).splitlines()
    (folder / "train.csv").write_text("\n".join([lines[0], *lines[1:81], ""]))
    (folder / "more.csv").write_text("\n".join([lines[0], *lines[81:], ""]))
    (folder / "other.csv").write_text("\n".join(["height,colour,flag,label", *lines[81:], ""]))
    (folder / "unlabelled.csv").write_text("\n".join(["size,colour,flag", "1,red,true", ""]))
    (folder / "unheard.csv").write_text("\n".join([lines[0], "1,red,true,perhaps", ""]))
    (folder / "reordered.csv").write_text(
        "\n".join(",".join(line.split(",")[::-1]) for line in [lines[0], *lines[81:]])
    )


def test_rows_of_another_file_may_judge_or_choose_when_to_stop(fit, halves):
    judged = fit("train.csv", *SHORT, "--test", "more.csv")[1]
    assert (judged["judged_by"], judged["rows"]["test"], judged["rows"]["train"]) == ("test", 40, 80)
    stopped = fit("train.csv", *SHORT, "--validation", "more.csv")[1]
    assert (stopped["judged_by"], stopped["rows"]["validation"], stopped["folds"]) == ("held out", 40, 1)
    reordered = fit("train.csv", *SHORT, "--test", "reordered.csv", "--target", "label")[1]
    assert reordered["metrics"] == judged["metrics"]


@pytest.mark.parametrize("option", ["--validation", "--test"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other.csv", "other: columns that are missing: 'size'"),
        ("unlabelled.csv", "unlabelled.csv: has no column 'label', the target"),
        ("unheard.csv", "column 'label', row 1: an unknown class: expected one seen in training"),
        ("nowhere.csv", "nowhere.csv: no such file"),
        ("iris", "has no column 'label', the target"),
    ],
)
def test_rows_of_another_kind_are_refused(refused, halves, option, name, message):
    assert message in refused("fit", "train.csv", *SHORT, option, name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--validation", 0.2, "--folds", 3), "--folds and --validation: cannot be used together"),
        (("--validation", 0.6, "--test", 0.5), "no rows are left to train on"),
        (("--folds", 151), "folds: not an allowed value: expected an integer in [2, 150], got 151"),
        (("--weights", "petals"), "--weights: no such column: expected one of 'petal"),
        (("--weights", "target"), "--weights, column 'target', row 1: not a number"),
    ],
)
def test_what_contradicts_itself_is_refused(refused, arguments, message):
    assert message in refused("fit", "iris", *SHORT, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("iris", "--metric", "rmse"), "metric: does not fit classes: expected one of accuracy"),
        (("diabetes", "--metric", "auc"), "metric: does not fit numbers: expected one of r2"),
        (("iris", "--metric", "acuracy"), "--metric: unknown value: expected one of 'accuracy'"),
        (("iris", "--metric", "auc,auc"), "--metric: a name that stands twice: got 'auc,auc'"),
        (("iris", "--metric", ""), "--metric: unknown value"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused(refused, arguments, message):
    assert message in refused("fit", *arguments)


def test_the_metrics_asked_for_come_first_and_the_first_stops_the_training(fit, folder):
    status, found, _ = fit("iris", *SHORT, "--metric", "f1,auc")
    assert status == 0
    assert list(found["metrics"])[:2] == ["f1", "auc"]
    assert "val_f1" in (folder / "runs/iris/history.jsonl").read_text()
    assert next(iter(fit("diabetes", *SHORT, "--metric", "mae")[1]["metrics"])) == "mae"


def test_what_else_is_said_of_rows_is_said_by_their_weights(fit, command, table):
    rows = [f"{i % 7},{i % 3},{0.5 if i % 2 else 1.5},{'ab'[i % 7 > 2]}" for i in range(42)]
    table("a,b,w,y\n" + "\n".join(rows) + "\n")
    arguments = ("table.csv", "--target", "y", "--weights", "w", "--epochs", 2)
    found = fit(*arguments)[1]
    matrix = np.array(found["confusion"])
    assert matrix.sum() == pytest.approx(42)
    assert np.trace(matrix) / matrix.sum() == pytest.approx(found["metrics"]["accuracy"])
    assert re.search(r"most often mistaken: . for . \d+\.\d×", command("fit", *arguments, "--backend", "numpy")[1])


def test_what_else_the_rows_held_out_say_is_told(fit, command):
    _, found, _ = fit("iris", "--epochs", 40)
    assert np.sum(found["confusion"]) == 150
    assert sum(group["rows"] for group in found["calibration"]) == 150
    assert set(found["importance"]) == {
        f"{part} {size} (cm)" for part in ("sepal", "petal") for size in ("length", "width")
    }
    assert next(iter(found["importance"])).startswith("petal")
    out = command("fit", "iris", "--epochs", 40, "--backend", "numpy")[1]
    assert "columns that matter" in out
    assert "most often mistaken: v" in out


def test_numbers_have_no_classes_to_weigh(refused):
    assert "class_weight: a number has no classes" in refused("fit", "diabetes", "--class-weight", "balanced")


def test_rows_count_as_their_column_of_weights_says(fit, command, table, folder):
    lines = made(60).splitlines()
    table("\n".join([f"w,{lines[0]}", *(f"{i % 3},{line}" for i, line in enumerate(lines[1:])), ""]), "weighed.csv")
    table(
        "\n".join([f"w,{lines[0]}", *(f"{i % 3},{line}" for i, line in enumerate(lines[1:]) if i % 3), ""]), "fewer.csv"
    )
    for name in ("weighed", "fewer"):
        status, found, _ = fit(f"{name}.csv", *SHORT, "--weights", "w", "--out", name)
        assert (status, found["rows"]["train"]) == (0, 40)
    # A row of weight 0 is as if it were not there, and the weights are no column to learn from.
    assert found["columns"] == 3
    weighed, fewer = ((folder / name / "model.safetensors").read_bytes() for name in ("weighed", "fewer"))
    assert weighed == fewer
    assert fit("fewer.csv", *SHORT, "--out", "plain")[1]["columns"] == 4
    assert command("predict", "weighed", "weighed.csv")[0] == 0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (["1", "-1", "1", "1"], "weights: a weight is a finite number of at least 0: got -1 in row 2"),
        (["0", "0", "0", "0"], "weights: no row with a target has a weight above 0"),
        (["1", "", "1", "1"], "--weights, column 'w', row 2: not a number"),
        (["1", "much", "1", "1"], "--weights, column 'w', row 2: not a number"),
    ],
)
def test_bad_weights_are_refused(refused, table, weights, message):
    rows = [f"{weight},{i},{'xz'[i % 2]}" for i, weight in enumerate(weights)]
    assert message in refused("fit", table("\n".join(["w,a,label", *rows, ""])), "--weights", "w")


def test_classes_may_count_the_same(fit):
    status, found, _ = fit("iris", *SHORT, "--class-weight", "balanced", "--out", "balanced")
    assert status == 0
    assert "accuracy" in found["metrics"]


def test_a_class_of_one_row_is_named(fit, table):
    status, found, _ = fit(table(made(40) + "1.0,red,true,maybe\n"), *SHORT)
    assert status == 0
    assert "label: only one row is of class 'maybe'; no estimate says how well it is found" in found["notes"]


# ---- time


def test_a_time_too_short_for_anything_gives_the_best_so_far(fit, command):
    status, found, _ = fit("iris", "--epochs", 100_000, "--time-budget", 0.001, "--out", "run")
    assert status == 0
    assert found["epochs"] <= 3
    assert "accuracy" in found["metrics"]
    assert len(command("predict", "run", "iris")[1].splitlines()) == 151
    status, found, _ = fit("iris", "--out", "run", "--resume", "--time-budget", 100, "--epochs", 4)
    assert (status, found["epochs"]) == (0, 4)


@pytest.mark.parametrize("bins", [0, 3])
def test_numbers_may_be_cut_into_pieces(fit, folder, bins):
    assert fit("iris", *SHORT, "--bins", bins, "--out", "run")[0] == 0
    feed = runs.read("run")[0].trainer.model.layers[0]
    assert feed.bins == bins
    assert (feed.pieces is not None) == bool(bins)


def test_a_run_whose_validation_rows_changed_is_not_gone_on_with(fit, refused, halves, folder):
    assert fit("train.csv", *SHORT, "--validation", "more.csv", "--out", "run")[0] == 0
    (folder / "more.csv").write_text((folder / "train.csv").read_text())
    assert "was trained on other rows" in refused("fit", "train.csv", "--out", "run", "--resume", "--epochs", 9)


def test_what_balanced_classes_do_to_probabilities_is_said(fit):
    note = "class_weight: probabilities are as if all classes had equally many rows"
    for weight, said in (((), False), (("--class-weight", "balanced"), True)):
        notes = fit("iris", *SHORT, *weight)[1]["notes"]
        assert any(text.startswith(note) for text in notes) == said


def test_nothing_is_said_of_a_batch_size_that_nobody_chose(fit, table):
    name = table("a,y\n" + "1,p\n2,q\n" * 6)
    assert not any("batch_size" in note for note in fit(name, "--epochs", 1)[1]["notes"])
    assert any("batch_size" in note for note in fit(name, "--epochs", 1, "--batch-size", 32)[1]["notes"])
