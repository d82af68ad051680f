"""`cr.compile`: the function's own meaning, its gradients, its arguments, and how many programs it holds."""

import functools

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.backends.compile import MOST
from chainrule.errors import ArgumentError, TraceError

BACKENDS = pytest.mark.parametrize("backend", ["numpy", "xla"])
X = np.array([[0.5, -1.0], [2.0, 0.3], [1.0, 1.0]])


@BACKENDS
def test_its_part_of_a_gradient_is_not_lost_beside_eager_terms(backend):
    w = cr.tensor([1.0, 2.0], requires_grad=True)
    twice = cr.compile(lambda x: x * 2, backend=backend)
    (twice(w * 3).sum() + w.sum()).backward()
    assert w.grad.tolist() == [7.0, 7.0]


@BACKENDS
def test_a_compiled_module_gives_its_parameters_the_gradients_of_the_module(backend):
    cr.seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm(3), nn.Tanh(), nn.Linear(3, 1))
    gradients = []
    for f in (model, cr.compile(model, backend=backend)):
        for p in model.parameters():
            p.grad = None
        (cr.mean(cr.square(f(X))) + 0.1 * cr.sum(cr.square(model[0].weight))).backward()
        gradients.append([p.grad.numpy() for p in model.parameters()])
    for eager, compiled in zip(*gradients, strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-4, atol=1e-6)


@BACKENDS
def test_derivatives_of_every_order_go_through_it(backend):
    f = cr.compile(lambda x: (cr.tanh(x) * x, cr.sin(x)), backend=backend)
    total = lambda x: sum(part.sum() for part in f(x))  # noqa: E731
    plain = lambda x: (cr.tanh(x) * x + cr.sin(x)).sum()  # noqa: E731
    x = np.array([0.3, -1.2, 2.0])
    np.testing.assert_allclose(cr.grad(total)(x).numpy(), cr.grad(plain)(x).numpy(), rtol=1e-12)
    np.testing.assert_allclose(cr.hessian(total)(x).numpy(), cr.hessian(plain)(x).numpy(), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(
        cr.jvp(total, [x], [np.ones(3)])[1].numpy(), cr.jvp(plain, [x], [np.ones(3)])[1].numpy(), rtol=1e-12
    )
    cr.check_grad(total, x)


def test_a_loop_of_steps_makes_the_program_of_its_gradient_once(monkeypatch):
    from chainrule.backends import interpreter

    made = []
    original = interpreter.compile_graph
    monkeypatch.setattr(interpreter, "compile_graph", lambda graph: (made.append(graph), original(graph))[1])
    w = cr.tensor(X, requires_grad=True)
    f = cr.compile(lambda w: cr.tanh(w).sum(), backend="numpy")
    for _ in range(5):
        f(w).backward()
        with cr.no_grad():
            w -= 0.1 * w.grad
    assert len(made) == 2


def test_a_leaf_in_no_grad_costs_no_history():
    w = cr.tensor([1.0], requires_grad=True)
    f = cr.compile(lambda x: x * w, backend="numpy")
    with cr.no_grad():
        assert not f(np.ones(1)).requires_grad
    assert f(np.ones(1)).requires_grad


@BACKENDS
def test_keywords_are_arguments(backend):
    f = cr.compile(lambda x, k=2, *, bias=0.0: x * k + bias, backend=backend)
    assert f(np.ones(2), k=3, bias=np.array([1.0, 2.0])).tolist() == [4.0, 5.0]
    assert f(np.ones(2), bias=1.0, k=3).tolist() == f(np.ones(2), k=3, bias=1.0).tolist()
    assert cr.grad(lambda x, k=2: x * k)(1.0, k=3).item() == 3.0


@pytest.mark.parametrize("transform", [cr.grad, cr.value_and_grad, cr.jacobian])
def test_a_keyword_that_the_function_lacks_is_its_own_error(transform):
    with pytest.raises(TypeError, match="unexpected keyword"):
        transform(lambda x: x)(1.0, k=3)


def test_programs_tell_true_one_and_one_point_zero_apart():
    f = cr.compile(lambda x, k: x * 2 if k is True else x * 3 if isinstance(k, int) else x * 4 * k, backend="numpy")
    assert [f(np.ones(1), k).item() for k in (True, 1, 1.0, True)] == [2.0, 3.0, 4.0, 2.0]
    assert f.structures == 3


@BACKENDS
def test_a_python_float_gives_way_to_float32_as_it_does_outside(backend):
    f = cr.compile(lambda x, s: x * (s * 2.0) + -s, backend=backend)
    x = np.ones(2, np.float32)
    for s in (0.1, 0.2):
        found = f(x, s)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.numpy(), x * np.float32(s * 2.0) - np.float32(s), rtol=1e-6)
    assert f.structures == 1
    assert f(x, np.array(0.1)).dtype == cr.multiply(x, np.array(0.1)).dtype == np.float64


