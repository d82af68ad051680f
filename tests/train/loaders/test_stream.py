"""Trainings on rows that stay in their file: as in memory, every row once an epoch, and in memory that is bounded."""

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.data.rows import ArrayRows
from chainrule.data.streams import Stream
from chainrule.errors import ArgumentError, ChainruleError, DataError, NotFiniteError
from chainrule.train import scan_stream
from chainrule.train.loaders import stream
from chainrule.train.session import FitConfig
from small import QUIET, ROWS, classifier, numbers, parameters, regressor, same, table

BACKENDS = ["numpy", "xla"]
X, Y = table()
HELD = table(30, seed=1)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """X and y as two files."""
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", Y)
    return tmp_path / "X.npy", tmp_path / "y.npy"


def trained(backend: str, data: Any, **arguments: Any) -> cr.Trainer:
    trainer = classifier(nn.Dropout(0.2), backend=backend, schedule=optim.Cosine(), normalize="feature")
    data = data if isinstance(data, tuple) else (data,)
    trainer.fit(*data, **{**QUIET, "epochs": 4, "batch_size": 16, "validation": HELD, **arguments})
    return trainer


def numbers_of(history: cr.History) -> list[Any]:
    return [history.loss, history.val_loss, history.metrics, history.lr, history.step_loss, history.best_epoch]


# ---- the same as in memory


@pytest.mark.parametrize("backend", BACKENDS)
def test_where_a_chunk_holds_everything_the_training_is_that_in_memory_bit_for_bit(
    backend: str, files: tuple[Path, Path]
) -> None:
    memory, streamed = trained(backend, (X, Y)), trained(backend, cr.data.stream(*files))
    assert same(memory, streamed)
    assert numbers_of(memory.history) == numbers_of(streamed.history)
    assert memory.history.notes == []
    assert memory.standardizer is not None
    assert streamed.standardizer is not None
    assert np.array_equal(memory.standardizer.mean, streamed.standardizer.mean)


@pytest.mark.parametrize("shuffle", ["never", "once", "epoch"])
@pytest.mark.parametrize("batch", [7, 16, 50])
def test_a_program_for_chunks_in_file_order_makes_the_steps_of_one_for_all_rows(shuffle: str, batch: int) -> None:
    settings: dict[str, Any] = {"batch_size": batch, "shuffle": shuffle, "validation": None}
    memory = trained("numpy", (X, Y), **settings)
    streamed = trained("numpy", cr.data.stream(X, Y, chunk_rows=batch), **settings)
    assert len(streamed.history.step_loss) == len(memory.history.step_loss)
    assert streamed.steps == memory.steps
    assert streamed.history.lr == memory.history.lr
    if shuffle == "never":
        assert parameters(streamed) == pytest.approx(parameters(memory), rel=1e-5, abs=1e-6)
        assert streamed.history.loss == pytest.approx(memory.history.loss, rel=1e-5)


@pytest.mark.parametrize("chunk", [16, 20, 24, 25])
def test_both_backends_agree_on_chunks_of_any_size(chunk: int) -> None:
    one, other = (trained(backend, cr.data.stream(X, Y, chunk_rows=chunk)) for backend in BACKENDS)
    assert parameters(one) == pytest.approx(parameters(other), rel=1e-4, abs=1e-5)
    assert one.history.val_loss == pytest.approx(other.history.val_loss, rel=1e-4)


@pytest.mark.parametrize("metric", ["r2", "rmse", "mae"])
def test_losses_and_metrics_are_those_over_all_rows(metric: str) -> None:
    X, y = numbers(width=2)
    # A rate too small to change anything makes the epoch's numbers those of all rows at the start.
    trainer = regressor(optimizer=optim.SGD(1e-30), width=2, metrics=(metric,))
    history = trainer.fit(cr.data.stream(X, y, chunk_rows=20), epochs=2, batch_size=8, **QUIET)
    there = trainer.evaluate(X, y)
    assert history.loss == pytest.approx([there["loss"]] * 2, rel=1e-5)
    assert history.metrics[metric] == pytest.approx([there[metric]] * 2, rel=1e-5)


def test_images_in_bytes_are_standardised_by_channel_as_in_memory() -> None:
    images = np.random.default_rng(0).integers(0, 255, (40, 3, 4, 4), dtype=np.uint8)
    trainers = []
    for data in ((images, Y[:40]), (cr.data.stream(images, Y[:40], chunk_rows=16),)):
        cr.seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
        trainer = cr.Trainer(
            model, nn.CrossEntropyLoss(), optim.SGD(0.1), normalize="channel", backend="numpy", precision="float64"
        )
        trainer.fit(*data, epochs=2, batch_size=8, shuffle="never", **QUIET)
        trainers.append(trainer)
    assert parameters(trainers[0]) == pytest.approx(parameters(trainers[1]), rel=1e-9)


