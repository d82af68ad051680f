"""A compiled program is compared with the interpreter before it is trusted, and is not used where it is wrong."""

import os
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.backends import agreement, cache, mismatch, verify, xla
from chainrule.backends.kernels import KERNELS
from chainrule.backends.xla import compile_cache, compiled_loops, compiler, lower, single_kernel
from chainrule.errors import ArgumentError, CompilerMismatch, CompilerWarning, OutOfRangeError
from small import QUIET, classifier, parameters, same, table

rng = np.random.default_rng(3)
SQUARE = rng.normal(size=(6, 6)).astype("float32")
ROWS = 33_000


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch):
    """What another test has found right would not be compared again."""
    monkeypatch.setenv(cache.CACHE_VARIABLE, "off")


@pytest.fixture
def broken(monkeypatch):
    """Breaks what an operation is lowered to, for the usual programs and for those of one kernel."""

    def breaking(op, wrong):
        def break_row(rows, row):
            monkeypatch.setitem(rows, op, lambda attrs: lambda *xs: wrong(row(attrs)(*xs)))

        break_row(lower.OWN, lower.OWN.get(op, lambda attrs: KERNELS[op](jnp, attrs)))
        if op in single_kernel.ROWS:
            break_row(single_kernel.ROWS, single_kernel.ROWS[op])

    return breaking


def by_a_hundredth(y):
    return y * 1.01


def in_one_element(y):
    return y.at[(0,) * y.ndim].multiply(1.01)


def in_a_late_row(y):
    return y.at[-1].multiply(1.01)


def chain(x):
    return cr.sin(cr.exp(x) @ x.T).sum(1)


