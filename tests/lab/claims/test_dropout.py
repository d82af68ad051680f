import numpy as np
import pytest

from chainrule.lab.claims import dropout as lab


def test_the_subnetworks_are_all_there_are_and_each_once():
    kept = lab.subnetworks()
    assert kept.shape == (2**lab.UNITS, lab.UNITS)
    assert set(np.unique(kept)) == {0, 1}
    assert len(np.unique(kept, axis=0)) == 2**lab.UNITS


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_the_probabilities_of_the_subnetworks_are_those_of_independent_units(p):
    kept = lab.subnetworks()
    probabilities = lab.probabilities(kept, p)
    assert probabilities.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(probabilities @ kept, 1 - p, atol=1e-12)
    np.testing.assert_allclose((probabilities[:, None] * kept).T @ kept, (1 - p) ** 2 + np.eye(lab.UNITS) * p * (1 - p))
