import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

import chainrule as cr
from chainrule import resources
from chainrule.cli import fit as fit_module
from chainrule.cli import places, runs
from chainrule.errors import RunError
from chainrule.tabular.choices import ACTIVATIONS, OPTIMIZERS, SCHEDULES
from chainrule.train import snapshot

SHORT = ("--epochs", 4, "--layers", "8")


def made(rows=60, seed=0):
    """A table of numbers, a category, a flag and missing values, whose label follows from them."""
    rng = np.random.default_rng(seed)
    size, colour = rng.normal(size=rows), rng.choice(["red", "blue"], rows)
    label = np.where((size > 0) == (colour == "red"), "yes", "no")
    lines = [
        f"{'' if i % 11 == 0 else round(size[i], 3)},{colour[i]},{str(i % 2 == 0).lower()},{label[i]}"
        for i in range(rows)
    ]
    return "\n".join(["size,colour,flag,label", *lines, ""])


@pytest.mark.parametrize(
    ("given", "files", "name"),
    [
        ("t.csv.gz", ["t.csv.gz"], "t"),
        ("a.b.csv", ["a.b.csv"], "a.b"),
        ("parts/*.csv", ["parts/1.csv", "parts/2.csv"], "parts"),
        ("day-?.csv", ["day-1.csv", "day-2.csv"], "day"),
        ("[1].csv", ["[1].csv"], "[1]"),
    ],
)
def test_a_run_is_called_as_its_table(fit, folder, given, files, name):
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True)
        text = ("a,y\n" + "1,p\n2,q\n" * 10).encode()
        (folder / file).write_bytes(gzip.compress(text) if file.endswith(".gz") else text)
    assert fit(given, "--epochs", 1)[1]["run"] == f"runs/{name}"


def test_a_run_is_a_folder_with_all_that_is_needed(fit, folder):
    status, found, _ = fit("iris", *SHORT)
    assert status == 0
    assert found["run"] == "runs/iris"
    assert sorted(os.listdir("runs/iris")) == ["checkpoint", "config.json", "history.jsonl", "model.safetensors"]
    history = [json.loads(line) for line in (folder / "runs/iris/history.jsonl").read_text().splitlines()]
    assert len(history) == found["epochs"] == 4
    assert {"loss", "val_loss", "lr"} <= set(history[0])
    assert os.listdir("runs") == ["iris"]
    config = json.loads((folder / "runs/iris/config.json").read_text())
    assert config["run"]["results"]["metrics"] == found["metrics"]
    assert config["run"]["options"]["layers"] == [8]


def test_the_run_is_a_trainer_that_can_be_loaded(fit):
    fit("iris", *SHORT)
    model, _ = runs.read("runs/iris")
    again = cr.Trainer.load("runs/iris")
    X = np.zeros((2, len(model.preprocessor.feature_names)), dtype=np.float32)
    assert np.array_equal(model.outputs(X), again.predict(X[:, None]))


def test_a_mistake_that_the_theory_names_is_one_line(fit):
    _, found, err = fit("iris", *SHORT, "--dropout", "1")
    assert any("drops everything (p=1)" in note for note in found["notes"])
    assert err.count("drops everything") <= 1
    assert "Warning" not in err


def test_digits_are_learnt_with_no_options(command):
    status, out, _ = command("fit", "digits", "--json")
    found = json.loads(out.splitlines()[-1])
    assert status == 0
    assert found["metrics"]["accuracy"] >= 0.97
    assert found["baseline"]["accuracy"] < 0.15


def test_numbers_are_predicted_better_than_by_their_mean(fit):
    status, found, _ = fit("diabetes")
    assert status == 0
    assert found["task"] == "regress"
    assert found["metrics"]["r2"] > 0.3
    assert found["metrics"]["rmse"] < found["baseline"]["rmse"]
    assert 30 < found["metrics"]["rmse"] < 80