@pytest.mark.parametrize("wrong", [by_a_hundredth, in_one_element])
def test_what_a_wrong_program_gave_is_thrown_away_and_the_user_is_told_the_node(broken, wrong):
    right = chain(cr.tensor(SQUARE)).numpy()
    broken("matmul", wrong)
    f = cr.compile(chain, backend="xla")
    with pytest.warns(CompilerWarning, match=r"matmul float32\[6, 6\]") as told:
        first = f(SQUARE).numpy()
    np.testing.assert_allclose(first, right, rtol=1e-6)
    assert len(told) == 1
    assert "\n" not in str(told[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(f(SQUARE + 1).numpy(), chain(cr.tensor(SQUARE + 1)).numpy(), rtol=1e-6)


def test_a_row_above_32768_counts(broken):
    x = rng.normal(size=(ROWS, 4)).astype("float32")
    w = rng.normal(size=(4, 4)).astype("float32")
    broken("matmul", in_a_late_row)
    with pytest.warns(CompilerWarning, match=f"at \\[{ROWS - 1}, "):
        y = cr.trace(lambda x: cr.tanh(x @ w), x).run(x, backend="xla")
    np.testing.assert_allclose(y, np.tanh(x @ w), rtol=1e-4, atol=1e-6)


def test_a_gradient_that_is_wrong_is_found(broken):
    broken("put_add", by_a_hundredth)
    slope = cr.grad(lambda x: cr.square(x[np.array([0, 0, 2])]).sum())
    with pytest.warns(CompilerWarning, match="put_add"):
        found = cr.compile(slope, backend="xla")(SQUARE).numpy()
    np.testing.assert_allclose(found, slope(cr.tensor(SQUARE)).numpy(), rtol=1e-6)


def test_a_program_that_fusing_makes_wrong_is_compiled_without(monkeypatch):
    monkeypatch.setattr(compiler, "SAFE", "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE")
    x, w = rng.normal(size=(40_000, 3)).astype("float32"), rng.normal(size=(1, 2, 3)).astype("float32")
    f = cr.compile(lambda x: ((w * x.reshape(len(x), 1, 3)).sum(2) ** 2).sum(1), backend="xla")
    with pytest.warns(CompilerWarning, match="compiled without fusions it agrees"):
        y = f(x).numpy()
    np.testing.assert_allclose(y, ((w * x.reshape(-1, 1, 3)).sum(2) ** 2).sum(1), rtol=1e-4, atol=1e-5)


def test_switched_off_nothing_is_compared(broken, monkeypatch):
    monkeypatch.setenv(verify.VERIFY_VARIABLE, "off")
    broken("matmul", by_a_hundredth)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not np.allclose(cr.compile(lambda x: x @ x, backend="xla")(SQUARE).numpy(), SQUARE @ SQUARE, rtol=1e-3)


def test_an_unknown_choice_is_refused(monkeypatch):
    monkeypatch.setenv(verify.VERIFY_VARIABLE, "sometimes")
    with pytest.raises(ArgumentError, match=f"{verify.VERIFY_VARIABLE}.*'always'"):
        cr.compile(cr.tanh, backend="xla")(SQUARE)


def test_an_index_outside_its_axis_is_an_error_in_the_call_that_is_checked_and_puts_the_check_off(broken):
    broken("matmul", by_a_hundredth)
    f = cr.compile(lambda x, i: cr.take(x, i) @ x, backend="xla")
    with pytest.raises(OutOfRangeError):
        f(SQUARE, np.array([9]))
    with pytest.warns(CompilerWarning):
        f(SQUARE, np.array([1]))


# ---- trainings


def fitted(**settings):
    trainer = classifier(nn.BatchNorm(8), nn.ReLU(), **settings)
    return trainer, trainer.fit(*table(), epochs=2, batch_size=16, validation=0.2, **QUIET)


def test_a_right_training_is_checked_and_keeps_its_bits(monkeypatch):
    checked, history = fitted(backend="xla")
    assert history.verify_seconds > 0
    assert history.notes == []
    monkeypatch.setenv(verify.VERIFY_VARIABLE, "off")
    unchecked, history = fitted(backend="xla")
    assert history.verify_seconds == 0
    assert history.notes == []
    assert same(checked, unchecked)


@pytest.mark.parametrize(
    ("op", "wrong", "one_kernel"),
    [("linear", by_a_hundredth, True), ("matmul", in_one_element, False), ("batch_norm", in_one_element, True)],
)
def test_a_training_whose_program_is_wrong_is_interpreted(broken, monkeypatch, op, wrong, one_kernel):
    if not one_kernel:
        monkeypatch.setattr(single_kernel, "is_supported", lambda: False)
    right, _ = fitted(backend="numpy")
    broken(op, wrong)
    trainer, history = fitted(backend="xla")
    [note] = history.notes
    assert op in note
    assert "interpreted instead" in note
    assert "\n" not in note
    np.testing.assert_allclose(parameters(trainer), parameters(right), rtol=1e-4, atol=1e-6)


def test_a_wrong_evaluation_is_found(broken):
    """Nothing but the accuracy asks for the index of the largest output."""
    broken("argmax", lambda y: y * 0)
    _, history = fitted(backend="xla")
    [note] = history.notes
    assert "argmax" in note


def test_what_is_too_dear_to_check_is_said_and_always_means_always(monkeypatch):
    monkeypatch.setattr(verify, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(verify, "MAX_SHARE", 0.0)
    _, history = fitted(backend="xla")
    [note] = history.notes
    assert verify.VERIFY_VARIABLE in note
    assert history.verify_seconds == 0
    monkeypatch.setenv(verify.VERIFY_VARIABLE, "always")
    _, history = fitted(backend="xla")
    assert history.notes == []
    assert history.verify_seconds > 0


def test_a_check_waits_until_the_training_has_run_long_enough(monkeypatch):
    monkeypatch.setattr(verify, "MIN_SECONDS", 0.0)
    seen = []

    def later(self):
        seen.append(self.spent)
        return len(seen) == 3

    monkeypatch.setattr(verify.CheckSchedule, "due", later)
    trainer = classifier(backend="xla")
    history = trainer.fit(*table(), epochs=4, batch_size=16, callbacks=[lambda t: None], **QUIET)
    assert history.verify_seconds > 0
    assert len(seen) == 3
    assert seen == sorted(seen)


def test_members_of_a_sweep_whose_program_is_wrong_are_interpreted(broken):
    def found():
        sweep = cr.Sweep(
            lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)), nn.CrossEntropyLoss(),
            lambda lr: cr.optim.SGD(lr), {"lr": [0.01, 0.1]}, backend="xla",
        )  # fmt: skip
        return sweep.fit(*table(), epochs=2, batch_size=16, validation=0.3, **QUIET).trials

    right = found()
    assert all(not trial.history.notes for trial in right)
    assert any(trial.history.verify_seconds > 0 for trial in right)
    broken("linear", by_a_hundredth)
    wrong = found()
    assert any("interpreted instead" in note for trial in wrong for note in trial.history.notes)
    for a, b in zip(right, wrong, strict=True):
        np.testing.assert_allclose(a.history.loss, b.history.loss, rtol=1e-5)
        np.testing.assert_allclose(a.history.val_loss, b.history.val_loss, rtol=1e-5)


def test_a_wrong_judging_in_a_sweep_is_found(broken):
    broken("argmax", lambda y: y * 0)
    sweep = cr.Sweep(
        lambda: nn.Sequential(nn.Linear(4, 3)), nn.CrossEntropyLoss(), lambda lr: cr.optim.SGD(lr),
        {"lr": [0.01, 0.1]}, backend="xla",
    )  # fmt: skip
    trials = sweep.fit(*table(), epochs=2, batch_size=16, validation=0.3, **QUIET).trials
    assert any("argmax" in note for trial in trials for note in trial.history.notes)


# ---- what is remembered


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(tmp_path / "kept"))
    monkeypatch.setattr(compile_cache, "MIN_SECONDS", 0.0)
    return tmp_path / "kept"


def checked(folder):
    return list(folder.rglob(f"*{compile_cache.VERIFIED}"))


