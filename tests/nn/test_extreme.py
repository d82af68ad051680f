"""No module and no loss gives NaN for finite numbers of any size up to 1e30, forward or backward, on either backend.

Where a result is too large for float32 (a square of 1e30) infinity is right; whatever float64 shows to be within
float32's range must be finite there too.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.graph.random import keyed

SIZES = [0.0, 1e-30, 1.0, 88.0, 1e3, 1e10, 1e30]
QUICK = {"xla_cpu_use_fusion_emitters": False}
VALUES = [*SIZES, *(-v for v in SIZES[1:])]
WIDTH = 3


def rows() -> np.ndarray:
    """Every value as an equal row, beside its negative, beside 1; and mixtures of all."""
    rng = np.random.default_rng(0)
    equal = [[v] * WIDTH for v in VALUES]
    opposed = [[v, -v, 0.0] for v in SIZES[1:]] + [[v, 1.0, -1.0] for v in SIZES]
    return np.array([*equal, *opposed, *rng.choice(VALUES, (12, WIDTH))])


ROWS = rows()
COLUMNS = ROWS.T
LABELS = np.arange(len(ROWS)) % WIDTH
TARGETS = np.roll(ROWS, 1, axis=0)
SHARES = np.random.default_rng(1).choice([0.0, 1e-30, 0.3, 1.0], ROWS.shape)


def model(*layers: nn.Module) -> nn.Module:
    cr.seed(0)
    return nn.Sequential(*layers)


def affine(layer: Any) -> Any:
    """A normalisation layer with some γ and β that are not 1 and 0."""
    rng = np.random.default_rng(2)
    layer.weight.value = rng.normal(size=layer.features).astype(np.float32)
    layer.bias.value = rng.normal(size=layer.features).astype(np.float32)
    return layer


def learnt(layer: nn.BatchNorm, x: np.ndarray) -> nn.Module:
    """A batch normalisation with the running statistics of x, in inference mode."""
    layer(x)
    return layer.eval()


def fitted(layer: Any) -> Any:
    """A layer that is fitted to all rows."""
    layer.fit(ROWS)
    return layer


TALL, WIDE = len(ROWS), WIDTH
MODULES: list[tuple[nn.Module, np.ndarray]] = [
    *((module, ROWS) for module in (
        nn.Identity(), nn.Flatten(), nn.ReLU(), nn.LeakyReLU(0.2), nn.ELU(0.7), nn.SELU(), nn.GELU(), nn.GELU("tanh"),
        nn.SiLU(), nn.Sigmoid(), nn.Tanh(), nn.Softplus(), nn.Softplus(3.0), nn.Softmax(), nn.LogSoftmax(),
        nn.LogSigmoid(), nn.Softmax(0), nn.LogSoftmax(0), nn.Dropout(0.5), nn.Dropout(0.5).eval(), nn.Dropout(1),
        nn.Linear(WIDE, 4),
        nn.LayerNorm(WIDE), nn.LayerNorm(WIDE, affine=False), affine(nn.LayerNorm(WIDE, eps=1e-12)),
        nn.BatchNorm(WIDE), affine(nn.BatchNorm(WIDE)), learnt(affine(nn.BatchNorm(WIDE)), ROWS),
        model(nn.Duplicate(2), nn.Lambda(lambda xs: nn.Add()(*xs))),
        model(nn.Duplicate(2), nn.Lambda(lambda xs: nn.Max()(*xs))),
    )),
    *((module, COLUMNS) for module in (
        nn.BatchNorm(TALL), nn.BatchNorm(TALL, affine=False), affine(nn.BatchNorm(TALL, eps=1e-12)),
        learnt(affine(nn.BatchNorm(TALL)), COLUMNS), nn.LayerNorm(TALL),
    )),
    (affine(nn.BatchNorm(WIDE)), np.stack([ROWS, -ROWS, ROWS[::-1]], axis=2)),
    (nn.LinearEnsemble(2, WIDE, 4), ROWS[None]), (nn.EnsembleOutput(), ROWS[None]),
    (fitted(nn.PiecewiseLinear(WIDE, 2)), ROWS),
    (fitted(nn.EnsembleInput(2, WIDE, numbers=range(WIDE), bins=2)), ROWS),
]  # fmt: skip
LOSSES: list[tuple[nn.Loss, np.ndarray, np.ndarray]] = [
    (loss, x, t)
    for reduction in ("mean", "none")
    for loss, x, t in (
        (nn.MSELoss(reduction), ROWS, TARGETS),
        (nn.L1Loss(reduction), ROWS, TARGETS),
        (nn.HuberLoss(reduction, delta=0.5), ROWS, TARGETS),
        (nn.HuberLoss(reduction), ROWS, ROWS),
        (nn.CrossEntropyLoss(reduction), ROWS, LABELS),
        (nn.CrossEntropyLoss(reduction, label_smoothing=0.1), ROWS, LABELS),
        (nn.NLLLoss(reduction), ROWS, LABELS),
        (nn.BCEWithLogitsLoss(reduction), ROWS, SHARES),
        (nn.BCELoss(reduction), np.roll(SHARES, 1, axis=0), SHARES),
    )
]


def both(f: Callable[..., Any], *parts: Any) -> tuple[Any, Any]:
    """What f gives, and the gradient of a weighted sum of it by all of `parts`."""
    y = f(*parts)
    weights = np.cos(np.arange(y.size)).reshape(y.shape).astype(y.dtype)
    return y, cr.grad(lambda *parts: cr.sum(f(*parts) * weights), range(len(parts)))(*parts)


@functools.cache
def everything(dtype: Any, backend: str) -> list[Any]:
    """All modules and losses as one graph, so that it is compiled once."""

    def f(xs: list[Any]) -> list[Any]:
        found = []
        with keyed(cr.as_tensor(np.array([1, 2], np.uint32))):
            for (module, _), x in zip(MODULES, xs, strict=False):
                found.append(both(lambda module, x: module(x), module, x))
            for (loss, _, t), x in zip(LOSSES, xs[len(MODULES) :], strict=True):
                t = t if t.dtype.kind == "i" else t.astype(dtype)
                found.append(both(lambda x, loss=loss, t=t: loss(x, t), x))
        return found

    xs = [x.astype(dtype) for _, x, *_ in (*MODULES, *LOSSES)]
    with pytest.MonkeyPatch.context() as patch:
        if dtype is np.float64:
            # How loops are emitted changes the speed of a program and not its meaning; this way compiles in less time.
            patch.setattr(jax, "jit", functools.partial(jax.jit, compiler_options=QUICK))
        return cr.trace(f, xs).simplify().run(xs, backend=backend)


NAMES = [f"{type(part[0]).__name__} {i}" for i, part in enumerate((*MODULES, *LOSSES))]
DTYPES = {"float32": np.float32, "float64": np.float64}


def flat(result: Any) -> list[np.ndarray]:
    from chainrule import tree

    return [np.asarray(leaf) for leaf in tree.flatten(result)[0]]


@pytest.mark.parametrize("backend", ["numpy", "xla"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_modules_and_losses_are_finite_where_mathematics_is(dtype: str, backend: str) -> None:
    wrong = []
    for name, found, reference in zip(
        NAMES, everything(DTYPES[dtype], backend), everything(np.float64, "numpy"), strict=True
    ):
        for part, right in zip(flat(found), flat(reference), strict=True):
            assert np.isfinite(right).all(), name
            fits = np.abs(right) < 0.99 * np.finfo(part.dtype).max
            if np.isnan(part).any() or not np.isfinite(part[fits]).all():
                wrong.append((name, part, right))
    assert not wrong


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_float32_agrees_with_float64_wherever_the_inputs_are_the_same_numbers(backend: str) -> None:
    # 1e30, 1e10 and 88 are rounded in float32, so only the sizes are compared.
    for name, (value, _), (right, _) in zip(
        NAMES, everything(np.float32, backend), everything(np.float64, "numpy"), strict=True
    ):
        if not name.startswith("Dropout"):
            fits = np.abs(right) < 1e37
            np.testing.assert_allclose(value[fits], right[fits], rtol=1e-3, atol=2e-3, err_msg=name)


def test_every_module_and_loss_is_among_them() -> None:
    bases = {nn.Module, nn.Loss, nn.Sequential, nn.Checkpoint, nn.Lambda, nn.Add, nn.Max, nn.Duplicate, nn.NamedLosses}
    # Indices have no size; the loss of an ensemble is one of the others, times weights.
    bases |= {nn.Embedding, nn.EnsembleLoss}
    kinds = {kind for kind in vars(nn).values() if inspect.isclass(kind) and issubclass(kind, nn.Module)}
    assert kinds - bases == {type(part[0]) for part in (*MODULES, *LOSSES)} - bases


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_numbers_are_normalised_to_beta_exactly(dtype: Any) -> None:
    weight, bias = np.arange(5.0, dtype=dtype) + 1, np.arange(5.0, dtype=dtype) - 2
    graph = cr.trace(lambda x: (cr.batch_norm(x, weight, bias), cr.layer_norm(x, weight, bias)), np.ones((7, 5), dtype))
    for size in (*VALUES, 0.1, 1e10 / 3, 1e30 / 3):
        for backend in ("numpy", "xla"):
            for y in graph.run(np.full((7, 5), size, dtype), backend=backend):
                np.testing.assert_array_equal(y, np.broadcast_to(bias, (7, 5)))


def test_running_statistics_stay_finite_and_forget_a_batch_that_was_too_large() -> None:
    layer = nn.BatchNorm(WIDE)
    layer(ROWS.astype(np.float32))
    assert np.isfinite(layer.running_mean.numpy()).all()
    assert np.isfinite(layer.running_var.numpy()).all()
    ordinary = np.random.default_rng(0).normal(size=(50, WIDE)).astype(np.float32)
    for _ in range(1500):
        layer(ordinary)
    np.testing.assert_allclose(layer.running_var.numpy(), ordinary.var(0, ddof=1), rtol=1e-4)
