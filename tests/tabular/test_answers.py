"""From numbers to what networks predict, and back to what a user reads."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax

from chainrule.tabular.answers import Answers, Scale, scales

rng = np.random.default_rng(0)
positive = arrays(np.float64, st.integers(2, 40), elements=st.floats(1e-3, 1e6))
finite = arrays(np.float64, st.integers(2, 40), elements=st.floats(-1e6, 1e6))


@given(finite)
def test_a_number_goes_there_and_back(y: np.ndarray) -> None:
    scale = Scale.fit(y, log=False)
    np.testing.assert_allclose(scale.from_network(scale.to_network(y)), y, rtol=1e-9, atol=1e-9 * abs(y).max())


@given(positive)
def test_a_positive_number_goes_there_and_back_in_logarithms(y: np.ndarray) -> None:
    scale = Scale.fit(y, log=True)
    np.testing.assert_allclose(scale.from_network(scale.to_network(y)), y, rtol=1e-9)


@pytest.mark.parametrize("log", [True, False])
def test_what_networks_learn_has_mean_0_and_variance_1(log: bool) -> None:
    y = np.exp(rng.normal(3, 2, 500))
    found = Scale.fit(y, log).to_network(y)
    assert found.mean() == pytest.approx(0, abs=1e-9)
    assert found.std() == pytest.approx(1)


def test_logarithms_are_tried_where_all_are_positive_and_skewed_less_in_them() -> None:
    skewed = np.exp(rng.normal(size=300))
    assert [scale.log for scale in scales(skewed)] == [False, True]
    assert [scale.log for scale in scales(-skewed)] == [False]
    assert [scale.log for scale in scales(np.append(skewed, 0.0))] == [False]
    assert [scale.log for scale in scales(rng.uniform(10, 20, 300))] == [False]
    assert [scale.log for scale in scales(10 - np.minimum(skewed, 9))] == [False]


def test_numbers_at_the_end_of_the_range_are_scaled_to_finite_ones() -> None:
    for y in (np.array([1e300, -1e300, 2e300]), np.array([1e-300, 3e-300]), np.array([0.1, 0.1, 0.1])):
        for scale in scales(y):
            assert np.isfinite(scale.to_network(y)).all()
            np.testing.assert_allclose(scale.from_network(scale.to_network(y)), y, rtol=1e-6)


def test_members_are_laid_out_by_group_then_scale() -> None:
    y = np.exp(rng.normal(size=50))
    answers = Answers.of_numbers(y, members=2)
    assert answers.group == 4
    found = answers.targets(y, groups=3)
    assert found.shape == (50, 12)
    assert found.dtype == np.float32
    for j in range(12):
        np.testing.assert_allclose(found[:, j], answers.scales[j % 4 // 2].to_network(y), rtol=1e-6)


def test_a_perfect_network_answers_with_the_truth() -> None:
    y = np.exp(rng.normal(size=50))
    answers = Answers.of_numbers(y, members=2)
    outputs = answers.targets(y, groups=3)[..., None]
    np.testing.assert_allclose(answers.of_members(outputs), np.repeat(y[:, None], 12, 1), rtol=1e-5)


@given(arrays(np.float32, (5, 4, 1), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_a_number_is_answered_within_the_range_of_training(outputs: np.ndarray) -> None:
    y = np.exp(np.random.default_rng(0).normal(size=50))
    answers = Answers.of_numbers(y, members=1)
    found = answers.mean(answers.of_members(outputs))
    assert ((found >= y.min()) & (found <= y.max())).all()


@given(arrays(np.float64, (4, 3, 5), elements=st.floats(-300, 300)))
def test_probabilities_are_the_softmax_of_logits(outputs: np.ndarray) -> None:
    answers = Answers("classify")
    np.testing.assert_allclose(answers.of_members(outputs), softmax(outputs, axis=-1), atol=1e-12)
    np.testing.assert_allclose(answers.mean(answers.of_members(outputs)).sum(axis=-1), 1, rtol=1e-12)


def test_logits_near_the_end_of_the_range_are_no_trouble() -> None:
    found = Answers("classify").of_members(np.array([[[3e38, -3e38]]], np.float32))
    assert found.tolist() == [[[1.0, 0.0]]]


def test_class_numbers_are_given_to_every_member() -> None:
    y = np.array([0, 2, 1])
    assert Answers("classify", 2).targets(y, 3).tolist() == np.repeat(y[:, None], 6, 1).tolist()


def test_only_those_who_are_asked_count() -> None:
    y = np.exp(rng.normal(size=50))
    answers = replace(Answers.of_numbers(y, members=2), used=[False, True])
    assert answers.asked(8).tolist() == [False, False, True, True] * 2
    found = np.arange(16.0).reshape(2, 8)
    np.testing.assert_allclose(answers.mean(found), found[:, [2, 3, 6, 7]].mean(axis=1))
    counted = np.zeros((2, 8), bool)
    counted[:, 4:] = True
    np.testing.assert_allclose(answers.mean(found, counted), found[:, 6:].mean(axis=1))


Y = np.exp(rng.normal(size=30))
EVERY = [Answers("classify", 3), Answers.of_numbers(Y, 2),
         replace(Answers.of_numbers(-Y, 1), used=[True])]  # fmt: skip


@pytest.mark.parametrize("answers", EVERY, ids=lambda answers: answers.task)
def test_answers_are_plain_data_and_back_to_the_same_bits(answers: Answers) -> None:
    saved = json.loads(json.dumps(answers.to_dict(), allow_nan=False))
    back = Answers.from_dict(saved)
    outputs: Any = rng.normal(size=(9, answers.group * 2, 3 if answers.task == "classify" else 1)).astype(np.float32)
    assert np.array_equal(answers.mean(answers.of_members(outputs)), back.mean(back.of_members(outputs)))
    assert json.loads(json.dumps(back.to_dict())) == saved
