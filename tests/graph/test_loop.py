"""`loop`: what Python's own loop gives, on both backends, whatever the bounds and wherever the body stops it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.autodiff.batch import batched
from chainrule.backends.xla import single_kernel
from chainrule.passes.transpose_state import transposed_state

LENGTH = 7
XS = np.linspace(-1.0, 1.0, LENGTH * 3).reshape(LENGTH, 3)


def body(carry, x):
    """A sum that goes on as long as the step's input is not above a limit that is carried too."""
    total, limit = carry
    return (total + x, limit), {"seen": total * x, "count": cr.sum(x > 0)}, cr.sum(x) <= limit


def by_hand(start, stop, limit, guarded):
    total, ok = np.zeros(3), True
    seen, count = np.full((LENGTH, 3), np.nan), np.zeros(LENGTH, np.int64)
    t = max(0, start)
    while ok and t < min(stop, LENGTH):
        seen[t], count[t] = total * XS[t], (XS[t] > 0).sum()
        ok = bool(XS[t].sum() <= limit)
        total = total + XS[t] if ok or not guarded else total
        t += 1
    return total, seen, count, ok


def looped(guarded, backend):
    def run(xs, limit, start, stop):
        init = (cr.tensor(np.zeros(3)), limit)
        (total, _), records, ok = cr.loop(body, init, xs, start=start, stop=stop, guarded=guarded)
        return total, records["seen"], records["count"], ok

    return cr.compile(run, backend=backend)


PROGRAMS = {(guarded, backend): looped(guarded, backend) for guarded in (True, False) for backend in ("numpy", "xla")}


@pytest.mark.parametrize("backend", ["numpy", "xla"])
@settings(max_examples=60, deadline=None)
@given(start=st.integers(-2, 9), stop=st.integers(-2, 12), limit=st.floats(-4, 4), guarded=st.booleans())
def test_any_bounds_and_any_end_give_what_python_gives(backend, start, stop, limit, guarded):
    found = PROGRAMS[guarded, backend](XS, limit, np.int32(start), np.int32(stop))
    for mine, right in zip(found, by_hand(start, stop, limit, guarded), strict=True):
        np.testing.assert_allclose(mine.numpy(), right, atol=1e-12)


pytestmark = pytest.mark.filterwarnings("error::chainrule.CompilerWarning")


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_loops_in_loops_run_and_an_outer_one_sees_what_an_inner_one_says(backend):
    def inner(c, x):
        return c * x, None, c < 50

    def outer(c, xs):
        c, _, ok = cr.loop(inner, c, xs, guarded=False)
        return c, c, ok

    f = cr.compile(lambda c, xs: cr.loop(outer, c, xs), backend=backend)
    last, seen, ok = f(1.0, np.array([[2.0, 3.0], [5.0, 2.0], [2.0, 2.0], [2.0, 2.0]]))
    # 6, 60, and then 60·2 ends the inner loop at once: that row is recorded, and does not count.
    assert (last.item(), ok.item()) == (60.0, False)
    np.testing.assert_array_equal(seen.numpy(), [6.0, 60.0, 120.0, np.nan])


def test_it_is_one_node_that_prints_its_body():
    graph = cr.trace(lambda c: cr.loop(lambda c, _: (c + 1, c, c < 3), c, length=5).carry, 0.0)
    assert [node.op for node in graph.nodes].count("loop") == 1
    assert "body(c0: float64[]) -> float64[], float64[], bool[]" in str(graph)
    assert graph.run(0.0) == 3.0


def test_bounds_are_operands_so_that_one_program_serves_all():
    f = cr.compile(lambda c, n: cr.loop(lambda c, _: (c + 1, None, True), c, length=9, stop=n).carry)
    assert [f(0.0, np.int32(n)).item() for n in (0, 4, 9)] == [0.0, 4.0, 9.0]
    assert f.structures == 1


def test_a_derivative_is_said_not_to_be_implemented():
    with pytest.raises(cr.ChainruleError, match=r"derivative of loop is not implemented; .*cr\.scan"):
        cr.grad(lambda c: cr.loop(lambda c, _: (c * 2, None, True), c, length=3).carry)(1.0)


@pytest.mark.parametrize(
    ("f", "more", "says"),
    [
        (lambda c, _: (c, None), {"length": 2}, r"\(carry, y, ok\)"),
        (lambda c, _: (c, None, c), {"length": 2}, "not one truth value"),
        (lambda c, _: ((c, c), None, True), {"length": 2}, "changes its structure"),
        (lambda c, _: (c, None, True), {}, "number of steps"),
        (lambda c, _: (c, None, True), {"length": 2, "stop": 1.5}, "not a step index"),
        (lambda c, _: (c, None, True), {"length": 2, "start": np.zeros(2, np.int32)}, "not a step index"),
    ],
)
def test_what_it_cannot_take_is_refused_by_name(f, more, says):
    with pytest.raises(cr.ChainruleError, match=says):
        cr.loop(f, cr.tensor(1.0), **more)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_an_index_out_of_range_in_a_body_is_an_error(backend):
    table = cr.tensor(np.arange(3.0))
    f = cr.compile(
        lambda xs: cr.loop(lambda c, i: (c + cr.take(table, i), None, True), cr.tensor(0.0), xs).carry, backend
    )
    assert f(np.array([0, 2, 1])).item() == 3.0
    with pytest.raises(cr.ChainruleError, match="outside its range"):
        f(np.array([0, 3, 1]))


