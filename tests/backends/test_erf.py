"""NumPy's error function against SciPy's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.special import erf as theirs

from chainrule.backends.erf import erf


def units(found, known):
    """The difference in units in the last place."""
    return np.abs(found - known) / np.spacing(np.abs(known))


def test_it_is_scipys_within_three_units_of_float64_of_which_scipy_itself_may_be_off_by_two():
    random = np.random.default_rng(0)
    x = np.concatenate([np.linspace(-7, 7, 100_001), random.normal(size=50_000), random.normal(size=1000) * 1e-200])
    assert units(erf(x), theirs(x)).max() <= 3


def test_around_every_node_of_its_table_and_between_them_it_is_as_exact():
    nodes = np.arange(6 * 512 + 2) / 512
    x = np.concatenate([nodes, np.nextafter(nodes, 10), np.nextafter(nodes, -10)])
    assert units(erf(x), theirs(x)).max() <= 3


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_narrow_numbers_are_rounded_from_float64(dtype):
    x = np.linspace(-5, 5, 20_001).astype(dtype)
    assert erf(x).dtype == dtype
    assert units(erf(x).astype(float), theirs(x.astype(float)).astype(dtype).astype(float)).max() == 0


def test_beyond_its_table_it_is_one_and_what_is_no_number_stays_none():
    x = np.array([np.inf, -np.inf, 6.0, -1e300, np.nan, 0.0, -0.0, 5e-324])
    y = erf(x)
    np.testing.assert_array_equal(y, [1, -1, 1, -1, np.nan, 0, 0, 5e-324])
    assert np.signbit(y[[1, 3, 6]]).all()


@given(arrays(np.float64, array_shapes(min_dims=0, max_dims=3), elements=st.floats(allow_nan=False)))
def test_of_any_array_it_is_odd_bounded_and_of_the_same_shape(x):
    y = erf(x)
    assert y.shape == x.shape
    assert (np.abs(y) <= 1).all()
    np.testing.assert_array_equal(erf(-x), -y)


def test_an_array_longer_than_a_block_in_any_order_is_each_element_for_itself():
    x = np.random.default_rng(1).normal(size=(100, 300)).astype(np.float32)
    np.testing.assert_array_equal(erf(x.T), theirs(x).T)
    np.testing.assert_array_equal(erf(x[::3, ::7]), theirs(x[::3, ::7]))
