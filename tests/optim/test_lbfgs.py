"""L-BFGS: its steps are those of PyTorch (see `test_optimizers`), its search never lets the objective rise."""

import itertools
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError
from small import CLASSES, COLUMNS, QUIET, classifier, numbers, parameters, regressor, same, table
from surfaces import FUNCTIONS, Function

X, Y = table()


def updates(function: Function, start: Any, optimizer: optim.LBFGS, most: int = 100) -> Any:
    """The points and the states after each update."""

    def one(w: Any, state: Any) -> Any:
        return optimizer.update(cr.grad(function)(w), state, w, objective=function)

    state = optimizer.init(start)
    graph = cr.trace(one, start, state).simplify()
    w = start
    for _ in range(most):
        w, state = graph.run(w, state)
        yield np.asarray(w), state


def bent(w: Any) -> Any:
    """A function with a region of negative curvature, w⁴/4 − w² + w/3, whose minimum on the left is the lower one."""
    return cr.sum(w**4.0 * 0.25 - w * w + w / 3.0)


@pytest.mark.parametrize(("name", "most"), [("quadratic", 8), ("Rosenbrock", 45), ("Beale", 20)])
def test_the_minimum_is_reached_in_few_updates_and_the_function_never_rises(name: str, most: int) -> None:
    function, start, minimum = FUNCTIONS[name]
    path = [w for w, _ in updates(function, np.array(start), optim.LBFGS(), most)]
    assert np.abs(path[-1] - minimum).max() < 1e-8
    values = [float(function(w)) for w in (np.array(start), *path)]
    assert all(after <= before * (1 + 1e-15) for before, after in itertools.pairwise(values))


def test_a_quadratic_of_as_many_unknowns_as_pairs_is_minimised_as_quickly_as_by_its_exact_curvature() -> None:
    rng = np.random.default_rng(0)
    A = rng.normal(size=(6, 6))
    A = A @ A.T + np.eye(6)
    b = rng.normal(size=6)
    path = updates(lambda w: 0.5 * cr.sum(w * cr.matmul(A, w)) - cr.sum(b * w), np.zeros(6), optim.LBFGS(), 25)
    assert np.abs([*path][-1][0] - np.linalg.solve(A, b)).max() < 1e-8


def test_a_first_trial_that_overflows_is_only_shortened() -> None:
    path = [w for w, _ in updates(lambda w: cr.sum(cr.exp(w * w)), np.array([20.0]), optim.LBFGS(1e4), 60)]
    assert np.isfinite(path).all()
    assert abs(path[-1][0]) < 1e-6


def test_where_no_trial_will_do_the_weights_stay_and_the_next_update_tries_shorter_steps() -> None:
    steep = updates(lambda w: cr.sum(w * w), np.array([1.0]), optim.LBFGS(1e7), 3)
    reached = [(float(w[0]), float(state["reach"]), int(state["pairs"])) for w, state in steep]
    assert reached[0] == (1.0, pytest.approx(0.01), 0)
    assert reached[-1][0] < 1.0
    assert reached[-1][1] == 1.0


def test_after_a_search_in_vain_the_pairs_are_forgotten() -> None:
    lbfgs, start = optim.LBFGS(), np.array([1.0, 2.0, -3.0])
    *_, (w, state) = updates(lambda w: cr.sum(w**4.0 + w * w), start, lbfgs, 4)
    assert int(state["pairs"]) == 3
    g = np.array([2.0, 0.5, -1.0])
    stayed, state = lbfgs.update(g, state, w, objective=lambda v: cr.sum((v - w) ** 2.0))
    assert stayed.tolist() == w.tolist()
    moved, _ = lbfgs.update(g, state, stayed)
    assert np.allclose(moved.numpy(), w - 0.01 * g / 3.5, rtol=1e-14)


