import numpy as np
import pytest

from chainrule.lab.claims import adam_bias_correction as lab


def failed():
    return [sentence for sentence, true in lab.measure().checks.items() if not true]


def test_the_gradients_have_the_mean_square_that_the_claim_says():
    g = np.random.default_rng(7).laplace(lab.MEAN, lab.SPREAD, 400_000)
    assert np.mean(g**2) == pytest.approx(lab.MU, rel=0.01)


def test_an_adam_without_correction_is_noticed(monkeypatch):
    monkeypatch.setattr("chainrule.optim.adam.one_less_power", lambda beta, step: step * 0.0 + 1.0)
    assert any("too large at first" in sentence for sentence in failed())


def test_moments_that_count_one_step_too_few_are_noticed(monkeypatch):
    followed = lab.followed

    def late(betas):
        run = followed(betas)
        return run | {"square": np.concatenate([[0.0], run["square"][:-1]])}

    monkeypatch.setattr(lab, "followed", late)
    assert any("μ(1 − β₂ᵗ) at every step" in sentence for sentence in failed())
