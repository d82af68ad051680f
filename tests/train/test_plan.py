import json

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends import cache, interpreter
from chainrule.train.step import TrainingStep
from small import QUIET, classifier, table

X, Y = table()
"""50 rows: batches of 16 leave a last one of 2."""
HELD = table(10, seed=1)


@pytest.fixture
def traced(monkeypatch):
    """The kinds of graph traced, one entry a graph."""
    kinds = []
    original = TrainingStep.traced
    monkeypatch.setattr(
        TrainingStep, "traced", lambda self, kind, *args: kinds.append(kind) or original(self, kind, *args)
    )
    return kinds


@pytest.fixture
def programs(monkeypatch):
    """The schedules that NumPy has made programs of."""
    made = []

    def counted(looping, original=interpreter.compile_loops):
        made.append(looping)
        return original(looping)

    monkeypatch.setattr(interpreter, "compile_loops", counted)
    return made


def test_the_backend_is_chosen_by_the_graphs_that_then_run(traced):
    history = classifier(backend="auto").fit(X, Y, batch_size=16, epochs=1, validation=HELD, **QUIET)
    assert history.backend == "numpy"
    assert traced == ["training", "training", "evaluation"]


def test_a_training_of_the_same_shape_uses_graphs_and_program_again(traced, programs):
    trainer = classifier(backend="auto")
    first = trainer.fit(X, Y, epochs=1, batch_size=25, **QUIET)
    second = trainer.fit(X + 1, Y, epochs=2, batch_size=25, **QUIET)
    assert (len(traced), len(programs)) == (1, 1)
    assert first.trace_seconds > 0
    assert (second.trace_seconds, second.compile_seconds) == (0, 0)


@pytest.mark.parametrize(
    "change", [{"batch_size": 10}, {"X": X[:40], "y": Y[:40]}, {"validation": HELD}], ids=["batch", "rows", "held out"]
)
def test_a_training_of_another_shape_gets_a_program_of_its_own(programs, change):
    trainer = classifier()
    same = {"X": X, "y": Y, "epochs": 1, "batch_size": 25, **QUIET}
    trainer.fit(**same)
    trainer.fit(**{**same, **change})
    assert len(programs) == 2


def test_a_plan_knows_how_often_each_graph_runs():
    trainer = classifier()
    trainer.fit(X, Y, batch_size=16, epochs=1, validation=HELD, **QUIET)
    graphs, runs = trainer.plans._kept["numpy"].runs(epochs=7)
    assert [graph.inputs[-1].shape for graph in graphs] == [(16,), (2,), (10,)]
    assert runs == [21, 7, 7]


def test_a_history_tells_making_the_program_from_training(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.CACHE_VARIABLE, "off")
    compiled = classifier(backend="xla")
    history = compiled.fit(X, Y, epochs=1, batch_size=50, **QUIET)
    assert 0 < history.trace_seconds < history.compile_seconds < history.seconds
    assert history.from_cache is False
    compiled.save(tmp_path / "run")
    assert json.loads((tmp_path / "run/config.json").read_text())["history"]["from_cache"] is False
    assert cr.Trainer.load(tmp_path / "run").history == history


def test_where_nothing_is_compiled_there_is_no_word_of_a_cache():
    assert classifier().fit(X, Y, epochs=1, **QUIET).from_cache is None


def test_what_compiling_takes_does_not_count_as_training_when_the_loop_paces_itself(monkeypatch):
    monkeypatch.setenv(cache.CACHE_VARIABLE, "off")
    paced = []
    monkeypatch.setattr("chainrule.train.fit_loop.Loop._pace", lambda self, seconds, steps: paced.append(seconds))
    history = classifier(backend="xla").fit(np.float32(X), Y, epochs=1, batch_size=50, **QUIET)
    assert paced[0] < history.compile_seconds
