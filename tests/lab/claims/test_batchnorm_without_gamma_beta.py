import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.lab.claims import batchnorm_without_gamma_beta as lab


def output(affine, seed):
    cr.seed(seed)
    model = nn.Sequential(nn.Linear(1, 16), nn.BatchNorm(16, eps=1e-12, affine=affine), nn.ReLU(), nn.Linear(16, 1))
    draw = np.random.default_rng(seed)
    for parameter in model.parameters():
        parameter.value = draw.normal(0, 2, parameter.shape)
    return model(lab.X.astype("float64")).numpy()


def outside(y):
    """How far a function of the points is from what one bend at their mean can make."""
    z = lab.X.astype("float64") - lab.X.mean(dtype="float64")
    basis = np.hstack([np.ones_like(z), np.maximum(z, 0), np.maximum(-z, 0)])
    return np.abs(basis @ np.linalg.lstsq(basis, y, rcond=None)[0] - y).max()


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_weights_there_is_one_bend_and_it_is_at_the_mean(seed):
    assert outside(output(False, seed)) < 1e-8
    assert outside(output(True, seed)) > 0.1


def test_the_bound_is_what_the_best_bend_reaches():
    from scipy.optimize import minimize

    z = lab.X.astype("float64") / lab.X.std()

    def error(p):
        return np.mean((p[0] + p[1] * np.maximum(z, 0) + p[2] * np.maximum(-z, 0) - lab.Y) ** 2)

    assert minimize(error, np.zeros(3)).fun == pytest.approx(lab.bound(), abs=1e-6)