def test_the_programs_that_were_not_used_for_longest_go():
    f = cr.compile(lambda x, step: x / (1 + step), backend="numpy")
    for step in range(MOST + 20):
        f(np.ones(1), step)
        f(np.ones(1), 0)
    assert f.structures == MOST
    calls = f.structures
    assert f(np.ones(1), 0).item() == 1.0
    assert f.structures == calls


@BACKENDS
def test_results_share_no_memory_with_what_went_in(backend):
    x, p = np.ones(3), nn.Parameter([1.0, 2.0])
    y = cr.compile(lambda x: x.reshape(3), backend=backend)(x)
    x[:] = 7.0
    assert y.tolist() == [1.0, 1.0, 1.0]
    found = cr.trace(lambda x: (x, p, p), cr.tensor(1.0)).run(1.0, backend=backend)
    found[1][:] = 5.0
    assert p.tolist() == [1.0, 2.0] == found[2].tolist()


@BACKENDS
def test_an_array_from_around_is_read_anew_by_every_run(backend):
    k, weights = np.ones(3), np.array(2.0)
    f = cr.compile(lambda x: x * k * weights, backend=backend)
    graph = cr.trace(lambda x: x * k, np.ones(3))
    assert f(np.ones(3)).tolist() == [2.0, 2.0, 2.0]
    k[:], weights[...] = 7.0, 3.0
    assert f(np.ones(3)).tolist() == [21.0, 21.0, 21.0]
    assert graph.run(np.ones(3), backend=backend).tolist() == [7.0, 7.0, 7.0]
    assert cr.grad(lambda x: f(x).sum())(np.ones(3)).tolist() == [21.0, 21.0, 21.0]


@BACKENDS
def test_a_mask_from_around_that_changes_makes_another_program(backend):
    mask = np.array([True, False, True])
    f = cr.compile(lambda x: x[mask], backend=backend)
    graph = cr.trace(lambda x: x[mask], X[:, 0])
    assert f(X[:, 0]).tolist() == X[[0, 2], 0].tolist()
    mask[1] = True
    assert f(X[:, 0]).tolist() == X[:, 0].tolist()
    with pytest.raises(cr.ChainruleError, match=r"mask.*changed"):
        graph.run(X[:, 0], backend=backend)


SCALE = 2.0


@BACKENDS
def test_plain_values_around_it_decide_which_program_runs(backend):
    global SCALE
    shift = 1.0
    layer = nn.LeakyReLU(0.1)

    def inner(x):
        return x * SCALE

    f = cr.compile(lambda x: layer(inner(x) + shift), backend=backend)
    x = np.array([-2.0])
    assert f(x).item() == pytest.approx(-0.3)
    shift = 2.0
    assert f(x).item() == pytest.approx(-0.2)
    try:
        SCALE = 3.0
        assert f(x).item() == pytest.approx(-0.4)
        layer.negative_slope = 0.5
        assert f(x).item() == pytest.approx(-2.0)
    finally:
        SCALE = 2.0
    shift, layer.negative_slope = 1.0, 0.1
    assert f(x).item() == pytest.approx(-0.3)
    assert f.structures == 4


