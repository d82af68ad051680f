"""Who is trained on which rows, and that each is trained as if it were alone."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn
from chainrule.tabular.folds import Division

tables = st.tuples(st.integers(4, 60), st.integers(2, 4), st.integers(1, 3), st.integers(0, 9))


def drawn(table: tuple[int, int, int, int], task: str = "classify") -> tuple[Division, np.ndarray, np.ndarray]:
    """A division of random rows, their targets and their weights."""
    rows, folds, members, seed = table
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, rows)
    return Division.into_folds(y, task, folds, members, seed), y, rng.uniform(0.1, 2, rows)


@pytest.mark.parametrize("task", ["classify", "regress"])
@given(table=tables)
def test_every_row_is_held_out_by_the_members_of_exactly_one_fold(table: Any, task: str) -> None:
    division = drawn(table, task)[0]
    rows, folds, members, _ = table
    assert division.count == folds * members
    assert sorted(np.concatenate(division.groups).tolist()) == list(range(rows))
    assert np.array_equal(division.evaluated, np.arange(rows))
    held = division.held(rows)
    assert (held.sum(axis=1) == members).all()
    assert all((held[:, j] == held[:, j // members * members]).all() for j in range(division.count))
    sizes = [len(group) for group in division.groups]
    assert max(sizes) - min(sizes) <= 1


@given(table=tables)
def test_every_class_of_two_rows_or_more_is_seen_by_every_member(table: Any) -> None:
    division, y, _ = drawn(table)
    held = division.held(len(y))
    for label, count in zip(*np.unique(y, return_counts=True), strict=True):
        if count > 1:
            assert (~held[y == label]).any(axis=0).all()


@given(table=tables)
def test_a_row_counts_for_those_who_do_not_hold_it_out_in_proportion_to_its_weight(table: Any) -> None:
    division, y, weights = drawn(table)
    X = np.arange(len(y), dtype=np.float32)[:, None]
    features, targets = division.training(X, np.repeat(y[:, None], division.count, 1), weights, batch=len(y))
    held = division.held(len(y))
    counts = targets[..., 1]
    assert features.shape == (len(y), 1, 1)
    assert (counts[held] == 0).all()
    assert (targets[..., 0] == y[:, None]).all()
    for j in range(division.count):
        own = ~held[:, j]
        expected = weights[own] / weights[own].sum() * len(y)
        np.testing.assert_allclose(counts[own, j], expected, rtol=1e-5)


@given(table=tables)
def test_what_is_evaluated_is_every_row_once_by_those_who_hold_it_out(table: Any) -> None:
    division, y, weights = drawn(table)
    X = np.arange(1, len(y) + 1, dtype=np.float32)[:, None]
    found = division.evaluation(X, np.repeat(y[:, None], division.count, 1), weights)
    assert found is not None
    features, targets = found
    members = table[2]
    for j in range(division.count):
        counted = targets[:, j, 1] > 0
        rows = features[counted, j, 0].astype(int) - 1
        assert np.array_equal(rows, division.groups[j // members])
        assert np.array_equal(targets[counted, j, 0], y[rows])
        ratio = targets[counted, j, 1] / weights[rows]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    # So a mean over rows and members is the weighted mean over the rows held out.
    assert targets[..., 1].mean() == pytest.approx(1, rel=1e-5)


@given(table=tables, batch=st.integers(1, 70))
def test_the_last_batch_is_filled_with_rows_that_count_for_nobody(table: Any, batch: int) -> None:
    division, y, weights = drawn(table)
    X, every = np.arange(len(y), dtype=np.float32)[:, None], np.repeat(y[:, None], division.count, 1)
    features, targets = division.training(X, every, weights, batch)
    assert len(features) % min(batch, len(y)) == 0
    assert len(features) - len(y) < batch
    assert features[: len(y), 0, 0].tolist() == list(range(len(y)))
    assert not targets[len(y) :, :, 1].any()
    # So that the mean over a pass is that of the rows that count.
    np.testing.assert_allclose(targets[..., 1].mean(axis=0), 1, rtol=1e-5)


def test_rows_apart_are_trained_on_by_nobody_and_held_out_by_all() -> None:
    division = Division.apart(10, np.array([3, 7]), members=3)
    assert division.count == 3
    assert division.trained.tolist() == [0, 1, 2, 4, 5, 6, 8, 9]
    assert division.held(10).sum(axis=0).tolist() == [2, 2, 2]
    X, y = np.arange(10.0)[:, None], np.zeros((10, 3))
    features, targets = division.training(X, y, np.ones(10), batch=8)
    assert features[:, 0, 0].tolist() == division.trained.tolist()
    assert (targets[..., 1] == 1).all()
    found = division.evaluation(X, y, np.ones(10))
    assert found is not None
    # All hold out the same rows, so these are there once.
    assert found[0].shape == (2, 1, 1)
    assert found[1].shape == (2, 3, 2)


def test_where_nothing_is_held_out_nothing_is_evaluated() -> None:
    division = Division.apart(5, np.empty(0, int), members=2)
    assert division.evaluation(np.zeros((5, 1)), np.zeros((5, 2)), np.ones(5)) is None
    assert division.trained.tolist() == list(range(5))


def test_held_out_rows_that_all_weigh_nothing_are_not_evaluated() -> None:
    division = Division.apart(5, np.array([1, 2]), members=2)
    assert division.evaluation(np.zeros((5, 1)), np.zeros((5, 2)), np.array([1.0, 0, 0, 1, 1])) is None


# ---- training


def trained_side_by_side(X: np.ndarray, y: np.ndarray, division: Division, weights: np.ndarray, **fit: Any) -> Any:
    """A linear ensemble after a training, and the weights and bias it started from."""
    model = nn.Sequential(
        nn.EnsembleInput(division.count, X.shape[1]), nn.LinearEnsemble(division.count, X.shape[1], 6), nn.Tanh(),
        nn.LinearEnsemble(division.count, 6, 1), nn.EnsembleOutput(),
    )  # fmt: skip
    start = {name: np.array(value) for name, value in model.state_dict().items()}
    loss = nn.EnsembleLoss(nn.MSELoss("none"))
    trainer = cr.Trainer(model, loss, cr.optim.Adam(0.01), metrics=(), backend="numpy", seed=1)
    rows = division.training(X, np.repeat(y[:, None], division.count, 1), weights, fit["batch_size"])
    trainer.fit(*rows, progress=False, **fit)
    return model.state_dict(), start


def test_each_member_is_the_network_that_is_trained_alone_on_its_rows() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)).astype(np.float32), rng.normal(size=30).astype(np.float32)
    weights = rng.uniform(0.5, 2, 30)
    division = Division.into_folds(y, "regress", 3, 1, seed=0)
    together, start = trained_side_by_side(X, y, division, weights, epochs=8, batch_size=10)
    held = division.held(30)
    for j in range(3):
        model = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1))
        names = [("1", "0"), ("3", "2")]
        model.load_state_dict(
            {f"{b}.weight": start[f"{a}.weight"][j].T for a, b in names}
            | {f"{b}.bias": start[f"{a}.bias"][j, 0] for a, b in names}
        )
        trainer = cr.Trainer(model, nn.MSELoss(), cr.optim.Adam(0.01), metrics=(), backend="numpy", seed=1)
        trainer.fit(
            X, y[:, None], epochs=8, batch_size=10, sample_weight=np.where(held[:, j], 0, weights), progress=False
        )
        alone = model.state_dict()
        for a, b in names:
            np.testing.assert_allclose(together[f"{a}.weight"][j].T, alone[f"{b}.weight"], rtol=2e-3, atol=2e-5)


def test_a_weight_of_2_is_the_row_twice_where_all_rows_make_a_step() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 3)).astype(np.float32), rng.normal(size=12).astype(np.float32)
    twice = np.append(np.arange(12), 4)
    nothing = np.empty(0, int)
    cr.seed(0)
    once, _ = trained_side_by_side(
        X, y, Division.apart(12, nothing, 2), np.where(np.arange(12) == 4, 2.0, 1.0), epochs=20, batch_size=12
    )
    cr.seed(0)
    doubled, _ = trained_side_by_side(
        X[twice], y[twice], Division.apart(13, nothing, 2), np.ones(13), epochs=20, batch_size=13
    )
    for name, value in once.items():
        np.testing.assert_allclose(value, doubled[name], rtol=2e-3, atol=2e-5, err_msg=name)
