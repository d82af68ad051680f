"""Argument lists as people and scripts mistype them: status 0, 1 or 2, one line where refused, nothing half-written.

`pytest -m long` tries 2,000 of them.
"""

import contextlib
import io
import json
import random
import shutil

import pytest

from chainrule.cli import options, runs
from chainrule.cli.main import COMMANDS, main
from chainrule.cli.options import table

ABSURD = [
    "", " ", "-1", "0", "1", "2", "nan", "inf", "-inf", "1e-9", "1e999", "0.5", "0.999", "9" * 30, "1e3", "0x10", "1_0",
    "None", "true", "é", "漢字", "a\tb", "a\nb", "\x1b[31mred", "\u202eabc", "x" * 300, "-", "--", "--target", "=", ",",
    ",,", '"', '"a', "a,b", "'", "*", "[", "..", ".", "/", "/nowhere/at/all", "mixed.csv", "folder", "y", "kind",
    "\ud800", "a\0b", "%s", "{}", "[red]x[/red]",
]  # fmt: skip
COLUMNS = ["a", "kind", "weight", "day", "y"]
LISTS = ["kind", "a,kind", "day", '"weight"']
VALID = {
    "table": ["mixed.csv", "mixed.csv", "numbers.csv", "names.csv", "packed.csv.gz", "mixed.parquet"],
    "run": ["kinds", "prices"], "out": ["new", "é", "deep/er/new"],
    "target": COLUMNS, "weights": ["weight"], "ignore": LISTS, "categorical": LISTS, "numeric": ["a", "weight"],
    "keep": LISTS, "na": ["", "-", "7", "NA,?", "red"], "task": ["auto", "classify", "regress"],
    "metric": ["accuracy", "f1", "auc", "log_loss", "r2", "rmse", "mae", "balanced_accuracy", "accuracy,f1"],
    "layers": ["none", "4", "4,3", "NONE"], "folds": ["1", "2", "3", "5", "29"], "members": ["1", "2"],
    "bins": ["0", "1", "2", "16"], "batch_size": ["1", "7", "32", "99999999"], "lr": ["0.01", "1", "1e9", "1e-30"],
    "schedule": ["cosine", "constant", "plateau", "onecycle", "step", "warmup"], "dropout": ["0", "0.5", "1", "0.999"],
    "l1": ["0", "0.1", "1e30"], "l2": ["0", "0.1", "1e30"], "class_weight": ["balanced"],
    "validation": ["0.2", "mixed.csv", "numbers.csv"], "test": ["0.2", "0.999", "0.001", "mixed.csv", "numbers.csv"],
    "time_budget": ["1e-9", "1", "1e9"], "precision": ["float32", "float64", "bfloat16"], "device": ["cpu", "auto"],
    "chunk_rows": ["1", "5", "1000"], "seed": ["0", "7", "4294967295"], "activation": ["relu", "tanh", "silu"],
    "optimizer": ["adam", "sgd", "lbfgs", "adamw", "adadelta"], "name": ["dead-reluu"],
}  # fmt: skip
WEIRD_COLUMNS = ["wei\tght", "a,b", '"q"', "é", "", "Y", "price", "nothing", '"a,b"', "*"]
WEIRD_LISTS = ["a,a", "y", "day,", '"a,b"', "a,kind,weight,day", "a,kind,weight,day,y", "nothing", '"wei\tght"']
PARTS = ["0.999", "0.001", "header.csv", "missing.csv", "folder", "1", "0", "iris"]
NEARLY = {
    "table": [
        "weird.csv", "one_row.csv", "header.csv", "empty.csv", "one_column.csv", "same.csv", "rare.csv", "folder",
        "missing.csv", "iris", "irs", "no_text.csv", "arrays.npz", "*.csv", "m*.csv", "[.csv",
    ],
    "run": ["folder", "missing", "mixed.csv", "broken"],
    "out": ["new.csv", "new.parquet", "new.txt", "kinds", "mixed.csv", "folder", "new.part", "."],
    "target": WEIRD_COLUMNS, "weights": [*WEIRD_COLUMNS, *COLUMNS],
    "ignore": WEIRD_LISTS, "categorical": WEIRD_LISTS, "numeric": WEIRD_LISTS, "keep": WEIRD_LISTS,
    "metric": ["mae,auc", "f1,f1", "R2", ","], "layers": ["0", "4,,3", "999999999", "4,-3", "1,1,1,1,1"],
    "folds": ["0", "10000", "2.0"], "members": ["0", "1.5", "1000000"], "bins": ["-1", "1000000000"],
    "lr": ["0", "-1"], "dropout": ["1.1"], "class_weight": ["none"],
    "validation": PARTS, "test": PARTS,
    "time_budget": ["0", "nan"], "device": ["gpu"], "chunk_rows": ["0"], "seed": ["-1"], "activation": ["Relu"],
    "optimizer": ["Adam"], "precision": ["tf32"],
}  # fmt: skip
BRIEF = {"epochs": "2", "backend": "numpy"}
"""Options of `fit` that keep a run short, where they are not what is tried."""
TOO_LONG = {"lab": ("name", "all"), "bench": ("json",)}
"""What would measure for minutes if it were right: it is given with something that is wrong."""


