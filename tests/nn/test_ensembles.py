"""Members side by side are networks of their own: against NumPy, JAX, finite differences and plain networks."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, OutOfRangeError, ShapeError

MEMBERS, ROWS, WIDTH, CLASSES = 3, 7, 4, 3
rng = np.random.default_rng(0)
X = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
LABELS = rng.integers(0, CLASSES, ROWS)


def alone(ensemble: nn.Module, member: int) -> nn.Sequential:
    """One member as a plain network."""
    layers = []
    for layer in ensemble.layers:  # type: ignore[attr-defined]
        if isinstance(layer, nn.LinearEnsemble):
            linear = nn.Linear(layer.in_features, layer.out_features)
            weight, bias = np.asarray(layer.weight.detach()), np.asarray(layer.bias.detach())
            linear.load_state_dict({"weight": weight[member].T, "bias": bias[member, 0]})
            layers.append(linear)
        elif not isinstance(layer, nn.EnsembleInput | nn.EnsembleOutput):
            layers.append(layer)
    return nn.Sequential(*layers)


def network(outputs: int, members: int = MEMBERS) -> nn.Sequential:
    """Two layers for each member."""
    return nn.Sequential(
        nn.EnsembleInput(members, WIDTH), nn.LinearEnsemble(members, WIDTH, 5), nn.SiLU(),
        nn.LinearEnsemble(members, 5, outputs), nn.EnsembleOutput(),
    )  # fmt: skip


def targets(y: Any, weights: Any) -> np.ndarray:
    """A target and a weight for each row and member."""
    y = np.broadcast_to(np.reshape(y, (ROWS, -1)), weights.shape)
    return np.stack([y, weights], axis=-1).astype(np.float32)


# ---- layers


@pytest.mark.parametrize("shared", [True, False])
def test_each_member_is_a_linear_layer_of_its_own(shared: bool) -> None:
    layer = nn.LinearEnsemble(MEMBERS, WIDTH, 2)
    x = rng.normal(size=(1 if shared else MEMBERS, ROWS, WIDTH)).astype(np.float32)
    W, b = np.asarray(layer.weight.detach()), rng.normal(size=(MEMBERS, 1, 2)).astype(np.float32)
    layer.load_state_dict({"weight": W, "bias": b})
    expected = np.stack([x[0 if shared else j] @ W[j] + b[j] for j in range(MEMBERS)])
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_the_gradients_of_stacked_layers_are_those_of_jax() -> None:
    W, b = rng.normal(size=(MEMBERS, WIDTH, 2)), rng.normal(size=(MEMBERS, 1, 2))
    x, g = rng.normal(size=(1, ROWS, WIDTH)), rng.normal(size=(MEMBERS, ROWS, 2))

    def ours(x: Any, W: Any, b: Any) -> Any:
        return cr.sum((cr.matmul(x, W) + b) * g)

    with jax.enable_x64():
        theirs = jax.grad(lambda x, W, b: jnp.sum((jnp.matmul(x, W) + b) * g), (0, 1, 2))(x, W, b)
    for mine, their in zip(cr.grad(ours, (0, 1, 2))(x, W, b), theirs, strict=True):
        np.testing.assert_allclose(mine.numpy(), their, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "module", [nn.LinearEnsemble(2, WIDTH, 3), nn.EnsembleInput(2, WIDTH), nn.EnsembleOutput()], ids=repr
)
def test_the_rule_of_every_module_agrees_with_finite_differences(module: nn.Module) -> None:
    shape = (3, WIDTH) if isinstance(module, nn.EnsembleInput) else (2, 3, WIDTH)
    cr.check_grad(lambda module, x: module(x), module, rng.normal(size=shape))


def test_members_start_differently_and_by_the_named_rule() -> None:
    layer = nn.LinearEnsemble(50, 30, 20, init="xavier_uniform")
    weight = np.asarray(layer.weight.detach())
    assert len({member.tobytes() for member in weight}) == 50
    assert abs(weight).max() <= np.sqrt(6 / (30 + 20))
    assert weight.std() == pytest.approx(np.sqrt(2 / (30 + 20)), rel=0.02)
    assert not np.asarray(nn.LinearEnsemble(2, 3, 4, init="zeros").weight.detach()).any()


@pytest.mark.parametrize("bad", [0, -1, 2.5, "3", None])
def test_a_size_that_is_not_a_count_is_refused_by_name(bad: Any) -> None:
    for place, name in enumerate(("members", "in_features", "out_features")):
        sizes = [2, 2, 2]
        sizes[place] = bad
        with pytest.raises(ArgumentError, match=rf"{name}.*at least 1"):
            nn.LinearEnsemble(*sizes)
    with pytest.raises(ArgumentError, match=r"members.*at least 1"):
        nn.EnsembleInput(bad, 2)


# ---- the input


def table() -> np.ndarray:
    """Two numbers and a code of four levels."""
    numbers = rng.normal(size=(ROWS, 2))
    return np.column_stack([numbers, rng.integers(0, 5, ROWS)]).astype(np.float32)


def feed(fit: bool = True) -> nn.EnsembleInput:
    """An input for `table`."""
    found = nn.EnsembleInput(MEMBERS, 3, numbers=[0, 1], codes=[2], levels=[4], bins=2, embedding_dim=3)
    if fit:
        found.fit(table())
    return found


def test_the_input_is_the_columns_the_ramps_and_each_members_vectors() -> None:
    module, x = feed(), table()
    found = module(x).numpy()
    assert found.shape == (MEMBERS, ROWS, module.out_features) == (MEMBERS, ROWS, 2 + 2 * 2 + 3)
    assert module.pieces is not None
    own, trust = (np.asarray(found[0].detach()) for found in (module.own, module.trust))
    vectors = np.where(own[:, None], module.vectors[0].detach(), module.vectors[0].detach()[:, :1])
    vectors = vectors * np.where(own, trust, trust[0])[:, None]
    for j in range(MEMBERS):
        np.testing.assert_array_equal(found[j, :, :2], x[:, :2])
        np.testing.assert_allclose(found[j, :, 2:6], module.pieces(x[:, :2]).numpy(), rtol=1e-6)
        np.testing.assert_allclose(found[j, :, 6:], vectors[j, x[:, 2].astype(int)], rtol=1e-6)


@pytest.mark.parametrize(("fewest", "shrinkage"), [(1, 0.0), (3, 5.0)])
def test_a_level_of_few_rows_shares_a_vector_and_is_trusted_by_its_rows(fewest: int, shrinkage: float) -> None:
    counts = np.array([2, 1, 2, 3, 9])
    x = np.repeat(np.arange(5.0), counts)[:, None].astype(np.float32)
    module = nn.EnsembleInput(MEMBERS, 1, codes=[0], levels=[4], embedding_dim=3, fewest=fewest, shrinkage=shrinkage)
    module.fit(x)
    shared = [code for code in range(5) if code == 0 or counts[code] < fewest]
    rows = np.where(np.isin(np.arange(5), shared), counts[shared].sum(), counts)
    vectors = np.array(module.vectors[0].detach())
    vectors[:, shared] = vectors[:, :1]
    expected = vectors * (rows / (rows + shrinkage))[:, None]
    np.testing.assert_allclose(module(np.arange(5.0)[:, None]).numpy(), expected, rtol=1e-6)


def test_a_level_that_no_row_has_says_nothing() -> None:
    module = nn.EnsembleInput(MEMBERS, 1, codes=[0], levels=[4], embedding_dim=3)
    module.fit(np.array([[1.0], [2.0]], np.float32))
    assert not module(np.array([[0.0], [3.0], [4.0]])).numpy().any()
    assert module(np.array([[1.0], [2.0]])).numpy().all()


def test_members_may_have_rows_of_their_own() -> None:
    module = feed()
    x = np.stack([table() for _ in range(MEMBERS)], axis=1)
    found = module(x).numpy()
    for j in range(MEMBERS):
        np.testing.assert_array_equal(found[j], module(x[:, j]).numpy()[j])


def test_what_all_members_share_is_computed_once() -> None:
    assert nn.EnsembleInput(MEMBERS, 2)(np.ones((ROWS, 2))).shape == (1, ROWS, 2)


def test_a_code_beyond_the_levels_is_refused() -> None:
    module, x = feed(), table()
    x[3, 2] = 5
    with pytest.raises(OutOfRangeError):
        module(x)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_a_code_beyond_the_levels_stops_a_training(backend: Any) -> None:
    module, x = feed(), table()
    x[3, 2] = 5
    model = nn.Sequential(module, nn.LinearEnsemble(MEMBERS, 9, 1), nn.EnsembleOutput())
    loss = nn.EnsembleLoss(nn.MSELoss("none"))
    trainer = cr.Trainer(model, loss, cr.optim.SGD(0.1), metrics=(), backend=backend)
    with pytest.raises(OutOfRangeError, match="5"):
        trainer.fit(x[:, None], np.ones(ROWS, np.float32), epochs=1, batch_size=ROWS, progress=False)


def test_only_the_vectors_that_were_looked_up_have_a_gradient() -> None:
    module, x = feed(fit=False), table()
    x[:, 2] = 1
    (slopes,) = cr.grad(lambda module: cr.sum(module(x)), (0,))(module)
    slope = slopes["vectors.0"].numpy()
    assert (slope[:, 1] == ROWS).all()
    assert not np.delete(slope, 1, axis=1).any()


def test_codes_and_levels_of_different_number_are_refused() -> None:
    with pytest.raises(ArgumentError, match="levels"):
        nn.EnsembleInput(2, 3, codes=[1, 2], levels=[4])


def test_rows_come_first_at_the_end() -> None:
    x = rng.normal(size=(MEMBERS, ROWS, 2))
    np.testing.assert_array_equal(nn.EnsembleOutput()(x).numpy(), x.swapaxes(0, 1))


# ---- the loss


@pytest.mark.parametrize("labels", [True, False])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_each_members_gradient_is_that_of_a_network_trained_alone(labels: bool, seed: int) -> None:
    draw = np.random.default_rng(seed)
    weights = draw.uniform(0, 2, (ROWS, MEMBERS)) * draw.integers(0, 2, (ROWS, MEMBERS))
    model = network(CLASSES if labels else 1)
    kind: Any = nn.CrossEntropyLoss if labels else nn.MSELoss
    loss = nn.EnsembleLoss(kind("none"), labels)
    y: Any = LABELS if labels else draw.normal(size=(ROWS, MEMBERS))
    (slopes,) = cr.grad(lambda model: loss(model(X), targets(y, weights)), (0,))(model)
    for j in range(MEMBERS):
        own: Any = LABELS if labels else y[:, j : j + 1].astype(np.float32)
        weight = weights[:, j].astype(np.float32)

        def single(plain: Any, own: Any = own, weight: Any = weight) -> Any:
            rows = cr.reshape(kind("none")(plain(X), own), (ROWS,))
            return cr.sum(rows * weight) / float(ROWS)

        (expected,) = cr.grad(single, (0,))(alone(model, j))
        for ours, theirs in (("1", "0"), ("3", "2")):
            for name, shaped in (("weight", slopes[f"{ours}.weight"][j].numpy().T),
                                 ("bias", slopes[f"{ours}.bias"][j, 0].numpy())):  # fmt: skip
                np.testing.assert_allclose(
                    shaped, expected[f"{theirs}.{name}"].numpy(), rtol=1e-4, atol=1e-6, err_msg=name
                )


def test_the_loss_is_the_mean_over_members_and_rows() -> None:
    outputs, y = rng.normal(size=(ROWS, MEMBERS, 1)), rng.normal(size=(ROWS, MEMBERS))
    weights = rng.uniform(size=(ROWS, MEMBERS))
    found = nn.EnsembleLoss(nn.MSELoss("none"))(outputs, np.stack([y, weights], axis=-1)).item()
    assert found == pytest.approx((weights * (outputs[..., 0] - y) ** 2).mean(), rel=1e-12)


@pytest.mark.parametrize("shape", [(ROWS,), (ROWS, 1)])
def test_targets_that_all_members_share_count_1(shape: tuple[int, ...]) -> None:
    outputs, y = rng.normal(size=(ROWS, MEMBERS, 1)), rng.normal(size=ROWS)
    loss = nn.EnsembleLoss(nn.MSELoss("none"))
    every = np.stack([np.repeat(y[:, None], MEMBERS, 1), np.ones((ROWS, MEMBERS))], axis=-1)
    assert loss(outputs, y.reshape(shape)).item() == pytest.approx(loss(outputs, every).item(), rel=1e-12)


def test_a_row_of_weight_0_has_no_say() -> None:
    model, loss = network(CLASSES), nn.EnsembleLoss(nn.CrossEntropyLoss("none"), labels=True)
    weights = np.ones((ROWS, MEMBERS))
    weights[2] = 0
    other = X.copy()
    other[2] = 9

    def slope(x: Any, y: Any) -> Any:
        return cr.grad(lambda model: loss(model(x), targets(y, weights)), (0,))(model)[0]

    y = LABELS.copy()
    y[2] = (y[2] + 1) % CLASSES
    first, second = slope(X, LABELS), slope(other, y)
    assert all(np.array_equal(first[name].numpy(), second[name].numpy()) for name in first)


def test_targets_of_another_number_of_members_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"target.*member"):
        nn.EnsembleLoss(nn.MSELoss("none"))(np.ones((ROWS, MEMBERS, 1)), np.ones((ROWS, MEMBERS + 1, 2)))


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.CrossEntropyLoss("sum")], ids=repr)
def test_a_loss_of_one_number_is_refused(loss: Any) -> None:
    with pytest.raises(ArgumentError, match=r"one number a row.*\('none'\)"):
        nn.EnsembleLoss(loss)


def test_a_label_beyond_the_classes_is_refused() -> None:
    loss = nn.EnsembleLoss(nn.CrossEntropyLoss("none"), labels=True)
    with pytest.raises(OutOfRangeError):
        loss(np.zeros((ROWS, MEMBERS, 2)), targets(np.full(ROWS, 2), np.ones((ROWS, MEMBERS))))


# ---- as a whole


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_an_ensemble_is_trained_saved_and_loaded_to_the_same_bits(tmp_path: Any, backend: Any) -> None:
    model = nn.Sequential(
        feed(), nn.LinearEnsemble(MEMBERS, 9, 5), nn.SiLU(), nn.LinearEnsemble(MEMBERS, 5, CLASSES), nn.EnsembleOutput()
    )
    loss = nn.EnsembleLoss(nn.CrossEntropyLoss("none"), labels=True)
    trainer = cr.Trainer(model, loss, cr.optim.Adam(0.01), metrics=(), backend=backend)
    x = table()
    history = trainer.fit(
        x[:, None], targets(LABELS, np.ones((ROWS, MEMBERS))), epochs=30, batch_size=4, progress=False
    )
    assert history.loss[-1] < history.loss[0]
    trainer.save(tmp_path / "run")
    again = cr.Trainer.load(tmp_path / "run")
    assert trainer.predict(x[:, None]).shape == (ROWS, MEMBERS, CLASSES)
    assert np.array_equal(trainer.predict(x[:, None]), again.predict(x[:, None]))


def test_both_backends_train_the_same_ensemble() -> None:
    found = {}
    for backend in ("numpy", "xla"):
        cr.seed(0)
        loss = nn.EnsembleLoss(nn.MSELoss("none"))
        trainer = cr.Trainer(network(1), loss, cr.optim.SGD(0.05), metrics=(), backend=backend)  # type: ignore[arg-type]
        weights = np.arange(ROWS * MEMBERS).reshape(ROWS, MEMBERS) % 3
        trainer.fit(X[:, None], targets(X[:, :1], weights), epochs=5, batch_size=3, progress=False)
        found[backend] = trainer.predict(X[:, None])
    np.testing.assert_allclose(found["numpy"], found["xla"], rtol=1e-4, atol=1e-5)
