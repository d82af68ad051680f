"""Vectors for indices and ramps for numbers: against NumPy, JAX, PyTorch's numbers and finite differences."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, DataError, OutOfRangeError, ShapeError

rng = np.random.default_rng(0)
INDICES = np.array([[1, 4, 1], [0, 2, 4]])
numbers = st.floats(-1e6, 1e6, width=32)


def test_an_embedding_is_the_rows_of_its_weight() -> None:
    layer = nn.Embedding(5, 3)
    np.testing.assert_array_equal(layer(INDICES).numpy(), np.asarray(layer.weight.detach())[INDICES])
    assert layer(np.int32(2)).shape == (3,)
    assert layer(np.zeros((2, 0), int)).shape == (2, 0, 3)


def test_a_row_that_is_looked_up_twice_gets_both_gradients_as_jax_has_it() -> None:
    W, g = rng.normal(size=(5, 3)), rng.normal(size=(2, 3, 3))
    with jax.enable_x64():
        theirs = jax.grad(lambda W: jnp.sum(W[INDICES] * g))(jnp.asarray(W))
    layer = nn.Embedding(5, 3)
    layer.weight.dtype = np.dtype(np.float64)
    layer.weight.value = W
    (slopes,) = cr.grad(lambda layer: cr.sum(layer(INDICES) * g), (0,))(layer)
    np.testing.assert_allclose(slopes["weight"].numpy(), theirs, rtol=1e-13)
    assert not slopes["weight"].numpy()[3].any()


@pytest.mark.torch
def test_an_embedding_and_its_gradient_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    layer, theirs = nn.Embedding(5, 3), torch.nn.Embedding(5, 3)
    layer.load_state_dict({"weight": theirs.weight.detach().numpy()})
    found = theirs(torch.as_tensor(INDICES))
    (found**2).sum().backward()
    (slopes,) = cr.grad(lambda layer: cr.sum(layer(INDICES) ** 2), (0,))(layer)
    np.testing.assert_array_equal(layer(INDICES).numpy(), found.detach().numpy())
    np.testing.assert_allclose(slopes["weight"].numpy(), theirs.weight.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("index", [5, -6, 2**31 - 1])
def test_an_index_out_of_range_is_refused(index: int) -> None:
    with pytest.raises(OutOfRangeError):
        nn.Embedding(5, 3)(np.array([0, index]))


@pytest.mark.parametrize("indices", [np.array([0.5]), np.array(["a"])])
def test_what_is_no_index_is_refused(indices: Any) -> None:
    with pytest.raises(cr.errors.ChainruleError):
        nn.Embedding(5, 3)(indices)


def test_vectors_start_from_a_standard_normal_distribution() -> None:
    weight = np.asarray(nn.Embedding(300, 50).weight.detach())
    assert weight.dtype == np.float32
    assert abs(weight.mean()) < 0.03
    assert weight.std() == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("bad", [0, -1, 2.5, "3", None])
def test_a_size_that_is_not_a_count_is_refused_by_name(bad: Any) -> None:
    for kind, names in (
        (nn.Embedding, ("num_embeddings", "embedding_dim")),
        (nn.PiecewiseLinear, ("features", "bins")),
    ):
        with pytest.raises(ArgumentError, match=rf"{names[0]}.*at least 1"):
            kind(bad, 2)
        with pytest.raises(ArgumentError, match=rf"{names[1]}.*at least 1"):
            kind(2, bad)


# ---- ramps


def ramps(x: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The definition, in NumPy, for one column."""
    low, high = edges[:-1], edges[1:]
    with np.errstate(all="ignore"):
        found = np.clip((x[:, None] - low) / (high - low), 0, 1)
    return np.where(high > low, found, 0)


@given(arrays(np.float32, st.tuples(st.integers(2, 30), st.integers(1, 3)), elements=numbers), st.integers(1, 6))
def test_ramps_are_their_definition_over_the_quantiles(X: np.ndarray, bins: int) -> None:
    encode = nn.PiecewiseLinear(X.shape[1], bins)
    encode.fit(X)
    found = encode(X).numpy().reshape(*X.shape, bins)
    assert ((found >= 0) & (found <= 1)).all()
    for j, column in enumerate(X.T):
        edges = np.quantile(column.astype(np.float64), np.linspace(0, 1, bins + 1)).astype(np.float32)
        # Within a bin, two float32 roundings of x and its edge, over the width of the bin.
        width = np.diff(edges)
        slack = 1e-5 + 4 * np.spacing(np.abs(edges).max()) / np.where(width > 0, width, np.inf)
        assert (abs(found[:, j] - ramps(column, edges)) <= slack).all()


@given(arrays(np.float32, st.integers(2, 30), elements=numbers), st.integers(1, 6))
def test_larger_numbers_have_ramps_that_are_no_smaller(x: np.ndarray, bins: int) -> None:
    encode = nn.PiecewiseLinear(1, bins)
    encode.fit(x[:, None])
    assert (np.diff(encode(np.sort(x)[:, None]).numpy(), axis=0) >= 0).all()


def test_the_slope_of_a_ramp_agrees_with_finite_differences() -> None:
    encode = nn.PiecewiseLinear(2, 3)
    encode.fit(rng.normal(size=(50, 2)))
    cr.check_grad(encode, rng.normal(size=(4, 2)))


def test_a_column_that_is_always_the_same_has_ramps_of_0() -> None:
    encode = nn.PiecewiseLinear(1, 4)
    encode.fit(np.full((9, 1), 2.5))
    assert not encode([[2.5], [-1.0], [9.0]]).numpy().any()


@pytest.mark.parametrize("scale", [1e-44, 1e-39, 1e30])
def test_ramps_of_numbers_near_the_end_of_the_range_are_finite(scale: float) -> None:
    encode = nn.PiecewiseLinear(1, 4)
    x = (np.arange(9) * scale).astype(np.float32)[:, None]
    encode.fit(x)
    found = encode(x).numpy()
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_a_wrong_width_and_missing_numbers_are_refused() -> None:
    encode = nn.PiecewiseLinear(2, 3)
    with pytest.raises(ShapeError, match="features"):
        encode.fit(np.ones((4, 3)))
    with pytest.raises(ShapeError, match="features"):
        encode.fit(np.ones(4))
    for bad in (np.nan, np.inf):
        with pytest.raises(DataError, match="X"):
            encode.fit([[0.0, bad], [1.0, 2.0]])
    with pytest.raises(DataError, match="X"):
        encode.fit(np.ones((0, 2)))