def test_a_table_of_every_kind_of_column_is_learnt(fit, table):
    status, found, _ = fit(table(made(400)), "--target", "label")
    assert status == 0
    assert found["classes"] == ["no", "yes"]
    assert found["features"] == 4
    assert found["metrics"]["accuracy"] > 0.8 > found["baseline"]["accuracy"]


def test_the_summary_says_what_a_person_wants_to_know(command, table):
    status, out, _ = command("fit", table("a,b,when,label\n" + "1,2,2020-01-01,x\n2,2,2020-02-01,z\n" * 30), *SHORT)
    assert status == 0
    for part in (
        "label: the last column is taken",
        "b: left out, always the same value",
        "guess: '",
    ):
        assert part in out
    assert re.search(r"backend \w+, [\d.]+ [MG]B of memory at the peak\n", out)
    for part in ("accuracy", "run: runs/table", "4 epochs", "out of fold (60 rows)", "5 networks 6-8-2"):
        assert part in out
    assert "on 60 rows in 5 folds" in out
    assert re.search(r"^accuracy +[\d.]+ ± [\d.]+ +0\.5 *$", out, re.MULTILINE)


def test_json_is_one_object_and_the_last_line_of_the_output(command):
    status, out, err = command("fit", "iris", *SHORT, "--json")
    assert status == 0
    assert out.count("\n") == 1
    assert json.loads(out)["target"] == "target"
    assert json.loads(out)["memory"] > 10**7
    assert "epoch" in err


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(fit, folder):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        fit("iris", *SHORT, "--seed", seed, "--out", name)
    a, b, c = ((folder / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_every_choice_of_network_and_training_runs(fit):
    for optimizer in OPTIMIZERS:
        assert fit("iris", *SHORT, "--optimizer", optimizer)[0] == 0
    for schedule in SCHEDULES:
        assert fit("iris", *SHORT, "--schedule", schedule)[0] == 0
    for activation in ACTIVATIONS:
        assert fit("iris", *SHORT, "--activation", activation)[0] == 0
    for more in (("--l1", 0.01), ("--l2", 0.01), ("--dropout", 1), ("--layers", "none"), ("--lr", 0.1)):
        assert fit("iris", "--epochs", 2, *more)[0] == 0
    assert sorted(os.listdir("runs"))[:3] == ["iris", "iris-10", "iris-11"]


def test_a_batch_larger_than_the_table_is_used_whole_and_said_so(fit):
    status, found, _ = fit("iris", *SHORT, "--batch-size", 1000)
    assert status == 0
    assert any("1000" in note for note in found["notes"])


def test_arrays_are_learnt(fit, folder):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (90, 4, 4)).astype(np.uint8)
    np.savez(folder / "a.npz", images=images, labels=(images[:, 0, 0] > 127).astype(int))
    status, found, _ = fit("a.npz", "--epochs", 3)
    assert status == 0
    assert found["features"] == 16


@pytest.mark.parametrize("rows", [2, 3, 5, 9])
@pytest.mark.parametrize("last", ["x", 7.5])
def test_a_tiny_table_is_learnt_and_no_figure_is_made_up(command, fit, table, rows, last):
    lines = [f"{i},{last if i % 2 else 'z' if last == 'x' else i}" for i in range(rows)]
    task = "classify" if last == "x" else "regress"
    status, found, _ = fit(table("\n".join(["a,b", *lines, ""])), "--epochs", 2, "--task", task)
    assert status == 0
    assert found["rows"]["train"] == rows
    assert bool(found["metrics"]) == (found["folds"] > 1) == (rows >= 4)
    assert set(found["errors"]) == set(found["baseline"]) == set(found["metrics"])
    status, out, _ = command("predict", "runs/table", "table.csv")
    assert (status, len(out.splitlines())) == (0, rows + 1)
    assert command("fit", "table.csv", "--epochs", 2, "--task", task, "--backend", "numpy")[0] == 0


# ---- where the run goes


def test_an_existing_run_is_never_overwritten_without_being_told(fit, refused, folder):
    fit("iris", *SHORT, "--out", "run")
    before = (folder / "run/model.safetensors").read_bytes()
    assert "run: exists already; --overwrite replaces it" in refused("fit", "iris", "--out", "run")
    assert fit("iris", *SHORT, "--out", "run", "--seed", 1, "--overwrite")[0] == 0
    assert (folder / "run/model.safetensors").read_bytes() != before
    assert os.listdir() == ["run"]


def test_what_is_not_a_run_is_not_even_overwritten_when_told(refused, folder):
    (folder / "mine").mkdir()
    (folder / "mine/thesis.txt").write_text("years of work")
    assert "is not a run" in refused("fit", "iris", "--out", "mine", "--overwrite")
    assert "--out" in refused("fit", "iris", "--out", ".")


def test_a_place_that_cannot_be_written_is_refused_before_training(refused, folder):
    (folder / "file").write_text("x")
    assert "cannot be written" in refused("fit", "iris", "--out", "file/run")


def full(*_, **__):
    raise OSError(28, "No space left on device")


def test_a_full_disk_at_the_end_does_not_lose_the_model(fit, folder, monkeypatch):
    monkeypatch.setattr(places, "_move", full)
    status, found, err = fit("iris", *SHORT, "--out", "run")
    assert status == 1
    assert found["run"] == "run.part"
    assert "No space left on device; the trained model is in run.part" in err
    assert runs.read(found["run"])[0].preprocessor.classes == ["setosa", "versicolor", "virginica"]


def test_a_disk_that_is_full_everywhere_is_said_and_is_no_wrong_request(command, monkeypatch):
    monkeypatch.setattr(runs, "save", full)
    status, out, err = command("fit", "iris", *SHORT, "--json")
    assert status == 1
    assert out == ""
    assert "the trained model could not be saved anywhere; free some space" in err


def test_a_disk_that_fills_while_training_does_not_lose_the_model(fit, folder, monkeypatch):
    write = snapshot.write

    def part_is_full(path, *contents):
        if str(path).startswith("run.part"):
            raise RunError("cannot be written: No space left on device", where=str(path))
        write(path, *contents)

    monkeypatch.setattr(snapshot, "write", part_is_full)
    with pytest.warns(RuntimeWarning, match="the checkpoint was not written"):
        status, found, err = fit("iris", *SHORT, "--out", "run")
    assert status == 1
    assert found["epochs"] >= 1
    assert f"the trained model is in {found['run']}" in err
    assert runs.read(found["run"])[0].preprocessor.target == "target"


# ---- going on, breaking off


def test_a_run_goes_on_to_more_epochs(fit):
    fit("iris", *SHORT, "--out", "run", "--schedule", "constant")
    status, found, _ = fit("iris", "--out", "run", "--resume", "--epochs", 7)
    assert status == 0
    assert found["epochs"] == 7
    assert os.listdir() == ["run"]


def test_a_run_that_goes_on_is_the_run_that_was_never_broken_off(fit, folder):
    long = ("iris", "--layers", "8", "--schedule", "constant")
    fit(*long, "--epochs", 6, "--out", "whole")
    fit(*long, "--epochs", 3, "--out", "broken")
    fit("iris", "--out", "broken", "--resume", "--epochs", 6)
    (whole, one), (broken, other) = (runs.read(name) for name in ("whole", "broken"))
    states = whole.trainer.model.state_dict(), broken.trainer.model.state_dict()
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])
    assert one["answers"] == other["answers"]
    for name in ("metrics", "errors", "networks", "folds", "rows"):
        assert one["results"][name] == other["results"][name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("iris", "--out", "none", "--resume"), "none: there is no run to go on with"),
        (("iris", "--resume"), "--resume: needs to know the run; name it with --out"),
        (("wine", "--out", "run", "--resume"), "run: was trained on other rows"),
        (("iris", "--out", "run", "--resume", "--lr", "0.5"), "--lr: differs from the run's: expected 0.003, got 0.5"),
        (("iris", "--out", "run", "--resume", "--overwrite"), "--overwrite and --resume: cannot be used together"),
        (("iris", "--out", "run", "--resume", "--epochs", "2"), "the checkpoint has more epochs than that"),
        (("iris", "--out", "run.part"), "expected one that does not end in .part"),
    ],
)
def test_going_on_with_something_else_is_refused_and_leaves_the_run_as_it_was(fit, refused, arguments, message):
    fit("iris", *SHORT, "--out", "run")
    assert message in refused("fit", *arguments)


