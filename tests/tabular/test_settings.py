"""What the recipe says where nothing else is said."""

from dataclasses import asdict, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.tabular.choices import ACTIVATIONS, OPTIMIZERS, SCHEDULES
from chainrule.tabular.settings import RECIPE, Settings, Shape

shapes = st.builds(Shape, st.sampled_from(["classify", "regress"]), st.integers(1, 10**8), st.integers(1, 10**5))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@given(shape=shapes)
def test_the_recipe_is_sensible_for_a_table_of_any_shape(optimizer: str, shape: Shape) -> None:
    chosen: Any = Settings(optimizer=optimizer).complete(shape)
    assert all(width >= 1 for width in chosen.layers)
    assert chosen.batch_size >= 1
    assert chosen.epochs >= 1
    assert chosen.lr > 0
    assert 0 <= chosen.dropout < 1
    assert chosen.bins >= 0
    assert 1 <= chosen.folds <= max(1, shape.rows // 2)
    assert chosen.members >= 1
    assert chosen.activation in ACTIVATIONS
    assert chosen.schedule in SCHEDULES


def test_only_what_may_be_none_is_none_when_complete() -> None:
    chosen = Settings().complete(Shape("classify", 100, 5))
    assert {name for name, value in asdict(chosen).items() if value is None} == {
        "class_weight",
        "metric",
        "time_budget",
    }


def test_the_recipe_names_only_settings() -> None:
    assert set(RECIPE) <= {entry.name for entry in fields(Settings)}


@given(shape=shapes)
def test_complete_settings_stay_as_they_are_whatever_the_shape(shape: Shape) -> None:
    chosen = Settings(lr=0.5).complete(Shape("classify", 100, 5))
    assert chosen.complete(shape) == chosen


def test_what_is_given_stands() -> None:
    given = Settings(
        layers=[], activation="relu", optimizer="sgd", batch_size=7, epochs=2, lr=0.5, schedule="linear", dropout=0.5,
        bins=3, l1=0.1, l2=0.2, folds=2, members=3, patience=1, class_weight="balanced", metric=["auc"],
        time_budget=1.5, backend="numpy", precision="float64", device="cpu", seed=9,
    )  # fmt: skip
    assert given.complete(Shape("classify", 10**6, 5)) == given
    assert given.given() == asdict(given)


def test_what_follows_from_a_setting_follows_from_the_one_given() -> None:
    shape = Shape("classify", 1000, 5)
    chosen = Settings(optimizer="lbfgs").complete(shape)
    assert (chosen.batch_size, chosen.schedule, chosen.lr, chosen.dropout) == (1000, "constant", 1.0, 0.0)
    assert Settings(optimizer="sgd").complete(shape).lr == OPTIMIZERS["sgd"].rate
    usual: Any = Settings().complete(shape)
    large: Any = Settings(batch_size=1000).complete(shape)
    assert large.epochs > usual.epochs


def test_a_default_is_not_shared_by_two_requests() -> None:
    first, second = (Settings().complete(Shape("classify", 100, 5)) for _ in "ab")
    assert first.layers is not None
    first.layers.append(3)
    assert second.layers == Settings().complete(Shape("classify", 100, 5)).layers
