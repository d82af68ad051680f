"""Trainers on disk: what is read is what was written, going on is bit-identical, and nothing half-written is left."""

import hashlib
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError, RunError
from chainrule.files import is_lock
from chainrule.train import checkpoint_writer, snapshot
from chainrule.train import trainer_files as files
from killed import kills
from small import QUIET, classifier, network, numbers, parameters, regressor, same, table

BACKENDS = ["numpy", "xla"]
X, Y = table()
HELD = table(30, seed=1)


class Doubled(nn.Module):
    def __init__(self) -> None:
        self.inner = network()

    def forward(self, x: Any) -> Any:
        return self.inner(x) * 2.0


def everything(backend: str = "numpy") -> cr.Trainer:
    return classifier(
        nn.Dropout(0.2),
        optimizer=optim.AdamW(0.02, betas=(0.8, 0.99), weight_decay=0.1),
        schedule=optim.Warmup(optim.Cosine(final=0.1), steps=3),
        penalty=optim.L1(1e-3, biases=True),
        clip=optim.ClipNorm(2.0),
        normalize="feature",
        backend=backend,
        seed=5,
    )


# ---- save and load


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_trainer_that_is_read_predicts_and_trains_on_bit_for_bit(backend: str, tmp_path: Path) -> None:
    trainer = everything(backend)
    trainer.fit(X, Y, epochs=2, batch_size=16, validation=HELD, **QUIET)
    trainer.save(tmp_path / "run")
    read = cr.Trainer.load(tmp_path / "run")
    assert read.history == trainer.history
    assert (read.steps, read.epochs) == (trainer.steps, trainer.epochs)
    for part in (*files.PARTS, *files.SETTINGS):
        assert repr(getattr(read, part)) == repr(getattr(trainer, part))
    assert read.predict(X).tobytes() == trainer.predict(X).tobytes()
    for each in (read, trainer):
        each.fit(X, Y, epochs=2, batch_size=16, **QUIET)
    assert same(read, trainer)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_state_read_on_one_backend_was_perhaps_written_on_the_other(backend: str, tmp_path: Path) -> None:
    trainer = classifier(backend=backend)
    trainer.fit(X, Y, epochs=1, **QUIET)
    trainer.save(tmp_path / "run")
    read = cr.Trainer.load(tmp_path / "run")
    read.backend = BACKENDS[backend == "numpy"]
    for each in (read, trainer):
        each.fit(X, Y, epochs=1, **QUIET)
    assert np.allclose(parameters(read), parameters(trainer), atol=1e-5)


def test_double_precision_is_kept(tmp_path: Path) -> None:
    trainer = regressor(precision="float64", metrics=("mae", "r2"))
    trainer.fit(*numbers(), epochs=2, **QUIET)
    trainer.save(tmp_path / "run")
    read = cr.Trainer.load(tmp_path / "run")
    assert same(read, trainer)
    assert [metric.name for metric in read.metrics] == ["mae", "r2"]


def test_an_untrained_trainer_can_be_written_and_read(tmp_path: Path) -> None:
    trainer = classifier()
    trainer.save(tmp_path / "run")
    assert same(cr.Trainer.load(tmp_path / "run"), trainer)


def test_numbers_of_numpys_own_types_are_written(tmp_path: Path) -> None:
    trainer = classifier(nn.Dropout(np.float32(0.5)), optimizer=optim.SGD(np.float32(0.5)), seed=np.int64(3))
    trainer.save(tmp_path / "run")
    assert cr.Trainer.load(tmp_path / "run").optimizer.lr == 0.5


def test_a_run_holds_three_files_without_a_pickle(tmp_path: Path) -> None:
    trainer = classifier()
    trainer.fit(X, Y, epochs=2, validation=HELD, **QUIET)
    trainer.save(tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["config.json", "history.jsonl", "model.safetensors"]
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]
    rows = [json.loads(line) for line in (tmp_path / "run/history.jsonl").read_text().splitlines()]
    assert rows == trainer.history.rows()
    tensors = load_file(tmp_path / "run/model.safetensors")
    assert {"model.0.weight", "optimizer.mean.0.weight", "optimizer.step"} <= set(tensors)