def test_a_damaged_checkpoint_is_refused_and_leaves_the_run_as_it_was(fit, refused, folder):
    fit("iris", *SHORT, "--out", "run")
    (folder / "run/checkpoint/model.safetensors").write_bytes(b"nonsense")
    assert "damaged" in refused("fit", "iris", "--out", "run", "--resume", "--epochs", 9)


def test_a_loss_that_is_no_number_ends_the_job_and_keeps_what_there_was(fit, folder):
    status, found, err = fit("diabetes", "--optimizer", "sgd", "--lr", "1e15", "--out", "run", "--layers", "64,64")
    assert status == 1
    assert found["stopped"] == "diverged"
    assert err.splitlines()[-1].startswith("chainrule: error: step ")
    assert (folder / "run/history.jsonl").exists()


def test_an_interrupted_run_is_kept_and_goes_on(folder, outside):
    eager = "from chainrule.train import checkpoint_writer as writer; writer.CHECKPOINT_EVERY = 0; "
    eager += "from chainrule.cli.main import main; "
    command = ["fit", "digits", "--epochs", "100000", "--backend", "numpy", "--out", "run"]
    process = subprocess.Popen([sys.executable, "-c", f"{eager}raise SystemExit(main({command}))"], **outside)
    # With the first checkpoint the training is certainly under way.
    while not (folder / "run.part/checkpoint/config.json").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 1
    assert "interrupted; --resume goes on; the run so far is in run" in err
    assert "Traceback" not in err
    assert "(interrupted)" in out
    assert runs.read("run")[0].preprocessor.classes == list(range(10))