@pytest.mark.parametrize("guarded", [True, False])
def test_a_batch_of_loops_stops_each_example_where_it_stops_alone(guarded):
    def f(x, ys):
        (total, _), records, ok = cr.loop(body, (x, x.sum() * 2), ys, start=1, guarded=guarded)
        return cr.concatenate([total, records["seen"].reshape(-1), records["count"] * 1.0, cr.reshape(ok * 1.0, (1,))])

    def once(x, ys):
        return f(cr.tensor(x), cr.tensor(ys)).numpy()

    rng = np.random.default_rng(1)
    xs, ys = rng.normal(size=(6, 3)), rng.normal(size=(6, LENGTH, 3))
    graph = cr.trace(lambda x, y: f(x, y), xs[0], ys[0])
    [found] = batched(graph.outputs, graph.inputs, [cr.tensor(xs), cr.tensor(ys)])
    right = np.stack([once(x, y) for x, y in zip(xs, ys, strict=True)])
    assert 0 < right[:, -1].sum() < 6
    np.testing.assert_allclose(found.numpy(), right, atol=1e-12)


# ---- a training step in loops, as one kernel and with its weights held transposed


def descent(xs, ys, w, b, stop):
    """Epochs of gradient descent on a layer of 20 units, and the loss at the end of each."""

    def loss(w, b, x, y):
        return cr.mean((cr.tanh(cr.linear(x, w, b)) - y) ** 2)

    def step(carry, batch):
        (w, b), (x, y) = carry, batch
        value, (dw, db) = cr.value_and_grad(loss, (0, 1))(w, b, x, y)
        return (w - 0.5 * dw, b - 0.5 * db), value, value > 0.05

    def epoch(carry, _):
        carry, values, ok = cr.loop(step, carry, (xs, ys), guarded=True)
        ends = cr.loop(lambda _, batch: (None, loss(*carry, *batch), True), None, (xs, ys)).records
        return carry, (values, ends), ok

    (w, b), records, ok = cr.loop(epoch, (w, b), length=30, stop=stop, guarded=False)
    return w, b, *records, ok


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(4, 8, 24)).astype(np.float32)
    w = rng.normal(size=(20, 24)).astype(np.float32) / 5
    return xs, np.tanh(xs @ w.T), np.zeros((20, 24), np.float32), np.zeros(20, np.float32)


def test_a_training_in_loops_is_one_kernel_that_holds_its_weights_transposed(problem):
    graph = cr.trace(descent, *problem, np.int32(30))
    if not single_kernel.is_supported():
        pytest.skip("this version of XLA makes no kernel of a call")
    kind = single_kernel.program_kind(graph)
    assert kind == "one kernel"
    lowered, rows = single_kernel.lowering(graph, kind)
    assert list(rows) == ["loop"]
    [outer] = [node for node in lowered.nodes if node.op == "loop"]
    assert [x.shape for x in outer.attrs["body"].inputs[:2]] == [(24, 20), (20,)]
    assert [y.shape for y in lowered.outputs[:2]] == [(20, 24), (20,)]


@pytest.mark.parametrize("stop", [0, 1, 30])
def test_a_training_in_loops_gives_the_same_on_both_backends_and_transposed(problem, stop):
    graph = cr.trace(descent, *problem, np.int32(stop)).simplify()
    values = graph.arrays([*problem, np.int32(stop)])
    interpreted = graph.run(*values)
    turned = transposed_state(graph, lambda body: True).run(*values)
    compiled = graph.run(*values, backend="xla")
    assert len(interpreted) == 5
    for mine, *others in zip(interpreted, turned, compiled, strict=True):
        for other in others:
            np.testing.assert_allclose(other, mine, rtol=2e-4, atol=1e-6)
    reached = int(np.isfinite(interpreted[2]).any(axis=1).sum())
    assert stop == reached if stop < 30 else 1 < reached < 30


def test_beside_a_larger_loop_none_is_one_kernel(problem):
    wide = np.full((1200, 1200), 1e-4, np.float32)

    def f(wide, xs, *weights):
        last = cr.loop(lambda c, _: (c @ c, cr.sum(c), True), wide, length=2)
        return cr.loop(lambda _, x: (None, cr.linear(x, *weights), last.ok), None, xs).records, last.records

    xs, _, w, b = problem
    graph = cr.trace(f, wide, xs, w + 1, b)
    assert single_kernel.program_kind(graph) == "loop"
    mine, found = graph.run(wide, xs, w + 1, b), graph.run(wide, xs, w + 1, b, backend="xla")
    for right, got in zip(mine, found, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-4)