def mixed(draw, rows, kinds):
    lines = ["a,kind,weight,day,y"]
    lines += [
        f"{draw.gauss(0, 1):.3f},{draw.choice(['red', 'blue', ''])},{draw.randint(0, 3)},2023-0{draw.randint(1, 9)}-11,"
        f"{kinds[i % len(kinds)] if isinstance(kinds, list) else format(draw.gauss(5, 2), '.2f')}"
        for i in range(rows)
    ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A folder of small tables, and of runs that were trained on two of them."""
    import gzip

    import numpy as np
    import polars as pl

    folder, draw = tmp_path_factory.mktemp("hostile"), random.Random(0)
    written = {
        "mixed.csv": mixed(draw, 36, ["yes", "no", "\x1b[31mperhaps"]), "numbers.csv": mixed(draw, 30, None),
        "names.csv": mixed(draw, 12, [f"n{i}" for i in range(12)]), "rare.csv": mixed(draw, 30, ["no"] * 29 + ["yes"]),
        "weird.csv": '"a,b",wei\tght,"""q""",é,,y\n' + "1,2,3,4,5,n\n2,1,3,5,8,m\n" * 8, "header.csv": "a,y\n",
        "one_row.csv": "a,y\n1,2\n", "empty.csv": "", "one_column.csv": "y\n" + "1\n2\n" * 6,
        "same.csv": "a,y\n" + "1,2\n" * 12, "no_text.csv": "a\0b\n1\0\n",
    }  # fmt: skip
    with contextlib.chdir(folder):
        for name, text in written.items():
            (folder / name).write_text(text)
        with gzip.open("packed.csv.gz", "wt") as file:
            file.write(written["mixed.csv"])
        pl.read_csv("mixed.csv").write_parquet("mixed.parquet")
        np.savez("arrays.npz", X=np.arange(24.0).reshape(12, 2), y=np.arange(12) % 2)
        (folder / "folder").mkdir()
        for name, source in (("kinds", "mixed.csv"), ("prices", "numbers.csv")):
            assert main(["fit", source, "--out", name, "--epochs", "2", "--backend", "numpy", "--json"]) == 0
        shutil.copytree("kinds", "broken")
        (folder / "broken" / "config.json").write_text("{}")
    return folder


def arguments(draw):
    """A command with some of its options, right, nearly right and absurd."""
    command = draw.choice(
        ["fit"] * 12 + ["predict"] * 6 + [name for name in COMMANDS if name not in ("fit", "predict")]
    )
    rows = table(COMMANDS[command].options)
    nearly, absurd = draw.choice([(0.0, 0.0), (0.0, 0.0), (0.15, 0.0), (0.1, 0.1), (0.3, 0.3)])

    def value(name):
        chance = draw.random()
        if chance < absurd or name not in VALID:
            return draw.choice(ABSURD)
        return draw.choice(NEARLY.get(name, ABSURD) if chance < absurd + nearly else VALID[name])

    words = [value(name) for name, row in rows.items() if row.positional is True]
    named = [name for name, row in rows.items() if not row.positional]
    chosen = draw.sample(named, min(len(named), draw.choice([0, 1, 2, 2, 3, 4, 6])))
    for name in chosen:
        typed = options.flag(name)
        if rows[name].parse is None:
            words.append(typed)
        elif name in ("epochs", "backend"):
            words += [typed, BRIEF[name] if draw.random() > absurd + nearly else draw.choice(["0", "-3", "x", ""])]
        else:
            words += draw.choice([[typed, value(name)], [f"{typed}={value(name)}"]])
    if command == "fit":
        words += [w for name, least in BRIEF.items() if name not in chosen for w in (options.flag(name), least)]
    if command in TOO_LONG:
        words.append(draw.choice(["--wrong", "--json=1", "surplus and", "--out"]))
    if draw.random() < absurd:
        words = _spoilt(words, draw)
    return [command, *words]


def _spoilt(words, draw):
    """Words that are dropped, doubled, exchanged, put in or cut short."""
    words = list(words)
    place = draw.randrange(len(words) + 1)
    match draw.randrange(5):
        case 0:
            del words[place : place + 1]
        case 1:
            words = words[:place] + words[max(place - 2, 0) :]
        case 2:
            draw.shuffle(words)
        case 3:
            words.insert(place, draw.choice(ABSURD))
        case 4:
            words = [word[:-1] if i == place else word for i, word in enumerate(words)]
    return words


def check(folder, seed):
    """Run one list, look at what came of it, and put the folder back as it was."""
    words = arguments(random.Random(seed))
    if words[0] == "fit" and not {"--backend", "--epochs"} <= {word.split("=")[0] for word in words}:
        words += ["--epochs", "2"]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with contextlib.chdir(folder):
        try:
            status, out, err = outcome(words)
            assert status in (0, 1, 2), words
            told = [line for line in err.splitlines() if line.startswith("chainrule: error: ")]
            assert "Traceback" not in err
            assert len(told) == (status != 0), (words, err)
            changed = {path for path in folder.rglob("*") if before.get(path) != path.stat().st_mtime_ns}
            if status == 2:
                assert out == "", (words, out)
                assert err.count("\n") == 1, (words, err)
                assert not {path for path in changed if path != folder}, (words, changed)
            assert not [path for path in changed if path.name.endswith(".part") or path.name.startswith(".")], words
            look(words, status, out, err)
        finally:
            restore(folder, before)


def outcome(words):
    """Status, output and errors."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as ended:
            # Of --help.
            status = ended.code or 0
    return status, out.getvalue(), err.getvalue()


def look(words, status, out, err):
    """What is said is valid, and can be printed; a run is whole."""
    assert all(line.isprintable() for line in err.splitlines()), (words, err)
    if words[0] == "fit" and status in (0, 1) and out and "--json" in words and "--help" not in words:
        found = json.loads(out.splitlines()[-1], parse_constant=lambda name: pytest.fail(f"{words}: {name}"))
        runs.read(found["run"])
    elif words[0] == "fit":
        assert all(line.isprintable() for line in out.splitlines()), (words, out)


def restore(folder, before):
    """Remove what is new."""
    for path in sorted(set(folder.rglob("*")) - set(before), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()


@pytest.mark.parametrize("block", range(4))
def test_a_list_of_arguments_is_done_or_refused_in_one_line(tables, block):
    for seed in range(10):
        check(tables, 10 * block + seed)


@pytest.mark.long
@pytest.mark.parametrize("block", range(20))
def test_two_thousand_lists_of_arguments_are_done_or_refused_in_one_line(tables, block):
    for seed in range(100):
        check(tables, 1000 + 100 * block + seed)
