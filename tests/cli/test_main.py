import subprocess
import sys

import pytest

from chainrule.cli.main import main


def test_the_package_is_a_command(outside):
    found = subprocess.run([sys.executable, "-m", "chainrule", "--help"], **outside, check=False)
    assert found.returncode == 0
    assert "fit" in found.stdout
    assert "predict" in found.stdout


def test_a_wrong_request_is_one_line_and_status_2_from_outside(outside, folder):
    command = [sys.executable, "-m", "chainrule", "fit", "digts"]
    found = subprocess.run(command, **outside, check=False)
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.startswith("chainrule: error: digts: no such file or bundled set; bundled sets: digits")
    assert found.stderr.count("\n") == 1
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a command is missing: expected fit or predict"),
        (["fitt", "iris"], "invalid choice: 'fitt'"),
        (["fit"], "the following arguments are required: TABLE"),
        (["fit", "iris", "--epoch", "3"], "fit: unexpected argument '--epoch'; did you mean --epochs?"),
        (["predict", "runs/iris", "iris", "--prob"], "did you mean --proba?"),
        (["fit", "iris", "wine"], "fit: unexpected argument 'wine'"),
        (["fit", "iris", "--target", "a", "--target", "b"], "--target: given twice; give it once"),
        (["predict", "run", "iris", "--out", "a.csv", "--out=b.csv"], "--out: given twice"),
    ],
)
def test_a_request_that_cannot_be_read_is_one_line(capsys, arguments, message):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("chainrule: error: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".csv", "x" * 300 + "/y.csv", "a\0b"])
@pytest.mark.parametrize("words", [("fit", "{}"), ("predict", "{}", "iris"), ("fit", "iris", "--test", "{}")])
def test_what_can_be_no_name_of_a_file_is_refused(refused, words, name):
    assert "no such" in refused(*(word.format(name) for word in words))


def test_importing_the_command_imports_no_table_library(outside):
    code = (
        "import sys, chainrule.cli.main; print([m for m in ('polars', 'sklearn', 'rich', 'jax') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], **outside, check=True)
    assert found.stdout.strip() == "[]"
