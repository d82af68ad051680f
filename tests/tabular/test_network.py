"""Complete settings as networks side by side."""

from typing import Any

import numpy as np
import pytest

from chainrule import nn
from chainrule.data import Feature
from chainrule.errors import ResourceError
from chainrule.tabular.choices import ACTIVATIONS, OPTIMIZERS, SCHEDULES
from chainrule.tabular.network import fit_pieces, trainer
from chainrule.tabular.settings import Settings, Shape

LAYOUT = [Feature("a", "number", 0), Feature("b", "number", 1), Feature("c", "code", 2, levels=30)]
rng = np.random.default_rng(0)
X = np.column_stack([rng.normal(size=(40, 2)), rng.integers(0, 31, 40)]).astype(np.float32)


def made(task: str = "classify", members: int = 4, outputs: int = 3, **settings: Any) -> Any:
    """A trainer with these settings."""
    chosen = Settings(backend="numpy", **settings).complete(Shape(task, len(X), X.shape[1]))
    found = trainer(chosen, task, LAYOUT, outputs, members)
    fit_pieces(found, X)
    return found


@pytest.mark.parametrize("bins", [0, 4])
@pytest.mark.parametrize("layers", [[], [5], [5, 6]])
def test_there_is_an_output_for_each_row_member_and_class(bins: int, layers: list[int]) -> None:
    assert made(bins=bins, layers=layers).predict(X[:, None]).shape == (40, 4, 3)


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16", "tf32"])
def test_pieces_and_trust_are_fitted_in_every_precision(precision: str) -> None:
    found = made(bins=4, precision=precision)
    assert np.isfinite(found.predict(X[:, None])).all()
    assert np.asarray(found.model.layers[0].pieces.slope.detach()).any()


@pytest.mark.parametrize("settings", [{"layers": [10**9]}, {"bins": 10**9}, {"layers": [10**6, 10**6]}])
def test_a_network_too_large_for_memory_is_refused_before_it_is_made(settings: dict[str, Any]) -> None:
    with pytest.raises(ResourceError, match="the network does not fit into memory"):
        made(**settings)
    with pytest.raises(ResourceError, match=r"parameters and their gradients"):
        made(members=10**9)


def test_no_class_is_favoured_before_the_first_step() -> None:
    assert not made().predict(X[:, None]).any()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (made(seed=seed).model.state_dict() for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_members_start_differently() -> None:
    for name, weight in made(bins=4).model.named_parameters():
        values = np.asarray(weight.detach())
        if values.any():
            assert len({member.tobytes() for member in values}) == 4, name


def test_pieces_are_those_of_the_numbers_and_not_of_the_codes() -> None:
    feed = made(bins=4).model.layers[0]
    assert feed.pieces.features == 2
    expected = nn.PiecewiseLinear(2, 4)
    expected.fit(X[:, :2])
    assert np.array_equal(np.asarray(feed.pieces.low.detach()), np.asarray(expected.low.detach()))
    assert [vector.shape for vector in feed.vectors] == [(4, 31, 8)]


@pytest.mark.parametrize(
    "settings",
    [{"optimizer": name} for name in OPTIMIZERS] + [{"schedule": name} for name in SCHEDULES]
    + [{"activation": name} for name in ACTIVATIONS] + [{"l2": 0.1, "dropout": 0.2}],
    ids=str,
)  # fmt: skip
def test_every_choice_can_be_trained(settings: Any) -> None:
    found = made("regress", outputs=1, layers=[4], **settings)
    y = np.stack([np.repeat(X[:, :1], 4, axis=1), np.ones((40, 4))], axis=-1).astype(np.float32)
    history = found.fit(X[:, None], y, epochs=3, batch_size=40, progress=False)
    assert np.isfinite(history.loss).all()