def test_a_pair_of_negative_curvature_is_left_out() -> None:
    fixed = optim.LBFGS(0.1, line_search=None)
    [(first, _), (second, state)] = updates(bent, np.array([0.1]), fixed, 2)
    slopes = [cr.grad(bent)(w).numpy() for w in (np.array([0.1]), first)]
    assert (first - 0.1) * (slopes[1] - slopes[0]) < 0
    assert int(state["pairs"]) == 0
    assert not np.asarray(state["rho"]).any()
    assert second < first
    *_, (last, _) = updates(bent, np.array([0.1]), optim.LBFGS(), 30)
    assert abs(float(cr.grad(bent)(last).item())) < 1e-8


def test_old_pairs_make_room_for_new_ones() -> None:
    start, lbfgs = np.array([1.0, 2.0, -3.0]), optim.LBFGS(history_size=3)
    states = [state for _, state in updates(lambda w: cr.sum(w**4.0 + w * w), start, lbfgs, 8)]
    assert [int(state["pairs"]) for state in states[:6]] == [0, 1, 2, 3, 3, 3]
    assert np.array_equal(states[6]["s"][1:], states[7]["s"][:2])
    assert np.array_equal(states[7]["s"][2], states[6]["change"])
    products = (np.asarray(states[7]["s"]) * states[7]["y"]).sum(axis=1)
    assert np.asarray(states[7]["rho"]) * products == pytest.approx(1.0)


def test_without_the_objective_nothing_is_searched() -> None:
    found, fixed = optim.LBFGS(0.1), optim.LBFGS(0.1, line_search=None)
    w, g = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    assert found.update(g, found.init(w), w)[0].tolist() == fixed.update(g, fixed.init(w), w)[0].tolist()
    assert fixed.update(g, fixed.init(w), w, objective=lambda w: 1 / 0)[0].tolist() == [1 - 0.3 / 4, 2 + 0.1 / 4]


def test_a_tree_is_one_vector_to_it() -> None:
    def apart(tree: Any) -> Any:
        return cr.sum(tree["a"] ** 4.0) + cr.sum((tree["b"][0] - 1.0) ** 2.0)

    tree: Any = {"a": cr.tensor([[1.0, -2.0]]), "b": (cr.tensor([3.0, 0.5, 0.0]),)}
    vector: Any = cr.tensor([1.0, -2.0, 3.0, 0.5, 0.0])
    lbfgs = optim.LBFGS()
    states = [lbfgs.init(tree), lbfgs.init(vector)]
    for _ in range(5):
        tree, states[0] = lbfgs.update(cr.grad(apart)(tree), states[0], tree, objective=apart)

        def whole(w: Any) -> Any:
            return apart({"a": w[:2].reshape(1, 2), "b": (w[2:],)})

        vector, states[1] = lbfgs.update(cr.grad(whole)(vector), states[1], vector, objective=whole)
    assert tree["a"].shape == (1, 2)
    joined = np.concatenate([tree["a"].numpy().ravel(), tree["b"][0].numpy()])
    assert np.allclose(joined, vector.numpy(), rtol=1e-12)


def test_it_computes_in_single_precision_where_the_parameters_are() -> None:
    w = np.array([1.0, 2.0], np.float32)
    lbfgs = optim.LBFGS()
    moved, state = lbfgs.update(w, lbfgs.init(w), w, objective=lambda w: 0.5 * cr.sum(w * w))
    assert moved.dtype == np.float32
    assert {name: x.dtype for name, x in lbfgs.init(w).items()} == {name: x.dtype for name, x in state.items()}


# ---- in a training


def test_a_penalised_logistic_regression_ends_where_scipys_optimum_is() -> None:
    from scipy.optimize import minimize

    cr.seed(0)
    trainer = cr.Trainer(
        nn.Linear(COLUMNS, CLASSES), nn.CrossEntropyLoss(), optim.LBFGS(), penalty=optim.L2(0.01, biases=True),
        backend="numpy", precision="float64",
    )  # fmt: skip
    trainer.fit(X, Y, epochs=40, **QUIET)

    def objective(flat: Any) -> float:
        z = X.astype(float) @ flat[:-CLASSES].reshape(CLASSES, COLUMNS).T + flat[-CLASSES:]
        chosen = z[np.arange(len(Y)), Y]
        return float(np.mean(np.log(np.exp(z).sum(axis=1)) - chosen) + 0.01 * (flat @ flat))

    best = minimize(objective, np.zeros(CLASSES * (COLUMNS + 1)), tol=1e-14).x
    assert np.abs(parameters(trainer) - best).max() < 1e-5
    assert objective(parameters(trainer)) <= objective(best) + 1e-13


