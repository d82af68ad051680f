"""BatchNorm and LayerNorm: what holds for all inputs, running statistics however a module runs, small batches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError, ShapeError
from small import QUIET, classifier, parameters, same, table

BACKENDS = ["numpy", "xla"]
rng = np.random.default_rng(0)
X, Y = table()
numbers = st.floats(-100, 100, allow_nan=False, width=64)
few = settings(max_examples=40, deadline=None)


def rows(features: int) -> Any:
    """Rows whose columns are not nearly constant."""
    arrays = hnp.arrays(np.float64, st.tuples(st.integers(2, 8), st.just(features)), elements=numbers)
    return arrays.filter(lambda x: (x.std(0) > 0.1).all() and (x.std(1) > 0.1).all())


def layer(kind: Any, features: int, **arguments: Any) -> Any:
    """A layer in float64 with γ and β drawn."""
    made = kind(features, **arguments)
    draw = np.random.default_rng(features)
    for tensor in (*made.parameters(), *made.buffers()):
        tensor.dtype = np.dtype(np.float64)
        tensor.value = np.asarray(tensor.value, np.float64)
    made.weight.value, made.bias.value = draw.normal(size=features), draw.normal(size=features)
    return made


# ---- what holds for all inputs


@few
@given(rows(3))
def test_a_batch_comes_out_with_mean_beta_and_deviation_gamma(x: np.ndarray) -> None:
    norm = layer(nn.BatchNorm, 3)
    y, shrunk = norm(x).numpy(), np.sqrt(x.var(0) / (x.var(0) + 1e-5))
    np.testing.assert_allclose(y.mean(0), norm.bias.numpy(), atol=1e-9)
    np.testing.assert_allclose(y.std(0), np.abs(norm.weight.numpy()) * shrunk, rtol=1e-9)


@few
@given(rows(4), st.floats(0.1, 10), numbers)
def test_layer_normalisation_does_not_see_a_rows_shift_and_scale(x: np.ndarray, scale: float, shift: float) -> None:
    norm = layer(nn.LayerNorm, 4, eps=1e-12)
    np.testing.assert_allclose(norm(x * scale + shift).numpy(), norm(x).numpy(), rtol=1e-6, atol=1e-6)


@few
@given(rows(4))
def test_layer_normalisation_treats_each_row_by_itself_and_alike_in_both_modes(x: np.ndarray) -> None:
    norm = layer(nn.LayerNorm, 4)
    together, alone = norm(x).numpy(), np.concatenate([norm(row[None]).numpy() for row in x])
    np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(norm.eval()(x).numpy(), together)


@few
@given(rows(3), rows(3), st.floats(-2, 3))
def test_batch_normalisation_is_affine_in_inference(x: np.ndarray, z: np.ndarray, a: float) -> None:
    norm = layer(nn.BatchNorm, 3)
    norm(rng.normal(size=(20, 3)) * 3 + 1)
    norm.eval()
    x, z = x[:2], z[:2]
    mixed = norm(a * x + (1 - a) * z).numpy()
    np.testing.assert_allclose(mixed, a * norm(x).numpy() + (1 - a) * norm(z).numpy(), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(norm(x).numpy()[:1], norm(x[:1]).numpy(), rtol=1e-12)


@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5), (2, 4, 3, 2)])
def test_batch_normalisation_is_its_definition(shape: tuple[int, ...]) -> None:
    norm, x = layer(nn.BatchNorm, 4), rng.normal(size=shape) * 3 + 5
    axes, along = (0, *range(2, len(shape))), (4, *(1,) * (len(shape) - 2))
    gamma, beta = (p.numpy().reshape(along) for p in norm.parameters())
    unit = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    np.testing.assert_allclose(norm(x).numpy(), gamma * unit + beta, rtol=1e-12)
    np.testing.assert_allclose(norm.running_mean.numpy(), 0.1 * x.mean(axes), rtol=1e-12)
    np.testing.assert_allclose(norm.running_var.numpy(), 0.9 + 0.1 * x.var(axes, ddof=1), rtol=1e-12)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("norm", [nn.BatchNorm, nn.LayerNorm])
def test_gradients_go_through_the_statistics(norm: Any, affine: bool) -> None:
    x, weights = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    for module in (norm(4, affine=affine), norm(4, affine=affine).eval()):
        cr.check_grad(lambda module, x: module(x) * weights, module, x)
    module = norm(4, affine=affine)
    slope = cr.grad(lambda x: cr.sum(cr.sin(module(x)) * weights))
    cr.check_grad(slope, x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_the_momentum_is_the_weight_of_the_newest_batch(momentum: float) -> None:
    norm, x = nn.BatchNorm(4, momentum=momentum), rng.normal(size=(9, 4)).astype(np.float32)
    norm(x)
    assert np.allclose(norm.running_mean.numpy(), momentum * x.mean(0), atol=1e-6)
    assert np.allclose(norm.running_var.numpy(), 1 + momentum * (x.var(0, ddof=1) - 1), rtol=1e-5)


# ---- running statistics, however a module runs


def network() -> nn.Sequential:
    cr.seed(0)
    shared = nn.BatchNorm(5)
    return nn.Sequential(nn.Linear(4, 5), shared, nn.Tanh(), shared, nn.Linear(5, 3), nn.BatchNorm(3))


def statistics(model: nn.Module) -> np.ndarray:
    return np.concatenate([b.numpy() for b in model.buffers()])


def by_hand(batches: list[np.ndarray]) -> np.ndarray:
    """The statistics after these batches, the layer that stands twice updated twice a batch."""
    model = network()
    weight, bias, out_weight, out_bias = (model[i].state_dict()[n] for i in (0, 4) for n in ("weight", "bias"))
    means, variances = [np.zeros(5), np.zeros(3)], [np.ones(5), np.ones(3)]

    def pass_through(i: int, x: np.ndarray) -> np.ndarray:
        means[i] = 0.9 * means[i] + 0.1 * x.mean(0)
        variances[i] = 0.9 * variances[i] + 0.1 * x.var(0, ddof=1)
        return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)

    for x in batches:
        inner = pass_through(0, np.tanh(pass_through(0, x @ weight.T + bias)))
        pass_through(1, inner @ out_weight.T + out_bias)
    return np.concatenate([means[0], variances[0], means[1], variances[1]])


BATCHES = [X[:10] * (i + 1) for i in range(3)]
WAYS = {
    "called": lambda model, x: model(x),
    "called without recording": lambda model, x: without_recording(model, x),
    "inside grad": lambda model, x: cr.grad(lambda model, x: cr.sum(cr.square(model(x))))(model, x),
    "inside vjp": lambda model, x: cr.vjp(model, x),
    "compiled, interpreted": cr.compile(lambda model, x: model(x), backend="numpy"),
    "a compiled gradient": cr.compile(
        lambda model, x: cr.grad(lambda model, x: cr.sum(cr.square(model(x))))(model, x), backend="numpy"
    ),
    "compiled": cr.compile(lambda model, x: model(x), backend="xla"),
}


def without_recording(model: nn.Module, x: np.ndarray) -> Any:
    with cr.no_grad():
        return model(x)


@pytest.mark.parametrize("way", WAYS)
def test_the_statistics_move_however_the_module_runs(way: str) -> None:
    model = network()
    for x in BATCHES:
        WAYS[way](model, x)
    np.testing.assert_allclose(statistics(model), by_hand(BATCHES), rtol=1e-5, atol=1e-6)
    before = statistics(model)
    for x in BATCHES:
        WAYS[way](model.eval(), x)
    np.testing.assert_array_equal(statistics(model), before)
    assert not any(b.inputs for b in model.buffers())


@pytest.mark.parametrize(("backend", "precision"), [("numpy", "float32"), ("numpy", "float64"), ("xla", "float32")])
def test_a_training_moves_the_statistics_batch_by_batch(backend: str, precision: str) -> None:
    trainer = cr.Trainer(network(), nn.CrossEntropyLoss(), optim.SGD(1e-30), backend=backend, precision=precision)
    trainer.fit(np.concatenate(BATCHES), np.tile(Y[:10], 3), epochs=1, batch_size=10, shuffle="never", **QUIET)
    np.testing.assert_allclose(statistics(trainer.model), by_hand(BATCHES), rtol=1e-5, atol=1e-6)
    assert {b.dtype.name for b in trainer.model.buffers()} == {precision}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_compiled_function_reads_the_statistics_as_they_are_now(backend: str) -> None:
    model = network()
    f = cr.compile(lambda x: model(x), backend=backend)
    for x in BATCHES:
        model.train()
        f(x)
        model.eval()
        np.testing.assert_allclose(f(X).numpy(), model(X).numpy(), rtol=1e-4, atol=1e-5)
    assert f.structures == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_graph_leaves_the_statistics_alone_and_reads_them_as_they_are_now(backend: str) -> None:
    model = network()
    training = cr.trace(model, X)
    before = statistics(model)
    training.run(X, backend=backend)
    np.testing.assert_array_equal(statistics(model), before)
    inference = cr.trace(model.eval(), X).simplify()
    slope = cr.trace(lambda x: cr.sum(cr.square(model(x))), X).reverse()
    model.train()(X)
    model.eval()
    np.testing.assert_allclose(inference.run(X, backend=backend), model(X).numpy(), rtol=1e-4, atol=1e-5)
    expected = cr.grad(lambda x: cr.sum(cr.square(model(x))))(X).numpy()
    np.testing.assert_allclose(slope.run(X, backend=backend)[0], expected, rtol=1e-3, atol=1e-4)


def test_statistics_that_are_equal_are_not_merged() -> None:
    model = nn.Sequential(nn.BatchNorm(1), nn.BatchNorm(1)).eval()
    graph = cr.trace(model, np.ones((2, 1), np.float32)).simplify()
    assert len(graph.captured) == 8
    model[1].running_mean.value = np.array([3.0], np.float32)
    np.testing.assert_allclose(graph.run(np.ones((2, 1)))[0], -2.0, rtol=1e-4)


def test_a_layer_inside_a_recurrence_normalises_and_remembers_nothing() -> None:
    norm = nn.BatchNorm(4)

    def f(x: Any) -> Any:
        return cr.scan(lambda c, _: (norm(c) + x, None), x, length=3)[0]

    expected = X
    for _ in range(3):
        expected = (expected - expected.mean(0)) / np.sqrt(expected.var(0) + 1e-5) + X
    np.testing.assert_allclose(cr.compile(f, backend="numpy")(X).numpy(), expected, rtol=1e-4, atol=1e-5)
    assert statistics(norm).tolist() == [0.0] * 4 + [1.0] * 4


# ---- in a training


def trainer(**arguments: Any) -> cr.Trainer:
    return classifier(nn.BatchNorm(8), **arguments)


def test_predictions_use_the_running_statistics() -> None:
    found = trainer()
    history = found.fit(X, Y, epochs=4, validation=(X, Y), **QUIET)
    together = found.predict(X)
    np.testing.assert_allclose(together[:1], found.predict(X[:1]), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(together, found.model.eval()(X).numpy(), rtol=1e-4, atol=1e-5)
    assert found.evaluate(X, Y)["loss"] == pytest.approx(history.val_loss[-1], rel=1e-5)


def test_both_backends_train_alike() -> None:
    first, second = (trainer(backend=backend, precision="float64") for backend in BACKENDS)
    for found in (first, second):
        found.fit(X, Y, epochs=3, batch_size=16, **QUIET)
    np.testing.assert_allclose(parameters(first), parameters(second), rtol=1e-9, atol=1e-12)


def test_a_resumed_training_has_the_statistics_of_the_uninterrupted_one(tmp_path: Path) -> None:
    whole, first, second = (trainer() for _ in range(3))
    whole.fit(X, Y, epochs=4, **QUIET)
    first.fit(X, Y, epochs=2, checkpoint=tmp_path / "c", **QUIET)
    second.fit(X, Y, epochs=4, checkpoint=tmp_path / "c", resume=True, **QUIET)
    assert same(second, whole)
    assert statistics(second.model).tobytes() == statistics(whole.model).tobytes()
    whole.save(tmp_path / "run")
    loaded = cr.Trainer.load(tmp_path / "run")
    assert same(loaded, whole)
    assert np.array_equal(loaded.predict(X), whole.predict(X))


def test_the_best_epoch_comes_back_with_its_statistics() -> None:
    noise = np.random.default_rng(3).integers(0, 3, 40)
    found = trainer(optimizer=optim.Adam(0.1))
    seen: list[np.ndarray] = []
    history = found.fit(
        X, Y, epochs=30, validation=(table(40, seed=9)[0], noise), early_stopping=3,
        callbacks=[lambda t: seen.append(statistics(t.model))], **QUIET,
    )  # fmt: skip
    assert history.best_epoch is not None
    assert history.best_epoch < history.epochs
    assert np.array_equal(statistics(found.model), seen[history.best_epoch - 1])


# ---- small batches, wrong inputs


def test_one_row_in_training_is_refused_naming_the_layer() -> None:
    model = network()
    with pytest.raises(
        ShapeError, match=r"layer 1, BatchNorm: a single row has no variance.*at least 2 rows.*batch of 1"
    ):
        model(X[:1])
    assert model.eval()(X[:1]).shape == (1, 3)
    assert nn.BatchNorm(3)(np.ones((1, 3, 2))).shape == (1, 3, 2)


def test_the_operation_gives_beta_for_one_row_and_never_nan() -> None:
    y, slope = cr.value_and_grad(lambda x: cr.sum(cr.batch_norm(x, [1.0, 2.0], [0.0, 0.5])))(np.array([[3.0, 1e30]]))
    assert y.item() == 0.5
    assert slope.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_a_last_batch_of_one_row_is_noticed_before_the_training_with_a_better_size(backend: str) -> None:
    found = trainer(backend=backend)
    before = parameters(found)
    with pytest.raises(
        ShapeError, match=r"layer 2, BatchNorm.*50 rows in batches of 7, the last one of 1; use batch_size=8"
    ):
        found.fit(X, Y, epochs=1, batch_size=7, **QUIET)
    assert np.array_equal(parameters(found), before)
    found.fit(X, Y, epochs=1, batch_size=8, **QUIET)
    with pytest.raises(ShapeError, match=r"layer 2, BatchNorm.*batch of 1"):
        found.fit(X, Y, epochs=1, batch_size=1, **QUIET)


@pytest.mark.parametrize("kind", [nn.BatchNorm, nn.LayerNorm])
def test_other_features_are_refused_naming_the_layer(kind: Any) -> None:
    model = nn.Sequential(nn.Linear(4, 6), kind(5))
    with pytest.raises(
        ShapeError, match=r"layer 1, .*Norm: .*expected \((N|…), 5\).*got \(50, 6\); make it features=6"
    ):
        model(X)
    with pytest.raises(ShapeError, match=r"Norm: .*batch of rows"):
        kind(5)(3.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": 0}, "features.*of at least 1"),
        ({"features": 2.5}, "features.*integer"),
        ({"features": 3, "eps": 0.0}, "eps.*above 0"),
        ({"features": 3, "momentum": 1.5}, r"momentum.*in \[0, 1\]"),
        ({"features": 3, "momentum": None}, r"momentum.*in \[0, 1\]"),
    ],
)
def test_arguments_outside_their_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        nn.BatchNorm(**arguments)
