"""Every program is compiled in one place, with the options that keep the compiler's known fault away."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.backends.xla import compiler
from chainrule.backends.xla.compiler import GRAPH, KERNEL, LOOP, Program
from chainrule.backends.xla.lower import function
from small import QUIET

X = np.arange(6.0, dtype=np.float32)
ROWS, TOGETHER = 40_960, 10
"""Above 32,768, where the fault begins; and how many of them one sample of 4,096 has."""
rng = np.random.default_rng(0)
MANY = rng.normal(size=(ROWS, 3)).astype("float32")
WEIGHT = rng.normal(size=(1, 2, 3)).astype("float32")


def twice_reduced(x, weight):
    """A sum of squares of sums, a row: what the library gives wrongly."""
    return (((weight * x.reshape(len(x), 1, 3)).sum(2)) ** 2).sum(1)


EXPECTED = twice_reduced(MANY.astype("float64"), WEIGHT.astype("float64"))
SAMPLES, TARGETS = MANY.reshape(-1, 3 * TOGETHER), EXPECTED.reshape(-1, TOGETHER).astype("float32")


class TwiceReduced(nn.Module):
    """The same as a module, beside a layer that gives 0 and makes a step too much work for one kernel."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(WEIGHT)
        self.layer = nn.Linear(3, 100, bias=False, init="zeros")

    def forward(self, x):
        rows = x.reshape(-1, 3)
        return (twice_reduced(rows, self.weight) + self.layer(rows).sum(1)).reshape(len(x), -1)


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    """The options alone must keep the fault away, without the check behind them."""
    monkeypatch.setenv("CHAINRULE_VERIFY", "off")


def trainer():
    return cr.Trainer(TwiceReduced(), nn.MSELoss(), cr.optim.SGD(1e-30), backend="xla", metrics=())


def test_a_compiled_function_above_the_limit():
    y = cr.compile(twice_reduced, backend="xla")(MANY, WEIGHT).numpy()
    np.testing.assert_allclose(y, EXPECTED, rtol=1e-3, atol=1e-4)


def test_a_graph_that_is_run_above_the_limit():
    y = cr.trace(twice_reduced, MANY, WEIGHT).run(MANY, WEIGHT, backend="xla")
    np.testing.assert_allclose(y, EXPECTED, rtol=1e-3, atol=1e-4)


def test_predictions_above_the_limit():
    np.testing.assert_allclose(trainer().predict(SAMPLES), TARGETS, rtol=1e-3, atol=1e-4)


def test_an_evaluation_above_the_limit():
    assert trainer().evaluate(SAMPLES, TARGETS)["loss"] < 1e-6


def test_a_training_above_the_limit_and_the_evaluation_within_it():
    held = (SAMPLES, TARGETS)
    history = trainer().fit(*held, validation=held, epochs=1, batch_size=len(SAMPLES), **QUIET)
    assert history.loss[0] < 1e-6
    assert history.val_loss[0] < 1e-6


def test_a_sweep_above_the_limit():
    sweep = cr.Sweep(
        TwiceReduced, nn.MSELoss(), lambda lr: cr.optim.SGD(lr), {"lr": [1e-30, 1e-29]}, metrics=(), backend="xla"
    )
    held = (SAMPLES, TARGETS)
    for trial in sweep.fit(*held, validation=held, epochs=1, batch_size=len(SAMPLES), **QUIET).trials:
        assert trial.history.loss[0] < 1e-6
        assert trial.history.val_loss[0] < 1e-6


@pytest.mark.parametrize("kind", [GRAPH, LOOP, KERNEL])
def test_this_compiler_takes_all_options(kind):
    program = Program(lambda x: x + 1, kind)
    assert program.make(X).note is None
    if kind != KERNEL:
        assert program.without_fusions().make(X).note is None


def test_an_option_that_this_compiler_does_not_know_is_left_out_and_no_other(monkeypatch):
    monkeypatch.setattr(compiler, "options", lambda kind: {"xla_no_such_option": True, compiler.LIBRARY: ""})
    program = Program(lambda x: x + 1)
    assert program.make(X).note is None
    assert np.array_equal(program(X), X + 1)


def test_it_is_said_where_the_cure_is_not_to_be_had(monkeypatch):
    monkeypatch.setattr(compiler, "SAFE", "-reduce")
    found = Program(lambda x: x + 1).make(X)
    assert compiler.LIBRARY in found.note
    assert "\n" not in found.note
    with pytest.warns(cr.errors.CompilerWarning, match="reductions"):
        cr.compile(cr.tanh, backend="xla")(X)


def test_what_is_settled_is_computed_once_and_not_anew_for_each_user():
    """What a loop gives is kept; left to itself the compiler computes exp anew to ask which element is the largest."""
    slope = cr.trace(cr.grad(lambda x: cr.exp(x).max()), X).simplify()
    assert any(node.op == "materialize" for node in slope.nodes)
    program = Program(function(slope))
    program.make([X])
    assert " while(" in program.text