# ---- the order of the rows


def loader_of(rows: int, chunk: int, batch: int, shuffle: str = "epoch", seed: int = 0) -> stream.StreamLoader:
    """A loader whose rows say their number."""
    X = np.arange(rows, dtype=np.float32).reshape(-1, 1)
    trainer = cr.Trainer(nn.Linear(1, 1), nn.MSELoss(), optim.SGD(0.1), backend="numpy", seed=seed)
    loader = stream.loader(
        trainer, trainer.state, Stream(ArrayRows(X, "X"), ArrayRows(X, "y"), "rows", chunk), None, None
    )
    loader.set_batch_size(batch)
    loader.begin(FitConfig(9, batch, shuffle, None, (), None), seed, 0, cr.backends.get("numpy"))
    return loader


def epoch_of(loader: stream.StreamLoader, epoch: int, batch: int) -> list[np.ndarray[Any, Any]]:
    """The rows of each chunk of an epoch, in the order in which they are trained on, as a program would read them."""
    chunks, step, program_steps = [], 0, -(-len(loader.arrays[0]) // batch)
    while step < loader.steps:
        load = loader.chunk(epoch, step)
        assert load.first == step
        # The program knows the end of an epoch by the last of its steps, so no other chunk may run it.
        assert (load.stop - load.shift == program_steps) == (load.stop == loader.steps)
        low, high = (load.first - load.shift) * batch, (load.stop - load.shift) * batch
        chunks.append(load.data[0][load.order(epoch)[low:high], 0])
        step = load.stop
    return chunks


@pytest.mark.parametrize(
    ("rows", "chunk", "batch"),
    [(1000, 128, 32), (1000, 130, 32), (1000, 99, 1), (96, 32, 32), (97, 32, 32), (64, 32, 32)],
)
@pytest.mark.parametrize("shuffle", ["epoch", "once", "never"])
def test_every_row_is_trained_on_once_an_epoch(rows: int, chunk: int, batch: int, shuffle: str) -> None:
    loader = loader_of(rows, chunk, batch, shuffle)
    epochs = [np.concatenate(epoch_of(loader, epoch, batch)) for epoch in range(3)]
    loader.close()
    for order in epochs:
        assert np.array_equal(np.sort(order), np.arange(rows))
    same_order = [np.array_equal(epochs[0], order) for order in epochs[1:]]
    assert same_order == [shuffle != "epoch"] * 2
    assert np.array_equal(epochs[0], np.arange(rows)) == (shuffle == "never")


def test_a_chunk_comes_from_all_over_the_file_and_is_shuffled() -> None:
    loader = loader_of(100_000, 10_000, 100)
    chunks = epoch_of(loader, 0, 100)
    loader.close()
    for chunk in chunks:
        places = np.histogram(chunk, bins=10, range=(0, 100_000))[0]
        assert places.min() > 300
        batches = chunk[: len(chunk) // 100 * 100].reshape(-1, 100)
        assert np.abs(batches.mean(axis=1) - chunk.mean()).max() < 6 * chunk.std() / 10
        # Neighbours in the file are not neighbours in the order.
        assert (np.abs(np.diff(chunk)) == 1).mean() < 0.01


@pytest.mark.parametrize("shuffle", ["epoch", "once", "never"])
def test_each_epoch_draws_anew_which_blocks_make_up_a_chunk(shuffle: str) -> None:
    loader = loader_of(10_000, 1000, 100, shuffle)
    firsts = [{int(row) for row in epoch_of(loader, epoch, 100)[0]} for epoch in range(3)]
    loader.close()
    # Not only are the rows of a chunk in another order: they are others. One in ten would meet again by chance.
    shared = [len(first & second) / 1000 for first, second in itertools.combinations(firsts, 2)]
    assert all(share < 0.3 for share in shared) if shuffle == "epoch" else shared == [1.0] * 3


def test_the_order_follows_from_the_seed() -> None:
    orders = []
    for seed in (1, 1, 2):
        loader = loader_of(1000, 128, 32, seed=seed)
        orders.append(np.concatenate(epoch_of(loader, 0, 32)))
        loader.close()
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


def test_the_next_chunk_is_read_while_one_is_trained_on() -> None:
    second = threading.Event()

    class Watched(ArrayRows):
        """Rows that say when the second chunk has been read."""

        def read(self, start: int, out: Any) -> None:
            super().read(start, out)
            if start >= 32 and threading.current_thread() is not threading.main_thread():
                second.set()

    trainer = classifier()
    loader = stream.loader(trainer, trainer.state, Stream(Watched(X, "X"), ArrayRows(Y, "y"), "rows", 32), None, None)
    loader.set_batch_size(16)
    loader.begin(FitConfig(1, 16, "never", None, (), None), 0, 0, cr.backends.get("numpy"))
    first = loader.chunk(0, 0).data[0]
    assert second.wait(500)
    assert np.array_equal(first[:32], X[:32])
    loader.close()


# ---- validation, stopping, going on


def test_a_share_of_the_rows_is_held_out_and_never_trained_on() -> None:
    X = np.arange(400, dtype=np.float32).reshape(-1, 1)

    trainer = cr.Trainer(nn.Linear(1, 1), nn.MSELoss(), optim.SGD(0.01), backend="numpy")
    loader = stream.loader(trainer, trainer.state, Stream(ArrayRows(X, "X"), ArrayRows(X, "y"), "rows", 64), None, 0.25)
    loader.set_batch_size(16)
    loader.begin(FitConfig(1, 16, "epoch", None, (), None), 0, 0, cr.backends.get("numpy"))
    seen, held = np.concatenate(epoch_of(loader, 0, 16)), loader.arrays[2]
    loader.close()
    assert 30 < len(held) < 100
    assert loader.rows + len(held) == 400
    rows = np.concatenate([seen, held[:, 0]])
    assert np.array_equal(np.sort(rows), np.arange(400))


def test_early_stopping_keeps_the_best_parameters_as_in_memory(files: tuple[Path, Path]) -> None:
    settings: dict[str, Any] = {"epochs": 60, "early_stopping": 3, "shuffle": "never"}
    memory = trained("numpy", (X, Y), **settings)
    streamed = trained("numpy", cr.data.stream(*files, chunk_rows=16), **settings)
    assert streamed.history.stopped == "early stopping"
    assert streamed.history.epochs == memory.history.epochs < 60
    assert streamed.history.best_epoch == memory.history.best_epoch
    assert parameters(streamed) == pytest.approx(parameters(memory), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_training_that_is_gone_on_with_is_the_one_that_was_not_broken_off(
    backend: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    stream = cr.data.stream(*files, chunk_rows=16)
    whole = trained(backend, stream)

    def stop(trainer: cr.Trainer) -> bool:
        return trainer.history.epochs == 2

    trained(backend, stream, checkpoint=tmp_path / "at", callbacks=[stop])
    resumed = trained(backend, stream, checkpoint=tmp_path / "at", resume=True)
    assert same(whole, resumed)
    assert numbers_of(whole.history) == numbers_of(resumed.history)


def test_two_trainings_are_the_same_bits(files: tuple[Path, Path]) -> None:
    one, other = (trained("xla", cr.data.stream(*files, chunk_rows=16), validation=0.2) for _ in range(2))
    assert same(one, other)
    assert numbers_of(one.history) == numbers_of(other.history)


def test_ctrl_c_ends_a_streamed_training_cleanly(files: tuple[Path, Path]) -> None:
    def press(trainer: cr.Trainer) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    trainer = classifier()
    history = trainer.fit(cr.data.stream(*files, chunk_rows=16), epochs=9, batch_size=16, callbacks=[press], **QUIET)
    assert (history.stopped, history.epochs) == ("interrupted", 1)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("chainrule-stream")]


# ---- what goes wrong


def test_a_file_that_ends_in_the_midst_of_a_training_is_named_and_what_was_learnt_is_kept(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    trainer, stream = classifier(), cr.data.stream(*files, chunk_rows=16)
    before = parameters(trainer)

    def cut(trainer: cr.Trainer) -> None:
        with open(files[0], "r+b") as file:
            file.truncate(128 + 16 * 20)

    with pytest.raises(
        DataError,
        match=r"X\.npy: rows .* cannot be read \(the file (ends before|has changed .*)\); what was learnt is kept",
    ) as e:
        trainer.fit(stream, epochs=9, batch_size=16, callbacks=[cut], checkpoint=tmp_path / "at", **QUIET)
    assert "\n" not in str(e.value)
    assert trainer.history.epochs == 1
    assert trainer.steps >= 4
    assert np.isfinite(parameters(trainer)).all()
    assert not np.array_equal(parameters(trainer), before)
    # Made whole again, the file is gone on with.
    np.save(files[0], X)
    history = classifier().fit(
        cr.data.stream(*files, chunk_rows=16), epochs=3, batch_size=16, checkpoint=tmp_path / "at", resume=True, **QUIET
    )
    assert history.epochs == 3


@pytest.mark.parametrize("chunk", [16, 64])
@pytest.mark.parametrize("what", ["label", "feature"])
def test_rows_that_change_after_they_were_looked_through_are_refused(what: str, chunk: int) -> None:
    features, labels = X.copy(), Y.copy()
    look_through = stream.Look

    def change(*given: Any) -> Any:
        found = look_through(*given)
        if what == "label":
            labels[20] = 7
        else:
            features[20, 1] += 1
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "Look", change)
        feed_given = cr.data.stream(features, labels, chunk_rows=chunk)
        said = "a label that was not there before: the rows have changed: got 7" if what == "label" else "epoch 1"
        with pytest.raises(DataError, match=said):
            classifier().fit(feed_given, epochs=3, batch_size=16, **QUIET)


def test_rows_that_change_while_they_are_trained_on_are_refused() -> None:
    features = X.copy()

    def change(trainer: cr.Trainer) -> None:
        if trainer.history.epochs == 2:
            features[:] = 0

    trainer = classifier()
    with pytest.raises(DataError, match=r"the rows have changed by epoch [34]; what was learnt is kept"):
        trainer.fit(cr.data.stream(features, Y, chunk_rows=16), epochs=9, batch_size=16, callbacks=[change], **QUIET)
    assert trainer.history.epochs <= 4


def test_trainings_in_several_threads_on_one_stream_are_those_alone(files: tuple[Path, Path]) -> None:
    stream = cr.data.stream(*files, chunk_rows=16)
    alone = trained("numpy", stream, validation=None)
    found: list[cr.Trainer] = []
    trainers = [classifier(nn.Dropout(0.2), schedule=optim.Cosine(), normalize="feature") for _ in range(8)]

    def fit(trainer: cr.Trainer) -> None:
        trainer.fit(stream, epochs=4, batch_size=16, **QUIET)
        found.append(trainer)

    threads = [threading.Thread(target=fit, args=(trainer,)) for trainer in trainers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(same(trainer, alone) for trainer in found)


@pytest.mark.parametrize("data", [lambda X, y: (X, y), lambda X, y: (cr.data.stream(X, y, chunk_rows=16),)])
def test_masked_arrays_are_refused_in_memory_and_streamed(data: Any) -> None:
    hidden = np.zeros(X.shape, bool)
    hidden[3, 1] = True
    for given in ((np.ma.masked_array(X, hidden), Y), (X, np.ma.masked_array(Y, hidden[:, 1]))):
        with pytest.raises(DataError, match="masked elements: got 1 of them; fill them in"):
            classifier().fit(*data(*given), **QUIET)
    # Nothing is hidden by a mask without elements.
    classifier().fit(*data(np.ma.masked_array(X), np.ma.masked_array(Y)), epochs=1, batch_size=16, **QUIET)


def test_masked_arrays_are_refused_wherever_arrays_are_taken() -> None:
    masked = np.ma.masked_array(X, np.arange(X.size).reshape(X.shape) == 5)
    trainer = classifier()
    for use in (
        lambda: trainer.predict(masked),
        lambda: trainer.evaluate(masked, Y),
        lambda: trainer.fit(X, Y, validation=(masked, Y), **QUIET),
    ):
        with pytest.raises(DataError, match="masked elements"):
            use()


def test_a_loss_that_explodes_names_the_step_of_the_epoch_and_not_of_the_chunk() -> None:
    X = np.full((50, 4), 1e-3, np.float32)
    X[40:] = 3e38
    cr.seed(0)
    trainer = cr.Trainer(nn.Linear(4, 3), nn.MSELoss(), optim.SGD(1e-3), backend="numpy")
    with pytest.raises(NotFiniteError, match="in epoch 1, step 6 of 7") as e:
        trainer.fit(cr.data.stream(X, X[:, :3], chunk_rows=16), epochs=2, batch_size=8, shuffle="never", **QUIET)
    assert "operation linear" in str(e.value)
    assert len(trainer.history.step_loss) == 5


def test_a_bad_row_is_named_by_its_place_in_the_file_before_any_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_stream, "SIZE", 200)
    bad = X.copy()
    bad[37, 2] = np.nan
    np.save(tmp_path / "X.npy", bad)
    trainer = classifier()
    for validation in (None, 0.3):
        with pytest.raises(
            DataError, match=r"X\.npy: not a finite number: got nan at row 37, column 2 \(1 in the 10 rows"
        ):
            trainer.fit(cr.data.stream(tmp_path / "X.npy", Y, chunk_rows=16), validation=validation, **QUIET)
    assert trainer.steps == 0


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (
            lambda: cr.data.stream(X, Y, chunk_rows=10),
            {},
            "chunk_rows: not a whole batch: expected at least 16, got 10",
        ),
        (lambda: cr.data.stream(X, Y + 1), {}, "y: labels outside the model's classes: expected 0…2, got 1, 2, 3"),
        (lambda: cr.data.stream(X[:, :3], Y), {}, "expected"),
        (lambda: cr.data.stream(X.reshape(-1), np.tile(Y, 4)), {}, "X: not one row per sample"),
        (lambda: cr.data.stream(X, Y), {"y": Y}, "y: the stream has its own targets"),
        (lambda: cr.data.stream(X, Y), {"validation": 2.0}, "validation: not a validation set"),
        (lambda: cr.data.stream(X[:2], Y[:2]), {"validation": 1e-9}, "validation: too few rows to hold some out"),
        (lambda: cr.data.stream(X, Y), {"validation": (X, Y[:-1])}, "validation X and y differ in length"),
        (lambda: X, {}, "y: no targets"),
    ],
)
def test_a_wrong_request_is_named_in_one_line(make: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ChainruleError, match=message) as e:
        classifier().fit(make(), batch_size=16, **arguments, **QUIET)
    assert "\n" not in str(e.value)


def test_a_chunk_smaller_than_all_rows_does_for_a_batch_of_all_rows_only_if_it_holds_them() -> None:
    with pytest.raises(ArgumentError, match=f"chunk_rows: not a whole batch: expected at least {ROWS}"):
        classifier().fit(cr.data.stream(X, Y, chunk_rows=ROWS // 2 - 1), batch_size=ROWS, **QUIET)
    # All rows fit into the room of two chunks.
    history = classifier().fit(cr.data.stream(X, Y, chunk_rows=ROWS // 2), batch_size=ROWS, epochs=2, **QUIET)
    assert len(history.step_loss) == 2
    assert f"{ROWS} rows are streamed, all in one chunk" in history.notes[0]


# ---- memory


FOOTPRINT = """
import resource, sys
import numpy as np
import chainrule as cr

def fit(rows):
    trainer = cr.Trainer(cr.nn.Linear(1000, 2), cr.nn.CrossEntropyLoss(), cr.optim.SGD(0.01), backend="numpy")
    return trainer.fit(*rows, epochs=2, batch_size=500, progress=False)

def height():
    # Linux lets a process begin with the height of the one that has started it, in what getrusage gives.
    if sys.platform == "linux":
        return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

y = np.zeros(16_000, np.int64)
fit([cr.data.stream(np.zeros((600, 1000), np.float32), y[:600], chunk_rows=500)])
before = height()
if sys.argv[2] == "stream":
    history = fit([cr.data.stream(sys.argv[1], y, chunk_rows=2000)])
else:
    history = fit([np.load(sys.argv[1]), y])
print(height() - before)
print(*history.notes)
"""


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="needs resource")
def test_the_memory_of_a_streamed_training_is_bounded_as_stated(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", np.random.default_rng(0).random((16_000, 1000), dtype=np.float32))

    def grown(how: str) -> tuple[int, str]:
        source = str(Path(cr.__file__).parents[1])
        done = subprocess.run(
            [sys.executable, "-c", FOOTPRINT, tmp_path / "X.npy", how],
            env={**os.environ, "PYTHONPATH": source}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        lines = done.stdout.splitlines()
        return int(lines[0]), lines[1]

    memory, _ = grown("memory")
    streamed, said = grown("stream")
    found = re.search(r"streamed in 8 chunks of 2,000; at most (\S+) MB of them in memory at a time", said)
    assert found is not None
    stated = float(found[1]) * 1e6
    assert stated == pytest.approx(2 * 2000 * 4004, rel=0.01)
    # 64 MB of rows; what is not rows (a block that is looked through, a batch) is allowed as much again.
    assert memory > 60e6
    assert streamed < stated + 16e6
