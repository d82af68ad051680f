"""Where runs go: nothing of the user's is touched, no two write at once, and a kill loses no run."""

import json
import os
import shutil
import threading

import pytest

import chainrule as cr
from chainrule import files
from chainrule.cli import places, runs
from chainrule.errors import RunError
from chainrule.train import snapshot
from killed import kills
from small import QUIET, classifier, parameters, same, table

SHORT = ("--epochs", 2, "--layers", "4")
X, Y = table()


def contents(folder):
    """Every file under a folder but locks, with what is in it; links with where they lead."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or (path.is_file() and not files.is_lock(path.name))
    }


# ---- what is not a run


def npm(folder):
    folder.mkdir()
    (folder / "config.json").write_text('{"run": "npm start"}')
    (folder / "thesis.tex").write_text("years of work")


def of_another_version(folder):
    folder.mkdir()
    (folder / "config.json").write_text('{"format": "chainrule-trainer/0", "run": {}}')


def a_saved_trainer(folder):
    classifier().save(folder)


def a_list(folder):
    folder.mkdir()
    (folder / "config.json").write_text('["run"]')


def a_link_to_a_run(folder):
    trainer = classifier()
    trainer.fit(X, Y, epochs=1, checkpoint=folder.parent / "true" / "checkpoint", **QUIET)
    runs.save(folder.parent / "true", trainer, {"options": {}, "preprocessing": {}})
    folder.symlink_to("true")


FOREIGN = {
    "photos": lambda folder: (folder.mkdir(), (folder / "me.jpg").write_text("precious")),
    "a project with a config": npm,
    "a run of another version": of_another_version,
    "a trainer that was saved": a_saved_trainer,
    "a config that is a list": a_list,
    "a config that is a folder": lambda folder: (folder / "config.json").mkdir(parents=True),
    "a file": lambda folder: folder.write_text("precious"),
    "a link to a run": a_link_to_a_run,
    "a link to nowhere": lambda folder: folder.symlink_to("nowhere"),
    "a folder in a folder": lambda folder: (folder / "checkpoint/mine").mkdir(parents=True),
}


@pytest.mark.parametrize("name", ["run", "run.part"])
@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("option", ["--overwrite", "--resume", None])
def test_what_is_not_a_run_is_refused_and_left_as_it_is(refused, folder, name, kind, option):
    FOREIGN[kind](folder / name)
    before = contents(folder)
    line = refused("fit", "iris", *SHORT, "--out", "run", *filter(None, [option]))
    said = {"--overwrite": "is not a run, so it is not overwritten", "--resume": "is not a run, so it is not gone on"}
    assert f"{name}: {said.get(option, 'exists already')}" in line
    assert contents(folder) == before


@pytest.mark.parametrize("out", [".", "..", "/", "", "a/..", "run.part", "runs/x.part"])
def test_a_place_that_is_no_new_folder_is_refused(refused, out):
    assert "--out: a name for a new folder is needed" in refused("fit", "iris", "--out", out)
    assert "--out" in refused("fit", "iris", "--out", out, "--overwrite")


def test_a_place_within_a_file_is_refused(refused, folder):
    (folder / "file").write_text("mine")
    assert "file/run: cannot be written" in refused("fit", "iris", *SHORT, "--out", "file/run")


# ---- what is a run


def test_files_of_the_user_in_a_run_stay_and_are_named(fit, folder):
    fit("iris", *SHORT, "--out", "run")
    mine = {"run/notes.txt": "mine", "run/checkpoint/notes.txt": "mine", "run/pictures/me.jpg": "mine"}
    (folder / "run/pictures").mkdir()
    for path, text in mine.items():
        (folder / path).write_text(text)
    before = parameters(runs.read("run")[0].trainer)
    status, found, _ = fit("iris", *SHORT, "--out", "run", "--overwrite", "--seed", 1)
    assert status == 0
    assert "run: what is not of the run stays in it: notes.txt, pictures" in found["notes"]
    for more in (("--overwrite", "--seed", 2), ("--resume", "--epochs", 3)):
        assert fit("iris", *(SHORT if "--overwrite" in more else ()), "--out", "run", *more)[0] == 0
        assert {path: (folder / path).read_text() for path in mine} == mine
        assert os.listdir() == ["run"]
    assert parameters(runs.read("run")[0].trainer).tobytes() != before.tobytes()
    assert cr.Trainer.load("run/checkpoint").epochs == 3


def test_files_of_the_user_in_a_run_under_way_stay_too(fit, folder):
    (folder / "run.part").mkdir()
    runs.write_description(folder / "run.part", {"options": {}, "preprocessing": {}})
    (folder / "run.part/notes.txt").write_text("mine")
    assert fit("iris", *SHORT, "--out", "run", "--overwrite")[0] == 0
    assert (folder / "run/notes.txt").read_text() == "mine"


def test_an_empty_folder_is_filled_when_told_to_overwrite(fit, folder):
    (folder / "run").mkdir()
    assert fit("iris", *SHORT, "--out", "run", "--overwrite")[0] == 0
    assert os.listdir() == ["run"]


def test_a_refused_request_leaves_the_folder_runs_if_it_was_there(refused, folder):
    (folder / "runs").mkdir()
    assert "batch" in refused("fit", "iris", "--optimizer", "lbfgs", "--batch-size", 16)
    (folder / "runs").rmdir()
    assert "batch" in refused("fit", "iris", "--optimizer", "lbfgs", "--batch-size", 16)


def test_a_run_without_a_checkpoint_is_not_begun_anew_in_silence(fit, refused, folder):
    fit("iris", *SHORT, "--out", "run")
    shutil.rmtree(folder / "run/checkpoint")
    line = refused("fit", "iris", "--out", "run", "--resume")
    assert "run: has no checkpoint to resume from; --overwrite begins anew" in line
    # So it is where the process was killed before there was one.
    (folder / "other.part").mkdir()
    runs.write_description(folder / "other.part", runs.describe(folder / "run"))
    assert "other.part: has no checkpoint" in refused("fit", "iris", "--out", "other", "--resume")


# ---- two at once


@pytest.mark.parametrize("options", [("--overwrite",), ("--resume",), ()])
def test_a_run_that_is_being_written_is_refused_to_a_second_one(command, fit, folder, options):
    if options:
        fit("iris", *SHORT, "--out", "run")
    described = runs.describe(folder / "run") if options else {"options": {}, "preprocessing": {}}
    begun, over = threading.Event(), threading.Event()

    def first():
        with places.opened("run", "run", overwrite=False, resume=bool(options)) as place:
            runs.write_description(place.part, described)
            begun.set()
            over.wait(500)

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(500)
    before = contents(folder)
    try:
        status, _, err = command("fit", "iris", "--epochs", 2, "--out", "run", *options)
    finally:
        over.set()
        thread.join()
    assert status == 2
    assert err.count("\n") == 1
    assert "run.part" in err
    assert contents(folder) == before


# ---- kills


@pytest.fixture(scope="module")
def killed_before_the_last_save(tmp_path_factory):
    """A folder with a run, and the `.part` of one that has made its last checkpoint; and the trainers of the two."""
    base = tmp_path_factory.mktemp("base")
    run = {"options": {}, "preprocessing": {}}
    old, new = classifier(), classifier()
    old.fit(X, Y, epochs=1, checkpoint=base / "run/checkpoint", **QUIET)
    new.fit(X, Y, epochs=2, checkpoint=base / "run.part/checkpoint", **QUIET)
    runs.save(base / "run", old, run)
    runs.write_description(base / "run.part", run)
    return base, old, new


@pytest.mark.parametrize("mode", ["kill", "fail"])
@pytest.mark.parametrize("there", [True, False])
def test_a_kill_while_a_run_is_moved_into_its_place_loses_nothing(
    killed_before_the_last_save, mode, there, tmp_path, monkeypatch
):
    base, old, new = killed_before_the_last_save
    monkeypatch.setattr(places.tempfile, "gettempdir", lambda: str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()

    def prepare(folder):
        shutil.copytree(base, folder, dirs_exist_ok=True)
        if not there:
            shutil.rmtree(folder / "run")

    def finish(folder):
        places.finish(places.Place(folder / "run"), new, {"options": {}, "preprocessing": {}})

    ends = set()
    for folder in kills(tmp_path, prepare, finish, mode):
        final = folder / "run"
        if there or final.exists():
            read = cr.Trainer.load(final)
            assert same(read, old) or same(read, new)
            assert runs.is_run(final)
        # Whenever it was, the training can be gone on with from its end.
        places.check_place(str(final), overwrite=False, resume=True)
        with places.opened(str(final), "run", overwrite=False, resume=True) as place:
            assert same(cr.Trainer.load(place.checkpoint), new)
            found, trouble = places.finish(place, new, {"options": {}, "preprocessing": {}})
        assert (found, trouble) == (final, None)
        assert same(cr.Trainer.load(final), new)
        assert sorted(path.name for path in final.iterdir()) == ["checkpoint", "config.json", *sorted(snapshot.NAMES)]
        ends.add((folder / "run.part").exists())
    assert ends == {False}


def test_a_full_disk_while_a_run_is_copied_to_go_on_with_leaves_the_run(killed_before_the_last_save, tmp_path):
    base, old, _ = killed_before_the_last_save

    def prepare(folder):
        shutil.copytree(base / "run", folder / "run")

    def act(folder):
        with places.opened(str(folder / "run"), "run", overwrite=False, resume=True):
            pass

    for mode in ("kill", "fail"):
        (tmp_path / mode).mkdir()
        for folder in kills(tmp_path / mode, prepare, act, mode):
            assert same(cr.Trainer.load(folder / "run"), old)
            if (folder / "run.part").exists():
                assert same(cr.Trainer.load(folder / "run.part/checkpoint"), old)
            elif mode == "fail":
                assert os.listdir(folder) == ["run"]


def test_a_run_that_was_begun_and_killed_at_once_can_be_overwritten(fit, folder):
    def act(at):
        with places.opened(str(at / "run"), "run", overwrite=False, resume=False) as place:
            runs.write_description(place.part, {"options": {}, "preprocessing": {}})

    for at in kills(folder, lambda at: None, act):
        places.check_place(str(at / "run"), overwrite=True, resume=False)
        with places.opened(str(at / "run"), "run", overwrite=True, resume=False) as place:
            assert not list(place.part.iterdir())


def test_a_description_is_json(fit, folder):
    fit("iris", *SHORT, "--out", "run")
    config = json.loads((folder / "run/config.json").read_text())
    assert config["format"] == snapshot.FORMAT
    assert set(config["files"]) == set(snapshot.NAMES)
    classifier().save("trainer")
    with pytest.raises(RunError, match="damaged, or of another program"):
        runs.describe(folder / "trainer")
