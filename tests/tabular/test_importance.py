"""Which columns matter, on rows that the networks have not seen."""

import dataclasses
from typing import Any

import numpy as np
import polars as pl
import pytest

from chainrule.data import Source
from chainrule.tabular.importance import importance
from chainrule.tabular.model import TabularModel
from chainrule.tabular.settings import Settings

SETTINGS = Settings(epochs=30, layers=[16], backend="numpy")


def learnt(target: str, settings: Settings = SETTINGS) -> Any:
    """A model of a target that follows from one number and one category, and not from two others; and its rows."""
    rng = np.random.default_rng(0)
    a, noise = rng.normal(size=300), rng.normal(size=300)
    colour, other = rng.choice(["red", "blue", "green"], 300), rng.choice(["p", "q", "r"], 300)
    y = a + 2 * (colour == "red")
    frame = pl.DataFrame({"noise": noise, "a": a, "other": other, "colour": colour})
    found = frame.with_columns(y=y if target == "number" else pl.Series(np.where(y > 0.7, "yes", "no")))
    model, rows = TabularModel.prepare(Source("t", found), "y", settings=settings)
    model.fit(rows, progress=False)
    return model, rows


@pytest.mark.parametrize("target", ["number", "class"])
def test_columns_that_the_target_follows_from_matter_and_the_others_do_not(target: str) -> None:
    found = importance(*learnt(target))
    assert set(list(found)[:2]) == {"a", "colour"}
    for name, score in found.items():
        assert score.error is not None
        assert (score.value > 5 * score.error) == (name in ("a", "colour")), name
        assert list(found.values()) == sorted(found.values(), key=lambda score: -score.value)


def test_the_same_seed_gives_the_same_figures() -> None:
    model, rows = learnt("class")
    assert importance(model, rows) == importance(model, rows)


@pytest.mark.parametrize("target", ["number", "class"])
def test_a_column_matters_by_the_weights_of_the_rows(target: str) -> None:
    model, rows = learnt(target)
    light = dataclasses.replace(rows, weight=np.where(np.arange(len(rows)) % 2, 1.0, 1e-9))
    some = importance(model, light)
    heavy = importance(model, dataclasses.replace(light, weight=3 * light.weight))
    assert some != importance(model, rows)
    for name, score in some.items():
        assert score.value == pytest.approx(heavy[name].value)
        assert score.error == pytest.approx(heavy[name].error)


def test_where_nothing_was_held_out_nothing_is_said() -> None:
    frame = pl.DataFrame({"a": [0.0, 1.0, 2.0], "y": ["x", "z", "x"]})
    model, rows = TabularModel.prepare(Source("t", frame), "y", settings=Settings(epochs=2, backend="numpy"))
    model.fit(rows, progress=False)
    assert importance(model, rows) == {}
