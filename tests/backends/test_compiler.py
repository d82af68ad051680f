"""Every program is compiled in one place, with the options that keep the compiler's known fault away."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.backends.xla import compiler
from chainrule.backends.xla.compiler import GRAPH, KERNEL, LOOP, Program
from small import QUIET

X = np.arange(6.0, dtype=np.float32)
ROWS = 40_960
"""Above 32,768: what the fault begins at."""
rng = np.random.default_rng(0)
MANY = rng.normal(size=(ROWS, 3)).astype("float32")
WEIGHT = rng.normal(size=(1, 2, 3)).astype("float32")
TARGETS = np.zeros((ROWS, 1), "float32")


def twice_reduced(x, weight):
    """A sum of squares of sums, a row: what the library gives wrongly."""
    return (((weight * x.reshape(len(x), 1, 3)).sum(2)) ** 2).sum(1)


EXPECTED = twice_reduced(MANY.astype("float64"), WEIGHT.astype("float64"))


class TwiceReduced(nn.Module):
    """The same as a module of `together` such rows a sample, so that blocks of samples are above the limit too."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(WEIGHT)

    def forward(self, x):
        return twice_reduced(x.reshape(-1, 3), self.weight).reshape(len(x), -1).sum(1, keepdims=True)


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    """The options alone must keep the fault away, without the check behind them."""
    monkeypatch.setenv("CHAINRULE_VERIFY", "off")


def trainer(**settings):
    return cr.Trainer(TwiceReduced(), nn.MSELoss(), cr.optim.SGD(1e-4), backend="xla", metrics=(), **settings)


def test_a_compiled_function_above_the_limit():
    y = cr.compile(twice_reduced, backend="xla")(MANY, WEIGHT).numpy()
    np.testing.assert_allclose(y, EXPECTED, rtol=1e-3, atol=1e-4)


def test_a_graph_that_is_run_above_the_limit():
    y = cr.trace(twice_reduced, MANY, WEIGHT).run(MANY, WEIGHT, backend="xla")
    np.testing.assert_allclose(y, EXPECTED, rtol=1e-3, atol=1e-4)


def test_predictions_above_the_limit():
    wide = MANY.reshape(4096, -1)
    np.testing.assert_allclose(
        trainer().predict(wide)[:, 0], EXPECTED.reshape(4096, -1).sum(1), rtol=1e-3, atol=1e-3
    )


def test_an_evaluation_above_the_limit():
    wide = MANY.reshape(4096, -1)
    found = trainer().evaluate(wide, np.zeros((4096, 1), "float32"))
    assert found["loss"] == pytest.approx((EXPECTED.reshape(4096, -1).sum(1) ** 2).mean(), rel=1e-4)


def test_a_training_step_of_all_rows_above_the_limit():
    history = trainer().fit(MANY, TARGETS, epochs=1, batch_size=ROWS, **QUIET)
    assert history.loss == pytest.approx([(EXPECTED**2).mean()], rel=1e-4)


def test_the_evaluation_within_a_training_above_the_limit():
    wide, y = MANY.reshape(4096, -1), np.zeros((4096, 1), "float32")
    still = cr.Trainer(TwiceReduced(), nn.MSELoss(), cr.optim.SGD(1e-30), backend="xla", metrics=())
    history = still.fit(wide, y, validation=(wide, y), epochs=1, batch_size=1024, **QUIET)
    assert history.val_loss == pytest.approx([(EXPECTED.reshape(4096, -1).sum(1) ** 2).mean()], rel=1e-4)


def test_a_sweep_above_the_limit():
    sweep = cr.Sweep(
        lambda: TwiceReduced(), nn.MSELoss(), lambda lr: cr.optim.SGD(lr), {"lr": [1e-5, 1e-4]}, metrics=(),
        backend="xla",
    )  # fmt: skip
    found = sweep.fit(MANY, TARGETS, epochs=1, batch_size=ROWS, **QUIET)
    for member in found.members:
        assert member.history.loss == pytest.approx([(EXPECTED**2).mean()], rel=1e-4)


@pytest.mark.parametrize("kind", [GRAPH, LOOP, KERNEL])
def test_this_compiler_takes_all_options(kind):
    program = Program(lambda x: x + 1, kind)
    assert program.make(X).note is None
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