# ---- requests that are wrong


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--lr", "-1", "a number above 0, got -1.0"),
        ("--lr", "0", "a number above 0"),
        ("--lr", "nan", "a number above 0, got nan"),
        ("--lr", "fast", "a number above 0, got 'fast'"),
        ("--dropout", "1.5", "a number in [0, 1], got 1.5"),
        ("--dropout", "-0.1", "a number in [0, 1], got -0.1"),
        ("--batch-size", "0", "an integer of at least 1, got 0"),
        ("--epochs", "0", "an integer of at least 1, got 0"),
        ("--epochs", "1.5", "an integer of at least 1, got '1.5'"),
        ("--l2", "-1", "a number of at least 0"),
        ("--l1", "inf", "a number of at least 0"),
        ("--seed", "-1", "an integer in [0,"),
        ("--layers", "8,0", "an integer of at least 1, got 0"),
        ("--layers", "8,,8", "an integer of at least 1, got ''"),
        ("--optimizer", "adamm", "expected one of 'adam', 'adamw'"),
        ("--activation", "rellu", "expected one of 'relu', "),
        ("--schedule", "cos", "expected one of 'cosine'"),
        ("--backend", "cuda", "expected one of"),
        ("--task", "cluster", "expected one of"),
        ("--precision", "float16", "expected one of 'bfloat16', 'float64', 'float32', 'tf32', got 'float16'"),
        ("--device", "cuda", "expected one of 'cpu', "),
        ("--folds", "0", "an integer of at least 1, got 0"),
        ("--folds", "2.5", "an integer of at least 1, got '2.5'"),
        ("--members", "0", "an integer of at least 1, got 0"),
        ("--members", "many", "an integer of at least 1, got 'many'"),
        ("--bins", "-1", "an integer of at least 0, got -1"),
        ("--validation", "0", "a number in (0, 1), got 0"),
        ("--validation", "1", "a number in (0, 1), got 1"),
        ("--test", "1.2", "a number in (0, 1), got 1.2"),
        ("--test", "nan", "a number in (0, 1), got nan"),
        ("--class-weight", "even", "expected one of 'balanced', got 'even'"),
        ("--time-budget", "0", "a number above 0, got 0"),
        ("--time-budget", "-3", "a number above 0, got -3"),
        ("--time-budget", "soon", "a number above 0, got 'soon'"),
    ],
)
def test_a_bad_option_is_refused_before_anything_is_loaded(refused, option, value, message):
    line = refused("fit", "no-such-table.csv", option, value)
    assert option in line
    assert message in line


