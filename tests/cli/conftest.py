import json
import os
import subprocess
from pathlib import Path

import pytest

import chainrule
from chainrule.cli.main import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(folder, capsys):
    """Run a command in the empty folder; gives status, output and errors."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def fit(command):
    """Run a short `fit --json`; gives status, the object and the errors."""

    def run(*arguments):
        status, out, err = command("fit", *arguments, "--backend", "numpy", "--json")
        return status, json.loads(out.splitlines()[-1]) if out else None, err

    return run


@pytest.fixture
def refused(command, folder):
    """Run a command that must be refused with one line, status 2 and nothing written; gives the line."""

    def run(*arguments):
        before = sorted(path for path in folder.rglob("*"))
        status, out, err = command(*arguments)
        assert status == 2
        assert out == ""
        assert err.startswith("chainrule: error: ")
        assert err.count("\n") == 1
        assert sorted(path for path in folder.rglob("*")) == before
        return err

    return run


@pytest.fixture
def table(folder):
    """Write a CSV file of a header and rows."""

    def write(text, name="table.csv"):
        (folder / name).write_text(text)
        return name

    return write


@pytest.fixture
def outside(folder):
    """How to start a process of one's own in the empty folder, where the package may not be installed."""
    source = str(Path(chainrule.__file__).parents[1])
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return {"cwd": folder, "env": {**os.environ, "PYTHONPATH": source}, "text": True, **pipes}