def test_a_function_that_keeps_a_log_still_meets_its_own_program():
    seen, count = [], 0

    def f(x):
        nonlocal count
        count += 1
        seen.append(x.shape)
        return x * 2

    compiled = cr.compile(f, backend="numpy")
    for _ in range(5):
        compiled(np.ones(2))
    assert count <= 2
    assert compiled.structures == 1


@pytest.mark.parametrize(
    "noise",
    [
        lambda x: x + np.random.randn(2),
        functools.partial(lambda generator, x: x + generator.normal(size=2), np.random.default_rng(0)),
        # One whose state holds an array.
        functools.partial(
            lambda generator, x: x + generator.integers(9, size=2), np.random.Generator(np.random.MT19937(0))
        ),
        lambda x: x * __import__("random").random(),
    ],
    ids=["np.random", "a generator", "another generator", "random"],
)
def test_random_numbers_from_outside_are_refused_while_a_function_is_traced(noise):
    with pytest.raises(TraceError, match=r"random numbers.*cr\.random\.normal"):
        cr.compile(noise, backend="numpy")(np.ones(2))


def test_random_numbers_that_another_thread_draws_meanwhile_do_not_matter():
    def draws_elsewhere(x):
        import threading

        t = threading.Thread(target=np.random.randn)
        t.start()
        t.join(10)
        return x * 2

    assert cr.compile(draws_elsewhere, backend="numpy")(np.ones(2)).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("thing", [object(), slice(0, 1)])
def test_an_argument_that_is_no_data_is_refused_by_its_name(thing):
    with pytest.raises(ArgumentError, match=r"^config: .*closure"):
        cr.compile(lambda config, x: x, backend="numpy")(thing, np.ones(2))


def test_a_list_of_numbers_and_tensors_comes_back_as_a_list():
    found = cr.compile(lambda x: [1.0, x], backend="numpy")(np.ones(1))
    assert [y.tolist() for y in found] == [1.0, [1.0]]


def test_a_condition_on_a_parameter_is_refused_where_it_would_be_asked_once():
    w = cr.tensor(1.0, requires_grad=True)
    with pytest.raises(TraceError, match=r"may differ from run to run"):
        cr.compile(lambda x: x if w > 0 else -x, backend="numpy")(np.ones(1))


@BACKENDS
def test_an_extreme_of_what_is_no_number_has_one_gradient_everywhere(backend):
    x = np.array([np.nan, 2.5, 0.5, 1.0], np.float32)
    both = lambda x: (cr.max(x), cr.grad(lambda z: cr.max(z))(x))  # noqa: E731
    eager, compiled = both(cr.tensor(x)), cr.compile(both, backend=backend)(x)
    for a, b in zip(eager, compiled, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@BACKENDS
def test_the_gradient_of_a_power_keeps_its_dtype(backend):
    x = np.array([1.0, 2.0], np.float32)
    g = cr.grad(lambda z: cr.sum(2.0**z))
    assert g(x).dtype == cr.compile(g, backend=backend)(x).dtype == np.float32


def test_programs_go_with_their_graph():
    import gc
    import weakref

    graph = cr.trace(cr.tanh, np.ones(2))
    graph.run(np.ones(2), backend="xla")
    gone = weakref.ref(graph)
    del graph
    gc.collect()
    assert gone() is None


def test_tracing_draws_no_random_numbers():
    cr.seed(3)
    plain = nn.Linear(3, 3).weight.tolist()
    cr.seed(3)
    cr.trace(nn.Dropout(0.5), np.ones(3))
    assert nn.Linear(3, 3).weight.tolist() == plain


@pytest.mark.parametrize("shape", [(2,), (0, 2), (3, 0, 2), (4, 2)])
@pytest.mark.parametrize("width", [0, 3])
def test_a_layer_of_no_rows_or_no_outputs_has_a_gradient(shape, width):
    gx, gw = cr.grad(lambda x, w: cr.sum(cr.linear(x, w) ** 2), (0, 1))(np.ones(shape), np.ones((width, 2)))
    assert (gx.shape, gw.shape) == (shape, (width, 2))