@pytest.fixture
def no_gpu(monkeypatch):
    import jax

    everything = jax.devices

    def devices(kind=None):
        if kind == "gpu":
            raise RuntimeError("Unknown backend: 'gpu' requested, but no platforms that are instances of gpu")
        return everything("cpu")

    monkeypatch.setattr(jax, "devices", devices)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "gpu"], "device: JAX found no such device: expected gpu, got cpu; pip install 'chainrule[cuda]'"),
        (["--device", "gpu", "--backend", "numpy"], "device: the NumPy backend runs on the CPU: got gpu; use backend="),
        (["--precision", "tf32"], "precision: tf32 is not supported by this machine: expected an NVIDIA GPU"),
        (["--precision", "tf32", "--backend", "numpy"], "precision: tf32 is not supported by this machine"),
    ],
    ids=["no GPU", "no GPU for NumPy", "no TF32", "no TF32 for NumPy"],
)
def test_what_the_machine_lacks_is_refused_in_one_line(refused, no_gpu, options, message):
    assert message in refused("fit", "iris", *options)


def test_a_training_that_does_not_fit_into_memory_is_refused_in_one_line(refused, monkeypatch):
    monkeypatch.setattr(resources, "available_memory", lambda: 10**6)
    line = refused("fit", "iris", "--layers", "4000,4000", "--backend", "numpy")
    assert "fit: the network does not fit into memory: expected " in line
    assert "got 1 MB; " in line


def test_memory_that_runs_out_nevertheless_is_one_line_and_no_traceback(command, monkeypatch):
    def fail(*_, **__):
        np.empty(2**62, np.uint8)

    monkeypatch.setattr(fit_module.Prepared, "of", fail)
    status, out, err = command("fit", "iris")
    assert (status, out) == (1, "")
    assert err.startswith("chainrule: error: memory is short: Unable to allocate 4.00 EiB")
    assert err.count("\n") == 1


def test_both_penalties_can_be_given(fit, folder):
    assert fit("iris", *SHORT, "--l1", 0.1, "--l2", 0.1, "--out", "run")[0] == 0
    recipe = json.loads((folder / "run/config.json").read_text())["trainer"]
    assert [(penalty["type"], penalty["alpha"]) for penalty in recipe["penalty"]] == [("L1", 0.1), ("L2", 0.1)]
    assert any((p.numpy() == 0).any() for p in cr.Trainer.load("run").model.parameters())


