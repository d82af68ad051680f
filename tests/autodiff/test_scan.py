"""Recurrences: `scan` gives what the loop written out gives, its reversal JAX's gradients, at any length one graph."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.errors import ArgumentError, ShapeError

jax.config.update("jax_enable_x64", True)
RNG = np.random.default_rng(0)
W, U, X = RNG.normal(size=(4, 4)) * 0.5, RNG.normal(size=(4, 3)), RNG.normal(size=(7, 3))
START = np.full(4, 0.1)
WEIGHTS = np.arange(7.0)


def recurrent(np_, scan, reverse=False):
    """A recurrence with a carry of two parts, results at each step, and weights from outside."""

    def cost(w, u, x, start):
        def step(carry, now):
            h, total = carry
            h = np_.tanh(w @ h + u @ now)
            return (h, total + (h * now.sum()).sum()), (h * h).sum()

        (h, total), results = scan(step, (start, start.sum() * 0.0), x, reverse=reverse)
        return h.sum() + total + (results * WEIGHTS).sum()

    return cost


ours, theirs = recurrent(cr, cr.scan), recurrent(jnp, jax.lax.scan)


def close(found, wanted, rtol=1e-12):
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=rtol, atol=1e-13)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("backend", ["run", "numpy", "xla"])
def test_value_and_gradients_are_those_of_jax(backend, reverse):
    args = (W, U, X, START)
    cost = recurrent(cr, cr.scan, reverse)
    value, wanted = jax.value_and_grad(recurrent(jnp, jax.lax.scan, reverse), (0, 1, 2, 3))(*args)
    if backend == "run":
        found, gradients = cr.value_and_grad(cost, (0, 1, 2, 3))(*map(cr.tensor, args))
        close(found.numpy(), value)
        gradients = [g.numpy() for g in gradients]
    else:
        graph = cr.trace(cost, *args)
        close(graph.verify().run(*args, backend=backend), value)
        gradients = graph.reverse().simplify().verify().run(*args, backend=backend)
    for g, w in zip(gradients, wanted, strict=True):
        close(g, w)


def test_the_second_derivative_is_that_of_jax():
    found = cr.hessian(ours, 0)(cr.tensor(W), U, X, START)
    close(found.numpy(), jax.hessian(theirs, 0)(W, U, X, START), rtol=1e-10)


def test_the_directional_derivative_is_that_of_jax():
    found = cr.jvp(lambda w, x: ours(w, U, x, START), [cr.tensor(W), cr.tensor(X)], [cr.tensor(U @ U.T), cr.tensor(X)])
    close(found[1].numpy(), jax.jvp(lambda w, x: theirs(w, U, x, START), (W, X), (U @ U.T, X))[1])


def test_per_example_gradients_are_those_of_a_loop():
    batch = np.stack([X, 2 * X, 0.3 * X])
    found = cr.per_example_grad(ours, (0, 2), batch=(2,))(cr.tensor(W), cr.tensor(U), batch, cr.tensor(START))
    for i, x in enumerate(batch):
        for ours_, theirs_ in zip(found, jax.grad(theirs, (0, 2))(W, U, x, START), strict=True):
            close(ours_.numpy()[i], theirs_)


def test_finite_differences_agree():
    cr.check_grad(ours, W, U, X, START)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 6), st.booleans(), st.integers(0, 10_000))
def test_a_scan_is_the_loop_written_out(length, reverse, seed):
    rng = np.random.default_rng(seed)
    w, x, start = rng.normal(size=(2, 2)), rng.normal(size=(length, 2)), rng.normal(size=2)

    def scanned(w, x, start):
        carry, results = cr.scan(lambda c, now: (cr.tanh(w @ c) * now, c.sum()), start, x, reverse=reverse)
        return carry.sum() + (results * 2.0).sum()

    def written_out(w, x, start):
        carry, total = start, cr.tensor(0.0)
        for t in reversed(range(length)) if reverse else range(length):
            total = total + carry.sum() * 2.0
            carry = cr.tanh(w @ carry) * x[t]
        return carry.sum() + total

    args = [cr.tensor(a) for a in (w, x, start)]
    one, other = cr.value_and_grad(scanned, (0, 1, 2))(*args), cr.value_and_grad(written_out, (0, 1, 2))(*args)
    close(one[0].numpy(), other[0].numpy())
    for a, b in zip(one[1], other[1], strict=True):
        close(a.numpy(), b.numpy(), rtol=1e-9)


@pytest.mark.parametrize("length", [10, 1000, 100_000])
def test_the_graph_and_its_reversal_do_not_grow_with_the_length(length):
    graph = cr.trace(ours_of_length(length), W, U, np.zeros((length, 3)), START)
    turned = graph.reverse().simplify()
    assert (len(graph), len(turned)) == SIZES


def ours_of_length(length):
    def cost(w, u, x, start):
        return cr.scan(lambda h, now: (cr.tanh(w @ h + u @ now), None), start, x)[0].sum()

    return cost


SIZES = tuple(len(g) for g in (lambda g: (g, g.reverse().simplify()))(cr.trace(ours_of_length(3), W, U, X[:3], START)))


def test_a_thousand_steps_have_finite_gradients_equal_on_both_backends():
    x = np.random.default_rng(1).normal(size=(1000, 3))
    gradient = cr.trace(ours_of_length(1000), W, U, x, START).reverse().simplify()
    interpreted, compiled = gradient.run(W, U, x, START), gradient.run(W, U, x, START, backend="xla")
    for a, b in zip(interpreted, compiled, strict=True):
        assert np.isfinite(a).all()
        close(a, b, rtol=1e-9)


def test_gradients_reach_parameters_that_the_body_uses_from_outside():
    w = cr.tensor(W, requires_grad=True)
    cr.scan(lambda h, x: (cr.tanh(w @ h), x.sum()), cr.tensor(START), X)[0].sum().backward()
    close(w.grad.numpy(), jax.grad(lambda w: jax.lax.scan(lambda h, x: (jnp.tanh(w @ h), 0), START, X)[0].sum())(W))


def test_what_does_not_change_from_step_to_step_is_computed_once():
    graph = cr.trace(lambda w: cr.scan(lambda c, _: (c + cr.exp(w).sum(), None), cr.tensor(0.0), length=5)[0], W)
    assert [n.op for n in graph.nodes].count("exp") == 1
    (loop,) = [n for n in graph.nodes if n.op == "scan"]
    assert "exp" not in [n.op for n in loop.attrs["body"].nodes]


def test_whole_numbers_may_be_carried_along():
    def cost(x, xp, scan):
        (total, count), seen = scan(lambda c, now: ((c[0] * now, c[1] + 1), c[1]), (x[0], np.int64(0)), x)
        return total * (count + seen.sum())

    x = np.array([0.5, 2.0, 3.0])
    found = cr.value_and_grad(lambda x: cost(x, cr, cr.scan))(cr.tensor(x))
    wanted = jax.value_and_grad(lambda x: cost(x, jnp, jax.lax.scan))(x)
    close(found[0].numpy(), wanted[0])
    close(found[1].numpy(), wanted[1])


def test_the_sums_of_weight_gradients_are_not_kept_for_every_step():
    gradient = cr.trace(ours_of_length(50), W, U, np.zeros((50, 3)), START).reverse().simplify()
    (loop,) = [n for n in gradient.nodes if n.op == "scan" and n.attrs["reverse"]]
    assert "[50, 4, 4]" not in str(gradient)
    assert loop.attrs["kept"] < loop.attrs["carries"]


def test_a_graph_with_a_scan_prints_the_body():
    text = str(cr.trace(ours_of_length(7), W, U, X, START))
    assert "scan" in text
    assert "    body(c0: float64[4], x0: float64[3]" in text
    assert "(float64[4], float64[7, 4])" in text


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: cr.scan(lambda c, x: (c, x), cr.tensor(0.0)), ArgumentError, "length"),
        (lambda: cr.scan(lambda c, x: (c, None), cr.tensor(0.0), length=-1), ArgumentError, "length"),
        (lambda: cr.scan(lambda c, x: c, cr.tensor(0.0), length=2), ArgumentError, "(carry, y)"),
        (lambda: cr.scan(lambda c, x: (c, None), cr.tensor(0.0), np.ones(3), length=2), ShapeError, "3"),
        (lambda: cr.scan(lambda c, x: (c, None), cr.tensor(0.0), np.array(1.0)), ShapeError, "axis"),
        (lambda: cr.scan(lambda c, x: (x, None), cr.tensor(0.0), np.ones((3, 2))), ArgumentError, "float64[2]"),
        (lambda: cr.scan(lambda c, x: ((c, c), None), cr.tensor(0.0), length=2), ArgumentError, "structure"),
        (
            lambda: cr.scan(lambda c, x: (c if c > 0 else -c, None), cr.tensor(0.0), length=2),
            cr.ChainruleError,
            "value",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_named(call, error, words):
    with pytest.raises(error, match=words.replace("(", r"\(").replace(")", r"\)").replace("[", r"\[")):
        call()
