from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from chainrule.data.standardize import SMALLEST, Standardizer
from chainrule.errors import ArgumentError, ShapeError

rng = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_features_are_standardised_as_scikit_learn_does(dtype: Any) -> None:
    X = (rng.normal(size=(200, 5)) * [1, 10, 1e-3, 1e3, 1] + [0, 5, 1, -1e4, 3]).astype(dtype)
    standardizer = Standardizer.fit(X, "feature")
    expected = StandardScaler().fit(X.astype(np.float64))
    new = (rng.normal(size=(20, 5)) * 3).astype(dtype)
    tolerance = 1e-12 if dtype == np.float64 else 1e-4
    assert np.allclose(standardizer(new), expected.transform(new.astype(np.float64)), rtol=tolerance, atol=tolerance)
    assert standardizer(new).dtype == dtype


def test_training_rows_get_mean_zero_and_variance_one() -> None:
    X = rng.gamma(2.0, 5.0, size=(500, 3)) + 100
    Z = Standardizer.fit(X, "feature")(X)
    assert Z.mean(0) == pytest.approx(np.zeros(3), abs=1e-12)
    assert Z.var(0) == pytest.approx(np.ones(3))


def test_the_moments_are_exact_in_single_precision_far_from_zero() -> None:
    X = (1e4 + rng.normal(size=(100_000, 1))).astype(np.float32)
    standardizer = Standardizer.fit(X, "feature")
    assert standardizer.mean == pytest.approx(X.astype(np.float64).mean(), abs=1e-9)
    assert standardizer.scale == pytest.approx(X.astype(np.float64).std(), rel=1e-9)


def test_images_are_standardised_by_channel() -> None:
    X = rng.normal(size=(40, 3, 5, 4)) * np.array([1, 2, 3])[:, None, None] + np.array([5, 0, -5])[:, None, None]
    standardizer = Standardizer.fit(X, "channel")
    assert standardizer.mean.shape == (3, 1, 1)
    Z = standardizer(X)
    assert Z.mean(axis=(0, 2, 3)) == pytest.approx(np.zeros(3), abs=1e-12)
    assert Z.std(axis=(0, 2, 3)) == pytest.approx(np.ones(3))
    assert standardizer(X[:2, :, :2, :3]).shape == (2, 3, 2, 3)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_feature_becomes_zero_and_never_infinite(value: float, dtype: Any) -> None:
    X = np.full((37, 2), value, dtype)
    X[:, 1] = np.arange(37)
    Z = Standardizer.fit(X, "feature")(X)
    assert np.abs(Z[:, 0]).max() < 0.1
    assert np.isfinite(Z).all()
    assert Standardizer.fit(X, "feature").scale[0] >= SMALLEST


def test_an_unknown_way_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ArgumentError, match=r"normalize: unknown value: expected one of 'channel'.*got 'chanel'"):
        Standardizer.fit(np.ones((2, 2)), "chanel")


def test_a_table_has_no_channels() -> None:
    with pytest.raises(ShapeError, match=r'normalize="channel": images are wanted.*got \(2, 2\)'):
        Standardizer.fit(np.ones((2, 2)), "channel")


@pytest.mark.parametrize(
    ("fitted", "per", "given", "message"),
    [
        ((9, 4), "feature", (5, 6), r"expected \(rows, 4\), got \(5, 6\)"),
        ((9, 4), "feature", (5, 4, 4), r"expected \(rows, 4\), got \(5, 4, 4\)"),
        ((9, 3, 2, 2), "channel", (5, 1, 2, 2), r"expected \(rows, 3, …, …\), got \(5, 1, 2, 2\)"),
        ((9, 3, 2, 2), "channel", (5, 3), r"expected \(rows, 3, …, …\), got \(5, 3\)"),
    ],
)
def test_other_columns_are_refused(fitted: tuple[int, ...], per: str, given: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Standardizer.fit(rng.normal(size=fitted), per)(np.ones(given))