def test_lbfgs_takes_all_rows_in_each_step_and_no_fewer(fit, refused, folder):
    status, found, _ = fit("iris", "--epochs", 30, "--layers", "8", "--optimizer", "lbfgs", "--out", "run")
    assert status == 0
    assert found["metrics"]["accuracy"] >= 0.9
    options = json.loads((folder / "run/config.json").read_text())["run"]["options"]
    assert (options["batch_size"], options["schedule"], options["dropout"]) == (150, "constant", 0.0)
    assert found["rows"]["train"] == 150
    line = refused("fit", "iris", "--optimizer", "lbfgs", "--batch-size", 16)
    assert "batch_size: LBFGS needs all rows in each step" in line
    assert f"expected {found['rows']['train']}, the number of rows, got 16" in line
    assert "penalty: L1 sets weights to 0" in refused("fit", "iris", "--optimizer", "lbfgs", "--l1", 0.1)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", (), "the file is empty"),
        ("a,b\n", (), "the table is empty"),
        ("age,weight,label\n1,2,x\n2,3,z\n", ("--target", "wieght"), "one of 'weight', 'age', 'label', got 'wieght'"),
        ("a,b\n1,x\n2,x\n", (), "column 'b': the target is the same in every row"),
        ("a,b\n1,\n2,\n", (), "column 'b': every value of the target is missing"),
        ("a,b\n1,x\n1,z\n", (), "no column is left to learn from: got a: left out, always the same value"),
        ("a,b\n,x\n,z\n", (), "a: left out, all missing"),
        (
            "a,b\n" + "".join(f"text {i},{i % 2}\n" for i in range(1, 20)),
            (),
            "a: left out, nearly every row has a text",
        ),
        ("a,b\n" + "1,x\n2,z\nnone,x\n" * 30 + "".join(f"{i},x\n" for i in range(90)), (), "cells are no number"),
        ("a,b\n1,x\n2,z,3\n", (), "table.csv, line 3: a line that does not fit the header"),
        ("a,a,b\n1,2,x\n", (), "column names that occur twice: 'a'"),
        ("a,b\n1,x\n2,z\n", ("--task", "regress"), "2 of 2 cells are no number: got 'x' in row 1"),
        ("a,b\n1,x\n2,z\n", ("--ignore", "b", "--target", "b"), "ignore: names the target: got 'b'"),
        ("a,b\n1,x\n2,z\n", ("--ignore", "c"), "ignore: no such column: expected one of 'a', 'b', got 'c'"),
        ("a,b\n1,x\n2,z\n", ("--numeric", "a", "--categorical", "a"), "categorical and numeric: names a column twice"),
    ],
)
def test_a_bad_table_is_refused(refused, table, text, options, message):
    assert message in refused("fit", table(text), *options)


def test_a_stray_cell_is_named_whichever_part_its_row_is_in(fit, table):
    for row in range(8):
        rows = [f"{'<0.1' if i == row else i % 7},{'xz'[i % 2]}\n" for i in range(80)]
        _, found, _ = fit(table("a,label\n" + "".join(rows)), "--epochs", 1, "--out", f"run{row}")
        assert f"a: 1 cell is no number: '<0.1' in row {row + 1}; it counts as missing" in found["notes"]


def test_bad_arrays_are_refused(refused, folder):
    np.savez(folder / "short.npz", X=np.ones((3, 2)), y=np.ones(2))
    np.savez(folder / "inf.npz", X=np.array([[1.0, np.inf], [2, 3]]), y=np.array([0, 1]))
    assert "X and y differ in length" in refused("fit", "short.npz")
    assert "column '1': 1 of 2 cells are no number: got 'inf' in row 1" in refused("fit", "inf.npz")


def test_a_missing_file_and_an_unknown_set_are_refused(refused, table):
    table("a,b\n1,2\n", "sales.csv")
    assert "no such file or bundled set; in that folder: sales.csv" in refused("fit", "sale.csv")
    assert "bundled sets: iris" in refused("fit", "irs")


def test_a_parquet_file_is_learnt(fit, folder):
    pl.DataFrame({"a": [0.0, 1.0] * 20, "b": ["x", "z"] * 20}).write_parquet(folder / "t.parquet")
    status, found, _ = fit("t.parquet", "--epochs", 30)
    assert status == 0
    assert found["metrics"]["accuracy"] == 1.0
