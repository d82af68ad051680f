"""grad, vjp, jvp, jacobian, hessian and per_example_grad against JAX's of the same names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chainrule as cr
import outside
import recipes
from chainrule.errors import ArgumentError, DerivativeError, GradientMismatch, ShapeError, TraceError

RNG = np.random.default_rng(3)
X, W, B = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 4)), RNG.normal(size=4)
PLACES = np.array([[0, 1], [1, 0]])


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def close(ours, theirs):
    a, b = jax.tree.leaves(jax.tree.map(np.asarray, ours)), jax.tree.leaves(theirs)
    assert len(a) == len(b)
    for mine, other in zip(a, b, strict=True):
        assert mine.shape == other.shape
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-12)


def plain(nested):
    """Tensors as arrays, in JAX's eyes."""
    return jax.tree.map(lambda t: t.numpy(), nested, is_leaf=lambda t: isinstance(t, cr.Tensor))


def network(lib):
    def f(p, x):
        h = lib.tanh(x @ p["w"] + p["b"][0])
        return lib.sum(h * h * lib.sin(h), -1)

    return f


PARAMETERS = {"w": W, "b": (B,)}
ours, theirs = network(cr), network(jnp)


def test_grad_keeps_the_structure_of_its_argument():
    found = cr.grad(lambda p, x: ours(p, x).sum())(PARAMETERS, X)
    close(plain(found), jax.grad(lambda p, x: theirs(p, x).sum())(PARAMETERS, X))
    assert set(found) == {"w", "b"}
    assert isinstance(found["b"], tuple)


@pytest.mark.parametrize("argnums", [0, 1, -1, (0, 1), (1, 0), [1]])
def test_value_and_grad_takes_the_arguments_asked_for(argnums):
    value, found = cr.value_and_grad(lambda p, x: ours(p, x).sum(), argnums)(PARAMETERS, X)
    wanted = tuple(argnums) if isinstance(argnums, list) else argnums
    expected = jax.value_and_grad(lambda p, x: theirs(p, x).sum(), wanted)(PARAMETERS, X)
    close((value.numpy(), plain(found)), expected)


def test_vjp_pulls_any_cotangent_back_and_may_be_used_again():
    y, pullback = cr.vjp(ours, PARAMETERS, X)
    expected, reference = jax.vjp(theirs, PARAMETERS, X)
    close(y.numpy(), expected)
    for _ in range(2):
        cotangent = RNG.normal(size=5)
        close(plain(pullback(cotangent)), reference(cotangent))
    with pytest.raises(ShapeError, match="cotangent"):
        pullback(np.ones(4))


def test_jvp_pushes_tangents_forward():
    tangents = ({"w": RNG.normal(size=W.shape), "b": (RNG.normal(size=4),)}, RNG.normal(size=X.shape))
    y, dy = cr.jvp(ours, (PARAMETERS, X), tangents)
    expected = jax.jvp(theirs, (PARAMETERS, X), tangents)
    close((y.numpy(), dy.numpy()), expected)
    with pytest.raises(ShapeError, match="tangent"):
        cr.jvp(cr.sin, [X], [np.ones(2)])


@pytest.mark.parametrize("argnums", [0, 1, (0, 1)])
def test_jacobian_has_a_row_for_every_output(argnums):
    found = cr.jacobian(ours, argnums)(PARAMETERS, X)
    close(plain(found), jax.jacobian(theirs, argnums)(PARAMETERS, X))


def test_the_jacobian_of_several_outputs_keeps_their_structure():
    f = lambda lib: lambda x: {"a": lib.sin(x), "b": (x[:2] * x[1], lib.sum(x))}  # noqa: E731
    x = RNG.normal(size=3)
    close(plain(cr.jacobian(f(cr))(x)), jax.jacobian(f(jnp))(x))


def test_hessian_is_symmetric_and_jaxs():
    f = lambda lib: lambda x: lib.sum(lib.exp(lib.sin(x)) * x[::-1]) * lib.max(x)  # noqa: E731
    x = RNG.normal(size=(2, 3))
    found = cr.hessian(f(cr))(x).numpy()
    np.testing.assert_allclose(found, jax.hessian(f(jnp))(x), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found, found.transpose(2, 3, 0, 1), rtol=1e-12)