def test_a_program_from_the_cache_that_was_checked_once_is_not_checked_again(folder, monkeypatch):
    histories = [fitted(backend="xla")[1] for _ in range(2)]
    assert [history.from_cache for history in histories] == [False, True]
    assert [history.verify_seconds > 0 for history in histories] == [True, False]
    assert len(checked(folder)) == 1
    monkeypatch.setenv(verify.VERIFY_VARIABLE, "always")
    assert fitted(backend="xla")[1].verify_seconds > 0


@pytest.mark.skipif(os.name != "posix", reason="needs owners and modes of POSIX")
def test_that_it_was_checked_does_not_count_where_somebody_else_can_have_said_so(folder):
    fitted(backend="xla")
    [path] = checked(folder)
    os.chmod(path, 0o666)
    history = fitted(backend="xla")[1]
    assert not history.from_cache
    assert history.verify_seconds > 0


def test_a_wrong_program_is_not_kept(folder, monkeypatch):
    monkeypatch.setattr(compiled_loops, "checked_program", lambda *_: verify.Verdict(None, "it is wrong"))
    for _ in range(2):
        history = fitted(backend="xla")[1]
        assert history.notes == ["it is wrong"]
        assert not history.from_cache


def test_a_program_that_nobody_has_checked_is_checked_though_it_is_kept(folder, monkeypatch):
    monkeypatch.setenv(verify.VERIFY_VARIABLE, "off")
    fitted(backend="xla")
    monkeypatch.delenv(verify.VERIFY_VARIABLE)
    assert checked(folder) == []
    history = fitted(backend="xla")[1]
    assert history.from_cache
    assert history.verify_seconds > 0
    assert len(checked(folder)) == 1


# ---- the tolerance


def judged(f, *xs, change=lambda y: y):
    graph = cr.trace(f, *xs).simplify()
    values = graph.arrays(xs)
    found = [np.array(y) for y in graph.run(*xs)] if len(graph.outputs) > 1 else [np.array(graph.run(*xs))]
    return agreement.disagreement(graph, values, [change(y) for y in found])


def test_terms_that_cancel_are_excused_and_a_wrong_term_is_not():
    x = rng.normal(size=100_000).astype("float32")
    x -= x.mean()
    exact = float(x.astype("float64").sum())
    assert judged(lambda x: cr.sum(x), x, change=lambda y: np.float32(exact)) is None
    assert judged(lambda x: cr.sum(x), x, change=lambda y: y + 1) is not None


def test_a_unit_at_its_kink_is_excused_and_a_wrong_unit_is_not():
    x = np.full((1, 50), 0.1, "float32")
    w = np.concatenate([np.full(25, 1 / 3), np.full(25, -1 / 3)]).astype("float32")[:, None]
    slope = cr.grad(lambda x: cr.relu(x @ w).sum())
    assert judged(slope, x, change=np.zeros_like) is None
    assert judged(slope, x + w.T, change=lambda y: y * 1.01) is not None


def test_two_largest_that_tie_but_for_rounding_are_excused():
    x = np.array([0.1, 0.2, 0.3], "float32")

    def which(x):
        return cr.argmax(cr.stack([x[0] + x[1], x[2]]))

    assert judged(which, x, change=lambda y: 1 - y) is None
    assert judged(which, x + np.float32([0, 0, 1]), change=lambda y: 1 - y) is not None


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_numbers_that_are_none_must_be_where_they_are(odd):
    x = np.array([1.0, 2.0, 3.0], "float32")
    assert judged(cr.tanh, x, change=lambda y: np.where([True, False, False], odd, y)) is not None
    assert judged(cr.sqrt, np.array([-1.0, np.inf, 4.0], "float32")) is None


# ---- on demand


def test_a_right_function_passes():
    assert cr.verify(cr.grad(lambda x: chain(x).sum()), SQUARE) is None


@pytest.mark.parametrize("op", ["matmul", "sin", "exp", "transpose"])
def test_the_first_node_that_differs_is_named_with_both_values(broken, op):
    broken(op, by_a_hundredth)
    with pytest.raises(CompilerMismatch, match=op) as raised:
        cr.verify(chain, SQUARE)
    error = raised.value
    assert error.node.op == op
    assert error.compiled == pytest.approx(error.reference * 1.01, rel=1e-5)
    assert error.times > 10
    assert "test_verify.py:" in str(error)


def test_where_only_the_whole_is_wrong_that_is_said(monkeypatch):
    """A compiler that goes wrong where two outputs are wanted at once."""
    honest = xla.run_unchecked
    monkeypatch.setattr(
        xla, "run_unchecked", lambda g, v: [y * (1.01 if len(g.outputs) > 1 else 1) for y in honest(g, v)]
    )
    with pytest.raises(CompilerMismatch, match="only the whole program is wrong") as raised:
        mismatch.verify(lambda x: (cr.exp(x), cr.tanh(x)), SQUARE)
    assert raised.value.node.op == "exp"
