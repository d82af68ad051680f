import re

import pytest

from chainrule.backends import cache
from chainrule.backends.xla import compile_cache
from chainrule.cli.main import main
from chainrule.cli.summary import _took

FOUND = {
    "trace_seconds": 0.012,
    "compile_seconds": 0.934,
    "from_cache": False,
    "verify_seconds": 0.0,
    "train_seconds": 1.2,
    "seconds": 3.04,
}


@pytest.mark.parametrize(
    ("difference", "line"),
    [
        ({}, "traced in 0.01 s, compiled in 0.93 s, trained in 1.20 s; 3.0 s in all"),
        (
            {"from_cache": True, "compile_seconds": 0.1},
            "traced in 0.01 s, compiled in 0.10 s (kept from an earlier run), trained in 1.20 s; 3.0 s in all",
        ),
        (
            {"verify_seconds": 0.034},
            "traced in 0.01 s, compiled in 0.93 s, checked in 0.03 s, trained in 1.20 s; 3.0 s in all",
        ),
        ({"from_cache": None, "compile_seconds": 0.001}, "traced in 0.01 s, trained in 1.20 s; 3.0 s in all"),
    ],
)
def test_the_summary_says_what_took_how_long(difference, line):
    assert _took({**FOUND, **difference}) == line


def test_nothing_that_a_table_holds_is_printed_raw(command, table):
    rows = "".join(f"{i % 5},{i % 2},k\x1b[3{i % 2}m\n" for i in range(24))
    name = table("\x1b]0;a\x07,b,y\u202e\n" + rows, "t\x1b[1m.csv")
    status, out, err = command("fit", name, "--epochs", 20, "--layers", 8, "--backend", "numpy")
    assert status == 0
    assert "guess: 'k\\x1b[3" in out
    assert r"run: runs/t\x1b[1m" in out
    assert all(line.isprintable() for line in (out + err).splitlines())


def test_the_parts_of_a_training_add_up_to_no_more_than_the_whole(fit):
    found = fit("iris", "--epochs", 2, "--layers", 8)[1]
    assert found["from_cache"] is None
    parts = [found[f"{part}_seconds"] for part in ("trace", "compile", "verify", "train")]
    assert all(part >= 0 for part in parts)
    assert 0 < sum(parts) <= found["seconds"] + 0.002


def test_a_second_run_says_that_its_program_was_kept(folder, monkeypatch, capsys):
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(folder / "kept"))
    monkeypatch.setattr(compile_cache, "MIN_SECONDS", 0.0)
    for said in (
        r"compiled in \d+\.\d\d s, checked in \d+\.\d\d s, trained",
        r"compiled in \d+\.\d\d s \(kept from an earlier run\), trained",
    ):
        assert main(["fit", "iris", "--epochs", "1", "--layers", "none", "--batch-size", "98", "--backend", "xla"]) == 0
        assert re.search(said, capsys.readouterr().out)
