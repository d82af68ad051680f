"""The memory that a training takes is stated before it starts, is what is then measured, and is refused if short."""

import dataclasses
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, resources
from chainrule.backends import xla
from chainrule.backends.interpreter import SCRATCH
from chainrule.backends.xla import devices
from chainrule.errors import ResourceError
from chainrule.train import memory_estimate as memory
from small import QUIET, classifier, parameters, regressor, table

X, Y = table()
rng = np.random.default_rng(0)
WIDE, LABELS = rng.standard_normal((3000, 200), dtype=np.float32), rng.integers(0, 10, 3000).astype(np.int32)


def wide(width=300, **settings):
    """A trainer whose arrays are large beside the objects of a program."""
    cr.seed(0)
    layers = [nn.Linear(200, width), nn.BatchNorm(width), nn.GELU(), nn.Dropout(0.3), nn.Linear(width, 10)]
    settings = {"backend": "numpy", "optimizer": optim.Adam(), **settings}
    return cr.Trainer(nn.Sequential(*layers), nn.CrossEntropyLoss(), **settings)


MEASURED = """
import json
from pathlib import Path
import numpy as np
import chainrule as cr
from chainrule import nn

rng = np.random.default_rng(0)
X, y = rng.standard_normal((1500, 1024), dtype=np.float32), rng.integers(0, 10, 1500).astype(np.int32)
found = []
for backend in ("numpy", "xla"):
    model = nn.Sequential(nn.Linear(1024, 1024), nn.Tanh(), nn.Linear(1024, 1024), nn.Tanh(), nn.Linear(1024, 10))
    trainer = cr.Trainer(model, nn.CrossEntropyLoss(), cr.optim.Adam(), backend=backend)
    stated = trainer.estimate(X, epochs=1, batch_size=1500)
    trainer.fit(X, y, epochs=1, batch_size=1500, progress=False)
    # ru_maxrss would begin with what the process had that started this one.
    lines = Path("/proc/self/status").read_text().splitlines()
    most = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
    found.append((backend, stated.peak, trainer.history.memory, most, stated.training))
print(json.dumps(found))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the process's memory is read from /proc")
def test_the_stated_peak_is_within_15_percent_of_the_one_that_the_system_measures():
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    for backend, stated, at_fit, measured, training in json.loads(done.stdout):
        assert stated == pytest.approx(measured, rel=0.15), backend
        assert at_fit == pytest.approx(measured, rel=0.15), backend
        assert training > 0.15 * stated, "the training is too small a part to say anything"


def held_by(trainer, X, y, **arguments):
    """The most that Python counts while a training runs whose graphs are there already."""
    trainer.fit(X, y, epochs=1, **QUIET, **arguments)
    trainer.optimizer_state = trainer.standardizer = None
    tracemalloc.start()
    trainer.fit(X, y, epochs=2, **QUIET, **arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize(
    ("settings", "arguments", "as_double"),
    [
        ({}, {}, False),
        ({"normalize": "feature"}, {"validation": 0.2}, True),
        ({"width": 600}, {"validation": 0.2, "early_stopping": 3}, False),
        ({"width": 600}, {"validation": (WIDE, LABELS), "checkpoint": "run"}, False),
    ],
    ids=["plain", "rows made ready", "early stopping", "checkpoints"],
)
def test_rows_and_copies_are_counted(settings, arguments, as_double, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = WIDE.astype(np.float64) if as_double else WIDE
    trainer = wide(**settings)
    estimate = trainer.estimate(rows, LABELS, epochs=1, batch_size=500, **arguments)
    held = held_by(trainer, rows, LABELS, batch_size=500, **arguments)
    assert estimate.training - SCRATCH == pytest.approx(held, rel=0.15)


def test_rows_that_are_made_ready_count_where_they_take_most():
    trainer, rows = wide(width=4, normalize="feature"), WIDE.astype(np.float64)
    estimate = trainer.estimate(rows, validation=0.5, batch_size=10)
    assert estimate.preparing == pytest.approx(held_by(trainer, rows, LABELS, validation=0.5, batch_size=10), rel=0.1)
    assert dataclasses.replace(estimate, temporaries=0).training == estimate.preparing


def test_a_state_to_begin_with_takes_no_memory_beside_the_copy_that_is_trained():
    """The model has the parameters, and zeros are one number stretched until a program gets its own."""
    trainer = wide(backend="xla")
    state = trainer.step("xla").state()
    own = {id(p.value) for p in trainer.model.parameters()}
    assert all(id(value) in own for value in state["parameters"].values())
    large = [leaf for leaf in cr.tree.flatten(state["optimizer"])[0] if leaf.size > 1]
    assert len(large) == 2 * len(own)
    assert not any(any(leaf.strides) for leaf in large)


def test_estimating_leaves_the_trainer_as_it_is_and_saves_the_fit_its_tracing():
    trainer = wide(normalize="feature")
    before = parameters(trainer)
    history = trainer.history
    estimate = trainer.estimate(WIDE, epochs=2, batch_size=500)
    assert (trainer.standardizer, trainer.optimizer_state, trainer.steps) == (None, None, 0)
    assert trainer.history is history
    assert np.array_equal(parameters(trainer), before)
    done = trainer.fit(WIDE, LABELS, epochs=2, batch_size=500, **QUIET)
    assert done.trace_seconds == 0
    assert done.memory == pytest.approx(estimate.peak, rel=0.15)


def test_the_targets_may_be_left_out_for_labels_and_for_numbers():
    assert classifier().estimate(X).data == classifier().estimate(X, Y.astype(np.int32)).data
    numbers = np.zeros((50, 3), np.float32)
    assert regressor(width=3).estimate(X).temporaries == regressor(width=3).estimate(X, numbers).temporaries


def test_a_stream_takes_two_chunks_and_not_all_its_rows():
    rows = cr.data.stream(WIDE, LABELS, chunk_rows=500)
    estimate = wide().estimate(rows, batch_size=100)
    assert 0.8 * WIDE.nbytes / 3 < estimate.data < 1.2 * WIDE.nbytes / 3


def test_an_estimate_is_one_line_for_people():
    text = str(wide().estimate(WIDE, batch_size=500))
    assert "\n" not in text
    assert text.startswith("1") or " MB at the peak: " in text
    assert " optimizer, " in text


# ---- what does not fit


@pytest.fixture
def scarce(monkeypatch):
    """So many bytes are free."""
    return lambda free: monkeypatch.setattr(resources, "available_memory", lambda: free)


@pytest.mark.parametrize(
    ("largest", "hint"),
    [("temporaries", "smaller batch_size, .*Checkpoint"), ("data", "stream"), ("optimizer", "SGD"), ("kept", "leave")],
)
def test_a_training_that_does_not_fit_is_refused_in_one_line_before_it_starts(scarce, largest, hint, monkeypatch):
    trainer = wide()
    scarce(17_000_000)
    before = parameters(trainer)
    stated = memory.stated
    monkeypatch.setattr(memory, "stated", lambda *args: dataclasses.replace(stated(*args), **{largest: 10**9}))
    match = (
        rf"fit: .*does not fit into memory: expected [0-9.]+ GB free, of which 1 GB for {largest}, got 17 MB; .*{hint}"
    )
    with pytest.raises(ResourceError, match=match) as error:
        trainer.fit(WIDE, LABELS, batch_size=500, **QUIET)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, MemoryError)
    assert np.array_equal(parameters(trainer), before)
    scarce(10**12)
    assert trainer.fit(WIDE, LABELS, epochs=1, batch_size=500, **QUIET).epochs == 1


def test_rows_that_cannot_be_made_ready_are_refused_before_they_are_copied(scarce):
    rows = np.zeros((20_000, 200))
    scarce(17_000_000)
    tracemalloc.start()
    with pytest.raises(ResourceError, match=r"X: the rows do not fit.*got 17 MB; chainrule.data.stream"):
        wide(normalize="feature").fit(rows, LABELS, **QUIET)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_where_the_system_does_not_say_how_much_is_free_nothing_is_refused(scarce):
    scarce(None)
    assert wide().fit(WIDE[:500], LABELS[:500], epochs=1, batch_size=500, **QUIET).epochs == 1


def test_on_a_device_with_memory_of_its_own_that_one_counts(monkeypatch):
    trainer = classifier(backend="xla")
    monkeypatch.setattr(xla, "device_memory", lambda: (5_000_000, 100))
    assert trainer.estimate(X).before == 5_000_000
    with pytest.raises(ResourceError, match="got 1 kB"):
        trainer.fit(X, Y, **QUIET)


def test_a_gpu_says_what_it_has_and_a_cpu_has_none_of_its_own(monkeypatch):
    class Device:
        platform = "gpu"

        def memory_stats(self):
            return {"bytes_in_use": 3, "bytes_limit": 10}

    assert xla.device_memory() is None
    monkeypatch.setattr(devices, "device", Device)
    assert xla.device_memory() == (3, 7)