def test_a_small_network_is_fitted_much_closer_than_by_adam_in_as_many_steps() -> None:
    losses = {}
    for optimizer in (optim.LBFGS(), optim.Adam(0.03), optim.Adam(0.01)):
        history = regressor(optimizer).fit(*numbers(), epochs=100, batch_size=len(X), **QUIET)
        losses[repr(optimizer)] = history.loss
        if isinstance(optimizer, optim.LBFGS):
            assert all(b <= a * (1 + 1e-6) for a, b in itertools.pairwise(history.loss))
    searched, *adams = (loss[-1] for loss in losses.values())
    assert searched < 0.2 * min(adams)


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_a_training_broken_off_and_resumed_is_the_uninterrupted_one_bit_for_bit(backend: str, tmp_path: Any) -> None:
    def made() -> cr.Trainer:
        cr.seed(0)
        model, lbfgs = nn.Linear(COLUMNS, CLASSES), optim.LBFGS(history_size=2)
        return cr.Trainer(model, nn.CrossEntropyLoss(), lbfgs, penalty=optim.L2(1e-3), backend=backend)

    whole, part, rest = made(), made(), made()
    whole.fit(X, Y, epochs=9, **QUIET)
    part.fit(X, Y, epochs=9, callbacks=[lambda t: t.epochs == 5], checkpoint=tmp_path / "c", **QUIET)
    assert (part.epochs, part.history.stopped) == (5, "callback")
    rest.fit(X, Y, epochs=9, checkpoint=tmp_path / "c", resume=True, **QUIET)
    assert same(whole, rest)
    assert rest.history.loss == whole.history.loss


@pytest.mark.parametrize("validation", [None, 0.2])
def test_all_rows_are_in_each_step_where_no_batch_size_is_given(validation: Any) -> None:
    history = classifier(optimizer=optim.LBFGS()).fit(X, Y, epochs=3, validation=validation, **QUIET)
    assert len(history.step_loss) == 3
    assert not history.notes


def test_minibatches_are_refused_with_the_number_of_rows_and_the_reason() -> None:
    trainer = classifier(optimizer=optim.LBFGS())
    before = parameters(trainer)
    message = (
        r"^batch_size: LBFGS needs all rows in each step: .*by chance: expected 50, the number of rows, got 16; leave"
    )
    with pytest.raises(ArgumentError, match=message):
        trainer.fit(X, Y, epochs=3, batch_size=16, **QUIET)
    with pytest.raises(ArgumentError, match="expected 40, the number of rows, got 39"):
        trainer.fit(X, Y, epochs=3, batch_size=39, validation=0.2, **QUIET)
    assert (parameters(trainer) == before).all()
    assert len(trainer.fit(X, Y, epochs=3, batch_size=50, **QUIET).step_loss) == 3
    assert trainer.fit(X, Y, epochs=1, batch_size=60, **QUIET).notes == [
        "batch_size 60 is more than the 50 rows: each step uses all 50"
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"penalty": optim.L1(0.1)}, r"penalty: L1 sets weights to 0 after the step.*use L2, or another optimizer"),
        ({"penalty": (optim.L2(0.1), optim.L1(0.1))}, r"penalty: L1 sets weights to 0"),
        ({"clip": optim.ClipNorm(1.0)}, r"clip: LBFGS needs unmodified gradients.*got ClipNorm\(1\.0\)"),
    ],
)
def test_what_changes_its_steps_behind_its_back_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        classifier(optimizer=optim.LBFGS(), **settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": 0.0}, "lr.*above 0"),
        ({"history_size": 0}, "history_size.*an integer of at least 1"),
        ({"history_size": 2.5}, "history_size.*an integer"),
        ({"line_search": "strong_wolfe"}, "line_search.*'backtracking' or None, got strong_wolfe"),
    ],
)
def test_a_bad_argument_is_refused_with_its_name_and_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        optim.LBFGS(**arguments)