def test_a_model_of_ones_own_is_given_when_reading(tmp_path: Path) -> None:
    trainer = cr.Trainer(Doubled(), nn.CrossEntropyLoss(), optim.Adam(0.02), backend="numpy")
    trainer.fit(X, Y, epochs=2, **QUIET)
    trainer.save(tmp_path / "run")
    with pytest.raises(RunError, match=r"model is not made of chainrule's own classes.*Trainer\.load\(path, model=…\)"):
        cr.Trainer.load(tmp_path / "run")
    read = cr.Trainer.load(tmp_path / "run", model=Doubled())
    assert same(read, trainer)
    with pytest.raises(RunError, match=r"parameters are not those of this model"):
        cr.Trainer.load(tmp_path / "run", model=network())


def test_a_loss_of_ones_own_is_named_when_reading(tmp_path: Path) -> None:
    trainer = cr.Trainer(network(), lambda x, y: cr.mean(cr.cross_entropy(x, y)), optim.Adam(0.02), backend="numpy")
    trainer.save(tmp_path / "run")
    with pytest.raises(RunError, match="loss is not made of chainrule's own classes"):
        cr.Trainer.load(tmp_path / "run")


# ---- damage


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        config = json.loads((run / "config.json").read_text())
        change(config)
        (run / "config.json").write_text(json.dumps(config))

    return damage


def listed(run: Path) -> None:
    """Have the config name the tensors as they are now."""
    digest = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    edited(lambda c: c["files"].update({"model.safetensors": digest}))(run)