def loss(lib):
    def f(p, x, label, scale):
        z = lib.tanh(x @ p["w"] + p["b"][0])
        best = lib.max(z) * lib.sum(lib.cumsum(z, 0)[::2])
        return -lib.log(lib.sum(lib.exp(z))) + z[label] * scale + best / (1.0 + lib.sum(z * z)) + z[lib.argmax(z)]

    return f


def test_per_example_gradients_are_those_of_a_loop():
    labels = np.array([0, 3, 1, 1, 2])
    found = cr.per_example_grad(loss(cr), 0, batch=(1, 2))(PARAMETERS, X, labels, 0.5)
    each = jax.vmap(jax.grad(loss(jnp)), (None, 0, 0, None))(PARAMETERS, X, labels, 0.5)
    close(plain(found), each)


def test_per_example_gradients_can_be_taken_by_the_batched_argument():
    found = cr.per_example_grad(lambda w, x: (cr.sin(x) @ w).sum() * x[0], 1, batch=(1,))(W, X)
    close(found.numpy(), jax.vmap(jax.grad(lambda w, x: (jnp.sin(x) @ w).sum() * x[0], 1), (None, 0))(W, X))


def test_per_example_gradients_of_fused_operations_are_those_of_a_loop():
    weight, labels, targets = RNG.normal(size=(4, 3)), np.array([0, 3, 1, 1, 2]), RNG.uniform(0.1, 0.9, (5, 4))

    def f(w, b, x, label, target):
        z = cr.linear(cr.silu(x), w, b)
        y = cr.cross_entropy(z, label, label_smoothing=0.1) + cr.log_softmax(z)[1]
        y = y + cr.binary_cross_entropy_with_logits(z, target).sum() + cr.squared_error(cr.softplus(z), target).mean()
        return y + cr.binary_cross_entropy(cr.softmax(z), target).max() + (cr.relu(z) * cr.sigmoid(z)).sum()

    batched = cr.per_example_grad(f, (0, 1), batch=(2, 3, 4))(weight, B, X, labels, targets)
    one_by_one = [cr.grad(f, (0, 1))(weight, B, X[i], cr.tensor(labels[i]), targets[i]) for i in range(5)]
    for k in range(2):
        np.testing.assert_allclose(batched[k].numpy(), [g[k].numpy() for g in one_by_one], rtol=1e-10, atol=1e-12)


def test_per_example_gradients_need_no_loop_and_run_compiled():
    f = cr.per_example_grad(lambda w, x: cr.tanh(x @ w).sum(), batch=(1,))
    few, many = (len(cr.trace(f, W, RNG.normal(size=(n, 3)))) for n in (2, 200))
    assert few == many
    compiled = cr.compile(f, backend="xla")
    np.testing.assert_allclose(compiled(W, X).numpy(), f(W, X).numpy(), rtol=1e-12)


def test_per_example_gradients_refuse_unequal_batches_and_choices_by_value():
    with pytest.raises(ArgumentError, match="equal leading axes"):
        cr.per_example_grad(lambda w, x, y: (w @ x).sum() * y, batch=(1, 2))(W.T, X, np.ones(4))
    with pytest.raises(TraceError, match="condition"):
        cr.per_example_grad(lambda w, x: (w * x[0]).sum() if x[0] > 0 else w.sum(), batch=(1,))(W, X)


@pytest.mark.parametrize("seed", range(50))
def test_batching_a_random_graph_is_a_loop_over_its_examples(seed):
    recipe = recipes.draw(3000 + seed, high=10)
    scale = 1.0 + 0.001 * np.arange(3.0)
    batches = [np.stack([x * s for s in scale]) for x in recipe.inputs]
    every = tuple(range(len(batches)))
    found = cr.per_example_grad(recipe.cost, every, batch=every)(*batches)
    for i in range(3):
        single = cr.grad(recipe.cost, every)(*(b[i] for b in batches))
        assert outside.error([g.numpy()[i] for g in found], [g.numpy() for g in single]) < 1e-9


