"""`chainrule lab` lists, runs and judges; its pages are whole or not there."""

import json
import os
import signal

import pytest

from chainrule import lab
from chainrule.lab import running, style
from chainrule.lab.claims import fan_out


@pytest.fixture
def few(monkeypatch):
    """Only two labs, both quick, and nothing drawn."""
    found = {name: f"chainrule.lab.claims.{name.replace('-', '_')}" for name in ("fan-out", "graph-reversal")}
    monkeypatch.setattr("chainrule.lab.catalogue._found", lambda: found)
    monkeypatch.setattr("chainrule.lab.pages.picture", lambda *_: style.new_figure(1.0, 1.0))


@pytest.fixture
def failing(monkeypatch):
    """A lab whose claim does not hold."""
    found = lab.Measured({"n": 1}, {"this is so": True, "that is so": False}, fan_out.LAB.measure().data)
    monkeypatch.setattr(fan_out, "LAB", lab.Lab("A4", "A claim.", "Look. At it.", lambda: found, fan_out.draw))


def test_without_a_name_all_labs_are_listed(command, folder):
    status, out, _ = command("lab")
    assert status == 0
    assert all(name in out for name in lab.names())
    assert "chainrule lab NAME" in out
    assert not list(folder.iterdir())
    listed = json.loads(command("lab", "--json")[1].splitlines()[-1])["labs"]
    assert [found["name"] for found in listed] == lab.names()
    assert all(set(found) == {"name", "row", "claim"} for found in listed)


def test_a_lab_prints_claim_checks_and_figures_and_writes_its_page(command, folder):
    status, out, err = command("lab", "fan-out")
    assert status == 0
    text = " ".join(out.split())
    assert lab.load("fan-out").claim in text
    assert "✓ finite differences agree" in text
    assert "1, 2, 3, 5, 8, 13, 21, 34" in text
    assert "The claim holds here." in text
    assert "page: labs/fan-out.html" in text
    assert err == "running fan-out\n"
    assert [path.name for path in (folder / "labs").iterdir()] == ["fan-out.html"]


def test_json_is_one_object_last_on_standard_output(command, folder):
    status, out, err = command("lab", "fan-out", "--json", "--out", "pages")
    found = json.loads(out)
    assert (status, out.count("\n"), err) == (0, 1, "running fan-out\n")
    assert set(found) == {"name", "claim", "figures", "holds"}
    assert (found["name"], found["holds"]) == ("fan-out", True)
    assert (folder / "pages" / "fan-out.html").exists()


def test_all_labs_are_run_and_listed_on_a_page(command, few, folder):
    status, out, _ = command("lab", "--all")
    assert status == 0
    assert "2 of 2 claims hold." in out
    assert sorted(path.name for path in (folder / "labs").iterdir()) == [
        "fan-out.html", "graph-reversal.html", "index.html",
    ]  # fmt: skip
    status, out, err = command("lab", "--all", "--json")
    found = json.loads(out.splitlines()[-1])
    assert (status, found["holds"]) == (0, True)
    assert [one["name"] for one in found["labs"]] == ["graph-reversal", "fan-out"]
    assert err == "running graph-reversal\nrunning fan-out\n"


def test_a_claim_that_does_not_hold_is_status_1_and_has_its_page(command, failing, few, folder):
    status, out, _ = command("lab", "fan-out")
    assert status == 1
    assert "✗ that is so" in out
    assert "1 of 2 checks failed" in out
    assert "does not hold" in (folder / "labs" / "fan-out.html").read_text()
    status, out, _ = command("lab", "--all", "--json")
    assert (status, json.loads(out)["holds"]) == (1, False)
    status, out, _ = command("lab", "--all")
    assert status == 1
    assert "✗ that is so" in out
    assert "✗ this is so" not in out
    assert "1 of 2 claims hold." in out


def test_a_lab_that_breaks_off_is_status_1_and_one_line(command, monkeypatch, folder):
    def breaks():
        raise lab.running.pages.RunError("came to nothing", where="fan-out")

    monkeypatch.setattr(fan_out, "LAB", lab.Lab("A4", "A claim.", "Look. At it.", breaks, fan_out.draw))
    status, out, err = command("lab", "fan-out")
    assert (status, out) == (1, "")
    assert err == "running fan-out\nchainrule: error: fan-out: came to nothing\n"
    assert list((folder / "labs").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fan-ot"], "lab: unknown value: expected one of 'fan-out', "),
        (["fan-out", "--all"], "NAME and --all: cannot be used together"),
        (["--out", "pages"], "--out: there is nothing to write"),
        (["fan-out", "dag"], "lab: unexpected argument 'dag'"),
        (["fan-out", "--jsn"], "did you mean --json?"),
    ],
)
def test_a_wrong_request_is_one_line(refused, arguments, message):
    assert message in refused("lab", *arguments)


def test_a_place_that_cannot_be_written_to_is_refused_before_anything_is_measured(refused, folder, monkeypatch):
    monkeypatch.setattr(running, "load", lambda name: pytest.fail("measured"))
    (folder / "taken").write_text("")
    assert "taken: cannot be written (is not a folder)" in refused("lab", "fan-out", "--out", "taken")
    assert "cannot be written (Not a directory)" in refused("lab", "--all", "--out", "taken/inside")


@pytest.mark.parametrize("name", ["fan-out", "index"])
@pytest.mark.parametrize(
    "make", [lambda p: p.write_text("mine"), lambda p: p.symlink_to("nowhere"), lambda p: p.mkdir()]
)
def test_a_file_that_is_no_page_of_a_lab_is_left_as_it_is(refused, folder, monkeypatch, name, make):
    monkeypatch.setattr(running, "load", lambda name: pytest.fail("measured"))
    (folder / "site").mkdir()
    make(folder / f"site/{name}.html")
    asked = "--all" if name == "index" else name
    line = refused("lab", asked, "--out", "site")
    assert f"site/{name}.html: cannot be written (exists already, and is no page of a lab)" in line


def test_the_pages_of_an_earlier_run_are_replaced(command, folder):
    for _ in range(2):
        assert command("lab", "fan-out")[0] == 0
    assert [path.name for path in (folder / "labs").iterdir()] == ["fan-out.html"]


def test_ctrl_c_in_the_midst_of_a_training_breaks_the_lab_off(command, monkeypatch, folder):
    """A training alone would end early and be judged; a lab must not judge half of one."""

    def measure():
        import numpy as np

        import chainrule as cr

        def interrupt(*_):
            os.kill(os.getpid(), signal.SIGINT)

        trainer = cr.Trainer(cr.nn.Linear(2, 2), cr.nn.CrossEntropyLoss(), cr.optim.SGD(0.1), backend="numpy")
        X, y = np.ones((8, 2), np.float32), np.zeros(8, int)
        trainer.fit(X, y, epochs=50, batch_size=4, progress=False, callbacks=[interrupt])
        return lab.Measured({"epochs": len(trainer.history.loss)}, {"it was trained": True})

    monkeypatch.setattr(fan_out, "LAB", lab.Lab("A4", "A claim.", "Look. At it.", measure, fan_out.draw))
    before = signal.getsignal(signal.SIGINT)
    status, out, err = command("lab", "fan-out")
    assert (status, out) == (1, "")
    assert err == "running fan-out\nchainrule: error: interrupted\n"
    assert list((folder / "labs").iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is before