def without(prefix: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        tensors = load_file(run / "model.safetensors")
        save_file({k: v for k, v in tensors.items() if not k.startswith(prefix)}, run / "model.safetensors")
        listed(run)

    return damage


def cut(name: str, size: int, said: bool = False) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        (run / name).write_bytes((run / name).read_bytes()[:size])
        if said:
            listed(run)

    return damage


def one_bit(run: Path) -> None:
    content = bytearray((run / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (run / "model.safetensors").write_bytes(content)


def of_another_moment(run: Path) -> None:
    other = cr.Trainer.load(run)
    other.fit(X, Y, epochs=1, **QUIET)
    other.save(run.parent / "other")
    shutil.copy(run.parent / "other/model.safetensors", run / "model.safetensors")


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "no config": lambda run: (run / "config.json").unlink(),
    "no tensors": lambda run: (run / "model.safetensors").unlink(),
    "half a config": cut("config.json", 100),
    "empty config": cut("config.json", 0),
    "config of bytes": lambda run: (run / "config.json").write_bytes(b"\xff\xfe\x00"),
    "half the tensors": cut("model.safetensors", 500),
    "half the tensors, and said so": cut("model.safetensors", 500, said=True),
    "one bit of the tensors": one_bit,
    "the tensors of another moment": of_another_moment,
    "no list of files": edited(lambda c: c.pop("files")),
    "a list of files that is none": edited(lambda c: c.update(files=3)),
    "no tensors in the file": cut("model.safetensors", 0),
    "a list": lambda run: (run / "config.json").write_text("[]"),
    "another format": lambda run: (run / "config.json").write_text('{"format": "other/1"}'),
    "config is a folder": lambda run: ((run / "config.json").unlink(), (run / "config.json").mkdir()),
    "no recipe": edited(lambda c: c.pop("trainer")),
    "a recipe that is a number": edited(lambda c: c.update(trainer=3)),
    "no steps": edited(lambda c: c.pop("steps")),
    "no history": edited(lambda c: c.pop("history")),
    "a history of another version": edited(lambda c: c["history"].update(unknown=1)),
    "no seed": edited(lambda c: c["trainer"].pop("seed")),
    "an unknown layer": edited(lambda c: c["trainer"]["model"]["layers"][0].update(type="Bilinear")),
    "an unknown argument": edited(lambda c: c["trainer"]["optimizer"].update(warp=9)),
    "a bad argument": edited(lambda c: c["trainer"]["optimizer"].update(lr=-1)),
    "a bad setting": edited(lambda c: c["trainer"].update(precision="float7")),
    "a bad metric": edited(lambda c: c["trainer"].update(metrics=["beauty"])),
    "another width": edited(lambda c: c["trainer"]["model"]["layers"][0].update(out_features=9)),
    "no parameters": without("model."),
    "layers that no memory holds": edited(lambda c: c["trainer"]["model"]["layers"][0].update(out_features=10**12)),
    "half an optimizer": without("optimizer.mean"),
    "half a standardizer": without("standardizer.scale"),
    "no step losses": without("history."),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_or_foreign_folder_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    trainer = classifier(normalize="feature")
    trainer.fit(X, Y, epochs=1, **QUIET)
    trainer.save(tmp_path / "run")
    DAMAGES[name](tmp_path / "run")
    with pytest.raises(RunError) as caught:
        cr.Trainer.load(tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_a_missing_folder_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        cr.Trainer.load(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"not a chainrule run: config\.json is missing"):
        cr.Trainer.load(tmp_path)


# ---- writing


def test_a_folder_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    trainer = classifier()
    with pytest.raises(RunError, match=r"cannot be written.*choose another folder or free some space"):
        trainer.save(tmp_path / "file" / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"
    trainer.save(tmp_path / "elsewhere")
    assert same(cr.Trainer.load(tmp_path / "elsewhere"), trainer)


def test_a_path_that_is_a_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RunError, match="cannot be written"):
        classifier().save(tmp_path / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.parametrize("mode", ["kill", "fail"])
@pytest.mark.parametrize("there", [True, False])
def test_whatever_call_is_the_last_there_is_the_old_run_or_the_new_one(mode: str, there: bool, tmp_path: Path) -> None:
    old, new = classifier(), classifier()
    new.fit(X, Y, epochs=1, **QUIET)
    found = set()

    def prepare(folder: Path) -> None:
        if there:
            old.save(folder / "run")

    for folder in kills(tmp_path, prepare, lambda folder: new.save(folder / "run"), mode):
        if not there and not (folder / "run").exists():
            found.add("none")
        else:
            read = cr.Trainer.load(folder / "run")
            found.add(("old", "new")[same(read, new)])
            assert (read.epochs, read.history.epochs) == ((0, 0), (1, 1))[same(read, new)]
        if mode == "fail":
            # A lock stays where removing it is what failed; it holds nothing.
            left = [p.name for p in folder.iterdir() if not is_lock(p.name)]
            assert left == ["run"] * (folder / "run").exists()
        # The next one who writes clears up.
        new.save(folder / "run")
        assert sorted(p.name for p in (folder / "run").iterdir()) == sorted((snapshot.CONFIG, *snapshot.NAMES))
        assert same(cr.Trainer.load(folder / "run"), new)
    assert found == {"old" if there else "none", "new"}


def test_who_reads_while_another_one_writes_gets_one_moment(tmp_path: Path) -> None:
    trainers = [classifier(), classifier()]
    trainers[1].fit(X, Y, epochs=1, **QUIET)
    trainers[0].save(tmp_path / "run")
    over = threading.Event()

    def write() -> None:
        for i in range(60):
            trainers[i % 2].save(tmp_path / "run")
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    reads = 0
    while not over.is_set():
        read = cr.Trainer.load(tmp_path / "run")
        assert same(read, trainers[read.epochs])
        reads += 1
    thread.join()
    assert reads


def test_a_folder_of_another_program_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("mine")
    for write in (
        lambda trainer: trainer.save(tmp_path),
        lambda trainer: trainer.fit(X, Y, epochs=1, checkpoint=tmp_path, **QUIET),
    ):
        trainer = classifier()
        with pytest.raises(RunError, match=r"holds a model\.safetensors that is not chainrule's; choose another"):
            write(trainer)
        assert trainer.steps == 0
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("model.safetensors", "mine")]


def test_saving_again_replaces_the_run_and_leaves_other_files(tmp_path: Path) -> None:
    trainer = classifier()
    trainer.save(tmp_path / "deep" / "run")
    (tmp_path / "deep/run/notes.txt").write_text("mine")
    trainer.fit(X, Y, epochs=1, **QUIET)
    trainer.save(tmp_path / "deep" / "run")
    assert same(cr.Trainer.load(tmp_path / "deep" / "run"), trainer)
    assert (tmp_path / "deep/run/notes.txt").read_text() == "mine"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["run"]


# ---- checkpoint and resume


def interrupted_at(epoch: int) -> Callable[[cr.Trainer], bool]:
    return lambda trainer: trainer.history.epochs == epoch


@pytest.mark.parametrize(("backend", "shuffle"), [("numpy", "epoch"), ("numpy", "once"), ("xla", "epoch")])
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(backend: str, shuffle: str, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"epochs": 5, "batch_size": 16, "validation": HELD, "shuffle": shuffle, **QUIET}
    whole, first, second = (everything(backend) for _ in range(3))
    whole.fit(X, Y, **arguments)
    first.fit(X, Y, **arguments, checkpoint=tmp_path / "c", callbacks=[interrupted_at(2)])
    history = second.fit(X, Y, **arguments, checkpoint=tmp_path / "c", resume=True)
    assert same(second, whole)
    for name in ("step_loss", "loss", "val_loss", "lr", "metrics", "stopped"):
        assert getattr(history, name) == getattr(whole.history, name), name
    assert (second.steps, second.epochs) == (whole.steps, whole.epochs)


def test_what_momentum_tracks_for_a_proximal_penalty_is_kept_and_is_not_needed(tmp_path: Path) -> None:
    def begin() -> cr.Trainer:
        return classifier(optimizer=optim.SGD(0.05, 0.9), schedule=optim.Cosine(), penalty=optim.L1(0.01))

    whole, part, rest = begin(), begin(), begin()
    whole.fit(X, Y, epochs=6, **QUIET)
    part.fit(X, Y, epochs=6, callbacks=[lambda trainer: trainer.epochs == 3], checkpoint=tmp_path / "c", **QUIET)
    rest.fit(X, Y, epochs=6, checkpoint=tmp_path / "c", resume=True, **QUIET)
    assert same(whole, rest)
    without = classifier(optimizer=optim.SGD(0.05, 0.9))
    without.fit(X, Y, epochs=1, **QUIET)
    without.penalty = optim.L1(0.01)
    without.save(tmp_path / "run")
    read = cr.Trainer.load(tmp_path / "run")
    for trainer in (read, without):
        trainer.fit(X, Y, epochs=2, **QUIET)
    assert same(read, without)


def test_a_resumed_training_stops_early_where_the_uninterrupted_one_does(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 3, 30)
    arguments: dict[str, Any] = {"epochs": 50, "validation": (HELD[0], noise), "early_stopping": 6, **QUIET}
    whole, first, second = (classifier(optimizer=optim.Adam(0.1)) for _ in range(3))
    expected = whole.fit(X, Y, **arguments)
    assert expected.best_epoch is not None
    at = expected.best_epoch + 2
    first.fit(X, Y, **arguments, checkpoint=tmp_path / "c", callbacks=[interrupted_at(at)])
    found = second.fit(X, Y, **arguments, checkpoint=tmp_path / "c", resume=True)
    assert (found.epochs, found.best_epoch, found.stopped) == (expected.epochs, expected.best_epoch, "early stopping")
    assert same(second, whole)


def test_resuming_what_had_stopped_early_changes_nothing(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 3, 30)
    arguments: dict[str, Any] = {"epochs": 50, "validation": (HELD[0], noise), "early_stopping": 3, **QUIET}
    first, second = (classifier(optimizer=optim.Adam(0.1)) for _ in range(2))
    expected = first.fit(X, Y, **arguments, checkpoint=tmp_path / "c")
    found = second.fit(X, Y, **arguments, checkpoint=tmp_path / "c", resume=True)
    assert (found.epochs, found.best_epoch, found.stopped) == (expected.epochs, expected.best_epoch, "early stopping")
    assert same(second, first)


def test_resuming_what_had_finished_changes_nothing(tmp_path: Path) -> None:
    first, second = classifier(), classifier()
    first.fit(X, Y, epochs=3, checkpoint=tmp_path / "c", **QUIET)
    history = second.fit(X, Y, epochs=3, checkpoint=tmp_path / "c", resume=True, **QUIET)
    assert same(second, first)
    assert history.epochs == 3


def test_more_epochs_than_before_may_be_asked_for_and_fewer_not(tmp_path: Path) -> None:
    first, second, whole = classifier(), classifier(), classifier()
    first.fit(X, Y, epochs=3, checkpoint=tmp_path / "c", **QUIET)
    second.fit(X, Y, epochs=5, checkpoint=tmp_path / "c", resume=True, **QUIET)
    whole.fit(X, Y, epochs=5, **QUIET)
    assert same(second, whole)
    with pytest.raises(ArgumentError, match=r"epochs.*expected at least 5, got 4"):
        classifier().fit(X, Y, epochs=4, checkpoint=tmp_path / "c", resume=True, **QUIET)


def test_resuming_without_a_checkpoint_starts_nothing(tmp_path: Path) -> None:
    trainer = classifier()
    with pytest.raises(RunError, match="c: has no checkpoint to resume from; leave out resume to start afresh"):
        trainer.fit(X, Y, epochs=2, checkpoint=tmp_path / "c", resume=True, **QUIET)
    assert trainer.steps == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"batch_size": 8}, "batch_size: differs from the checkpoint's: expected 16, got 8"),
        ({"shuffle": "once"}, "shuffle: differs from the checkpoint's: expected epoch, got once"),
        ({"X": X[:40], "y": Y[:40]}, "X: differs from the checkpoint's: expected 50 rows, got 40 rows"),
        (
            {"X": cr.data.stream(X, Y, chunk_rows=16), "y": None},
            "chunk_rows: differs from the checkpoint.s: expected all rows, got 16",
        ),
    ],
    ids=["batch", "shuffle", "rows", "chunks"],
)
def test_going_on_with_other_steps_is_refused(other: dict[str, Any], message: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"X": X, "y": Y, "batch_size": 16, "checkpoint": tmp_path / "c", **QUIET}
    classifier().fit(**given, epochs=1)
    trainer = classifier()
    with pytest.raises(ArgumentError, match=message):
        trainer.fit(**{**given, **other}, epochs=2, resume=True)
    assert trainer.steps == 0