@pytest.mark.parametrize("seed", range(25))
def test_the_jacobian_of_a_random_graph_is_jaxs(seed):
    recipe = recipes.draw(4000 + seed, high=8)
    found = cr.jacobian(lambda x: recipe.ours(x, *recipe.inputs[1:])[0])(recipe.inputs[0]).numpy()
    expected = jax.jacobian(lambda x: recipe.reference(jnp, x, *recipe.inputs[1:])[0])(recipe.inputs[0])
    assert found.shape == expected.shape
    assert outside.error([found], [np.asarray(expected)]) < 1e-9


@pytest.mark.parametrize("argnums", [0, 1, 2, (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("f", [cr.layer_norm, cr.batch_norm])
def test_normalisation_is_batched_over_any_of_its_operands(f, argnums):
    rng = np.random.default_rng(3)
    operands = [rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=3)]
    chosen = [argnums] if isinstance(argnums, int) else list(argnums)
    batches = [np.stack([x, 2 * x, x + 1]) if i in chosen else x for i, x in enumerate(operands)]
    weights = rng.normal(size=(4, 3))

    def cost(*xs):
        return (cr.sin(f(*xs)) * weights).sum()

    found = cr.per_example_grad(cost, (0, 1, 2), batch=chosen)(*batches)
    for i in range(3):
        single = cr.grad(cost, (0, 1, 2))(*(x[i] if k in chosen else x for k, x in enumerate(batches)))
        for ours, theirs in zip(found, single, strict=True):
            np.testing.assert_allclose(ours.numpy()[i], theirs.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x[PLACES, :, 2],
        lambda x: x[PLACES, :, PLACES],
        lambda x: x[1, :, PLACES],
        lambda x: x[PLACES, None, :, 1],
    ],
)
def test_index_arrays_with_a_slice_between_them_are_batched(f):
    x = np.random.default_rng(4).normal(size=(5, 2, 3, 4))
    found = cr.per_example_grad(lambda x: cr.square(f(x)).sum(), batch=(0,))(x).numpy()
    for i in range(5):
        np.testing.assert_allclose(found[i], cr.grad(lambda x: cr.square(f(x)).sum())(x[i]).numpy(), rtol=1e-12)


# ---- nesting


def test_derivatives_nest_as_deep_as_one_likes():
    f, g = cr.sin, jnp.sin
    for _ in range(4):
        f, g = cr.grad(lambda x, f=f: f(x) * x), jax.grad(lambda x, g=g: g(x) * x)
    assert f(cr.tensor(0.7)).item() == pytest.approx(float(g(0.7)), rel=1e-12)


def test_a_gradient_inside_a_gradient_sees_outer_variables():
    def nested(lib, grad):
        def outer(x):
            inner = grad(lambda y: lib.sin(x * y) * y)(x * 2.0)
            return inner * x + grad(lambda y: y * y * x)(1.5)

        return grad(outer)

    assert nested(cr, cr.grad)(cr.tensor(0.4)).item() == pytest.approx(float(nested(jnp, jax.grad)(0.4)), rel=1e-12)


def test_perturbations_are_not_confused():
    # d/dx [x · d/dy (x + y)] = d/dx x = 1, and not 2.
    assert cr.grad(lambda x: x * cr.grad(lambda y: x + y)(cr.tensor(1.0)))(cr.tensor(1.0)).item() == 1.0


def test_forward_over_reverse_and_reverse_over_forward_agree():
    f = lambda x: (cr.exp(x) * cr.sin(x)).sum() * x[0]  # noqa: E731
    x, v = RNG.normal(size=3), RNG.normal(size=3)
    forward = cr.jvp(cr.grad(f), [x], [v])[1].numpy()
    reverse = cr.grad(lambda x: cr.jvp(f, [x], [v])[1])(x).numpy()
    np.testing.assert_allclose(forward, reverse, rtol=1e-12)
    np.testing.assert_allclose(forward, cr.hessian(f)(x).numpy() @ v, rtol=1e-12)


def test_backward_goes_through_a_gradient_taken_within():
    w = cr.tensor([0.3, 0.5], requires_grad=True)
    slope = cr.grad(lambda x: (cr.sin(x * w)).sum())(cr.tensor([1.0, 2.0]))
    (slope * slope).sum().backward()
    expected = jax.grad(lambda w: (jax.grad(lambda x: jnp.sin(x * w).sum())(jnp.array([1.0, 2.0])) ** 2).sum())
    np.testing.assert_allclose(w.grad.numpy(), expected(jnp.array([0.3, 0.5])), rtol=1e-12)


def test_a_closed_over_tensor_is_constant_for_grad_and_keeps_its_own_gradient():
    w = cr.tensor(3.0, requires_grad=True)
    g = cr.grad(lambda x: w * x * x)(cr.tensor(2.0))
    assert g.item() == 12.0
    g.backward()
    assert w.grad.item() == 4.0


def test_values_and_gradients_without_an_outside_keep_no_history():
    value, g = cr.value_and_grad(lambda x: cr.sin(x))(cr.tensor(1.0))
    assert not value.requires_grad
    assert not g.requires_grad
    assert not g.inputs


def test_gradients_follow_control_flow_that_the_data_chooses():
    def f(lib, x):
        for _ in range(3):
            x = lib.sin(x) if x > 0.5 else x * x + 1.0
        return x

    for start in (0.1, 0.7, 2.0):
        expected = (f(np, start + 1e-6) - f(np, start - 1e-6)) / 2e-6
        assert cr.grad(lambda x: f(cr, x))(cr.tensor(start)).item() == pytest.approx(expected, rel=1e-6)


# ---- refusals


def test_grad_refuses_functions_of_several_numbers_and_arguments_that_are_not_there():
    with pytest.raises(ShapeError, match=r"cr\.jacobian"):
        cr.grad(lambda x: x * 2.0)(cr.tensor([1.0, 2.0]))
    with pytest.raises(ArgumentError, match="argnums"):
        cr.grad(cr.sin, 1)(1.0)
    with pytest.raises(DerivativeError, match="real numbers"):
        cr.grad(lambda x, n: x * n, 1)(1.0, np.array(2))


# ---- the check


def test_check_grad_passes_a_right_gradient_and_names_the_wrong_element(monkeypatch):
    from chainrule.autodiff.rules import RULES, Formula

    def f(p, n):
        return cr.sin(p["x"]) * n

    cr.check_grad(f, {"x": np.array([0.5, 1.0])}, np.array([2, 3]))
    monkeypatch.setitem(RULES, "sin", Formula("", (lambda g, y, x: g * cr.cos(x) * np.array([1.0, 1.001]),)))
    with pytest.raises(GradientMismatch, match=r"argument 0\.x, element \(1,\)"):
        cr.check_grad(f, {"x": np.array([0.5, 1.0])}, np.array([2, 3]))


def test_check_grad_notices_a_gradient_that_is_not_a_number(monkeypatch):
    from chainrule.autodiff.rules import RULES, Formula

    monkeypatch.setitem(RULES, "sin", Formula("", (lambda g, y, x: g * float("nan"),)))
    with pytest.raises(GradientMismatch):
        cr.check_grad(cr.sin, 1.0)


W_LEAF = [1.0, 2.0]
INSIDE_NO_GRAD = {
    "grad": lambda w: cr.grad(lambda w: (w * w).sum())(w).tolist() == [2.0, 4.0],
    "value_and_grad": lambda w: cr.value_and_grad(lambda w: (w * w).sum())(w)[1].tolist() == [2.0, 4.0],
    "vjp": lambda w: cr.vjp(lambda w: (w * w).sum(), w)[1](1.0)[0].tolist() == [2.0, 4.0],
    "jvp": lambda w: cr.jvp(lambda w: (w * w).sum(), [w], [[1.0, 0.0]])[1].item() == 2.0,
    "jacobian": lambda w: cr.jacobian(lambda w: w * w)(w).tolist() == [[2.0, 0.0], [0.0, 4.0]],
    "hessian": lambda w: cr.hessian(lambda w: (w**3).sum())(w).tolist() == [[6.0, 0.0], [0.0, 12.0]],
    "per_example_grad": lambda w: (
        cr.per_example_grad(lambda w, x: (w * x).sum(), batch=(1,))(w, np.eye(2)).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    ),
    "compiled": lambda w: cr.compile(cr.grad(lambda w: (w * w).sum()), backend="numpy")(w).tolist() == [2.0, 4.0],
}


@pytest.mark.parametrize("holds", INSIDE_NO_GRAD.values(), ids=INSIDE_NO_GRAD)
@pytest.mark.parametrize("leaf", [cr.tensor(W_LEAF), cr.tensor(W_LEAF, requires_grad=True), cr.nn.Parameter(W_LEAF)])
def test_a_derivative_that_is_asked_for_inside_no_grad_is_taken(holds, leaf):
    with cr.no_grad():
        assert holds(leaf)


def test_the_gradient_of_a_module_inside_no_grad_is_that_outside():
    layer = cr.nn.Linear(2, 1)
    f = cr.grad(lambda layer: layer(np.ones((1, 2), np.float32)).sum())
    with cr.no_grad():
        assert f(layer)["weight"].tolist() == [[1.0, 1.0]]


def test_a_cotangent_is_built_as_the_result_is():
    _, pullback = cr.vjp(lambda x: [x, x * 2], cr.tensor(1.0))
    assert pullback([1.0, 10.0])[0].item() == 21.0
    with pytest.raises(ArgumentError, match=r"pullback: not of the same structure.*list of 2"):
        pullback([1.0, 1.0, 1.0])


def test_a_result_that_counts_has_a_zero_tangent():
    _, (place, moved) = cr.jvp(lambda x: (cr.argmax(x), x), [cr.tensor([1.0, 2.0])], [[1.0, 3.0]])
    assert place.item() == 0.0
    assert moved.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cr.grad(cr.tensor(2.0), cr.tensor(1.0)), r"only a function can be differentiated.*y\.backward\(\)"),
        (lambda: cr.grad(lambda x: x, cr.tensor(1.0)), "argnums: not a position"),
        (lambda: cr.grad(lambda x: bool(x > 0))(cr.tensor(1.0)), "no derivative: expected a real number, got bool"),
        (lambda: cr.grad(lambda p: p["a"] * p["n"])({"a": cr.tensor(2.0), "n": 3}), "argument 0 n: only real numbers"),
        (lambda: cr.jvp(lambda x: x, [cr.tensor(1.0)], [1.0, 2.0]), "wrong number of tangents"),
    ],
)
def test_what_cannot_be_differentiated_is_refused_with_the_way_out(call, words):
    with pytest.raises((ArgumentError, DerivativeError), match=words):
        call()


def test_a_list_of_unlike_things_is_a_tree_of_them():
    found = cr.grad(lambda p: p[1] * 2.0 + p[0].sum())([[1.0, 3.0], 2.0, 1.5])
    assert [g.tolist() for g in found] == [[1.0, 1.0], 2.0, 0.0]


@pytest.mark.parametrize(
    "differentiate",
    [
        lambda f: cr.grad(f)(cr.tensor([1.0, 2.0])),
        lambda f: cr.value_and_grad(f)(cr.tensor([1.0, 2.0])),
        lambda f: cr.jvp(f, (cr.tensor([1.0, 2.0]),), (cr.tensor([1.0, 0.0]),)),
    ],
    ids=["grad", "value_and_grad", "jvp"],
)
def test_what_a_function_keeps_of_its_argument_asks_for_no_gradient_afterwards(differentiate):
    kept = []

    def f(x):
        kept.append(x)
        return (x * x).sum()

    differentiate(f)
    assert not kept[0].requires_grad
    later = (kept[0] * 3.0).sum()
    assert not later.requires_grad
    with pytest.raises(DerivativeError, match="nothing it depends on requires a gradient"):
        later.backward()