def test_checkpoints_are_written_while_it_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_writer, "CHECKPOINT_EVERY", -1.0)
    seen: list[int] = []

    def look(trainer: cr.Trainer) -> None:
        if (tmp_path / "c").exists():
            seen.append(cr.Trainer.load(tmp_path / "c").epochs)

    classifier().fit(X, Y, epochs=3, checkpoint=tmp_path / "c", callbacks=[look], **QUIET)
    assert seen == [1, 2]
    assert cr.Trainer.load(tmp_path / "c").epochs == 3


def test_a_checkpoint_of_another_trainer_is_refused_in_one_line(tmp_path: Path) -> None:
    classifier(optimizer=optim.SGD(0.1, 0.9)).fit(X, Y, epochs=1, checkpoint=tmp_path / "c", **QUIET)
    for other in (classifier(), regressor(), classifier(nn.Linear(8, 8))):
        y = Y if isinstance(other.loss, nn.CrossEntropyLoss) else numbers()[1]
        before = parameters(other)
        with pytest.raises((RunError, ArgumentError)) as caught:
            other.fit(X, y, epochs=2, checkpoint=tmp_path / "c", resume=True, **QUIET)
        assert "\n" not in str(caught.value)
        assert np.array_equal(parameters(other), before)
        assert other.optimizer_state is None


def test_a_checkpoint_that_cannot_be_written_loses_nothing_trained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    trainer, other = classifier(), classifier()
    with pytest.warns(RuntimeWarning, match="the checkpoint was not written.*cannot be written"):
        history = trainer.fit(X, Y, epochs=2, checkpoint=tmp_path / "file" / "c", **QUIET)
    other.fit(X, Y, epochs=2, **QUIET)
    assert same(trainer, other)
    assert history.epochs == 2
    assert len(history.notes) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
