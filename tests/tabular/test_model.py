"""A table, a model, an honest estimate."""

import signal
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

import chainrule as cr
from chainrule.data import Source
from chainrule.errors import ArgumentError, DataError, ShapeError
from chainrule.tabular.model import Rows, TabularModel
from chainrule.tabular.settings import Settings

QUICK = Settings(epochs=12, layers=[8], backend="numpy")


def table(rows: int = 90, seed: int = 0, classes: int = 2) -> pl.DataFrame:
    """Two numbers, a category, and a label and a positive number that follow from them."""
    rng = np.random.default_rng(seed)
    a, b, colour = rng.normal(size=rows), rng.normal(size=rows), rng.choice(["red", "blue"], rows)
    score = a + (colour == "red") + 0.1 * rng.normal(size=rows)
    label = np.array(list("xyz"))[np.digitize(score, [0.5] if classes == 2 else [0.0, 1.0])]
    return pl.DataFrame({"a": a, "b": b, "colour": colour, "label": label, "price": np.exp(score)})


def prepared(frame: pl.DataFrame, target: str = "label", settings: Settings = QUICK, weight: Any = None) -> Any:
    """A model and its rows."""
    others = {"label", "price"} - {target}
    source = Source("t", frame.drop([name for name in others if name in frame.columns]))
    return (*TabularModel.prepare(source, target, settings=settings, sample_weight=weight), source)


def fitted(*arguments: Any, **named: Any) -> Any:
    """The same after the training."""
    model, rows, source = prepared(*arguments, **named)
    model.fit(rows, progress=False)
    return model, rows, source


def same(first: TabularModel, second: TabularModel, source: Source) -> bool:
    """Whether two models answer with the same bits."""
    name = "predict_proba" if first.preprocessor.classes else "predict"
    return np.array_equal(getattr(first, name)(source), getattr(second, name)(source))


# ---- the estimate


def test_random_labels_are_known_by_heart_and_not_out_of_fold() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({f"x{i}": rng.normal(size=200) for i in range(12)} | {"label": rng.choice(["x", "y"], 200)})
    settings = Settings(epochs=150, layers=[64], lr=0.02, dropout=0.0, backend="numpy", patience=150, bins=0)
    model, rows, _ = prepared(frame, settings=settings)
    # The last epoch, not the one that out-of-fold rows like best, knows the rows by heart.
    model.fit(rows, progress=False, callbacks=[])
    out_of_fold = model.out_of_fold_scores(rows)["accuracy"]
    assert out_of_fold.error is not None
    assert abs(out_of_fold.value - 0.5) < 0.12
    division = model._divided(rows, None)
    model.trainer.fit(*division.training(rows.X, model.answers.targets(rows.y, 5), rows.weight, 32),
                      epochs=150, batch_size=32, progress=False)  # fmt: skip
    held = division.held(len(rows))
    found = model.answers.of_members(model.outputs(rows.X)).argmax(axis=-1) == rows.y[:, None]
    assert found[~held].mean() > 0.9
    assert abs(found[held].mean() - 0.5) < 0.12


@pytest.mark.parametrize("target", ["label", "price"])
def test_out_of_fold_predictions_are_those_of_the_networks_that_held_the_row_out(target: str) -> None:
    model, rows, _ = fitted(table(), target, replace(QUICK, members=2))
    assert np.array_equal(model.held_out, np.arange(len(rows)))
    answers = model.answers.of_members(model.outputs(rows.X))
    asked = model.answers.asked(answers.shape[1])
    division = model._divided(rows, None)
    for group, held in enumerate(division.groups):
        own = slice(group * division.members, (group + 1) * division.members)
        expected = answers[held][:, own][:, asked[own]].mean(axis=1)
        np.testing.assert_allclose(model.out_of_fold[held], expected, rtol=1e-6)
    np.testing.assert_allclose(model.answer(rows.X), answers[:, asked].mean(axis=1), rtol=1e-6)


def test_a_row_held_out_has_no_say_in_what_is_said_of_it() -> None:
    frame = table()
    settings = replace(QUICK, patience=100, epochs=5)
    model, rows, _ = prepared(frame, settings=settings)
    division = model._divided(rows, None)
    other = replace(rows, y=np.where(np.isin(np.arange(len(rows)), division.groups[0]), 1 - rows.y, rows.y))
    states = []
    for some in (rows, other):
        again, _, _ = prepared(frame, settings=settings)
        targets = again.answers.targets(some.y, 5)
        again.trainer.fit(*division.training(some.X, targets, some.weight, 32), epochs=5, batch_size=32, progress=False)
        states.append(again.outputs(rows.X))
    assert np.array_equal(states[0][:, 0], states[1][:, 0])
    assert not np.array_equal(states[0][:, 1], states[1][:, 1])


def test_the_estimate_is_near_what_other_rows_show() -> None:
    model, rows, _ = fitted(table(300), settings=replace(QUICK, epochs=30))
    others = Rows.of(model.preprocessor, Source("t", table(2000, seed=1)), np.arange(2000))
    said, seen = model.out_of_fold_scores(rows), model.scores(others)
    for name in ("accuracy", "log_loss"):
        assert abs(said[name].value - seen[name].value) < 4 * said[name].error + 0.02


# ---- folds, members, rows


@pytest.mark.parametrize(("folds", "members"), [(1, 1), (1, 3), (2, 1), (3, 2)])
@pytest.mark.parametrize("target", ["label", "price"])
def test_folds_and_members_are_as_many_as_asked_for(folds: int, members: int, target: str) -> None:
    model, rows, source = fitted(table(), target, replace(QUICK, folds=folds, members=members))
    assert model.networks == folds * members * max(1, len(model.answers.scales))
    assert model.outputs(rows.X).shape[1] == model.networks
    assert (len(model.held_out) == len(rows)) == (folds > 1)
    assert len(model.predict(source)) == len(rows)


def test_without_folds_a_share_of_the_rows_is_held_out() -> None:
    model, rows, _ = fitted(table(), settings=replace(QUICK, folds=1))
    assert 0 < len(model.held_out) < 0.2 * len(rows)
    assert set(model.out_of_fold_scores(rows)) == {"accuracy", "balanced_accuracy", "auc", "f1", "log_loss"}


@pytest.mark.parametrize("rows", [2, 3, 5, 9])
@pytest.mark.parametrize("target", ["label", "price"])
def test_a_tiny_table_is_learnt(rows: int, target: str) -> None:
    frame = table(rows).with_columns(label=pl.Series(["x", "y", "x", "y", "x", "y", "x", "y", "x"][:rows]))
    model, made, source = fitted(frame, target)
    assert len(model.predict(source)) == rows
    assert bool(model.out_of_fold_scores(made)) == (rows >= 4)


def test_more_folds_than_rows_are_refused() -> None:
    model, rows, _ = prepared(table(6), "price", replace(QUICK, folds=7))
    with pytest.raises(ArgumentError, match=r"folds.*6.*got 7"):
        model.fit(rows, progress=False)


def test_a_class_of_one_row_is_named_and_learnt() -> None:
    frame = table(41).with_columns(label=pl.Series(["x"] * 20 + ["y"] * 20 + ["lonely"]))
    model, rows, source = fitted(frame)
    assert model.notes == ["label: only one row is of class 'lonely'; no estimate says how well it is found"]
    assert model.predict_proba(source).shape == (41, 3)
    assert "accuracy" in model.out_of_fold_scores(rows)


def test_a_class_that_some_folds_do_not_hold_out_is_learnt() -> None:
    frame = table(42).with_columns(label=pl.Series(["x"] * 20 + ["y"] * 20 + ["rare"] * 2))
    model, rows, source = fitted(frame)
    assert model.notes == []
    assert np.isfinite(model.out_of_fold).all()
    assert model.predict_proba(source).shape == (42, 3)
    assert "balanced_accuracy" in model.out_of_fold_scores(rows)


def test_rows_that_choose_when_to_stop_are_not_trained_on() -> None:
    frame = table(120)
    model, rows, _ = prepared(frame, settings=replace(QUICK, folds=1))
    validation = rows.some(np.arange(80, 120))
    model.fit(rows.some(np.arange(80)), validation, progress=False)
    assert np.array_equal(model.held_out, np.arange(80, 120))
    np.testing.assert_allclose(model.out_of_fold, model.answer(validation.X), rtol=1e-6)


# ---- weights


@pytest.mark.parametrize("target", ["label", "price"])
def test_a_row_of_weight_0_counts_as_if_absent(target: str) -> None:
    frame = table()
    absent = np.arange(len(frame)) % 7 == 3
    spoilt = frame.with_columns(
        a=pl.when(pl.Series(absent)).then(1e6).otherwise(pl.col("a")),
        price=pl.when(pl.Series(absent)).then(1e9).otherwise(pl.col("price")),
        label=pl.when(pl.Series(absent)).then(pl.lit("unheard of")).otherwise(pl.col("label")),
    )
    weighted, _, _ = fitted(spoilt, target, weight=np.where(absent, 0, 2.0))
    without, _, source = fitted(frame.filter(~pl.Series(absent)), target)
    assert same(weighted, without, source)


def test_weights_count_only_by_their_ratio() -> None:
    weight = np.random.default_rng(0).integers(1, 4, 90)
    first, _, source = fitted(table(), weight=weight)
    second, _, _ = fitted(table(), weight=weight * 4.0)
    third, _, _ = fitted(table(), weight=np.ones(90))
    assert same(first, second, source)
    assert not same(first, third, source)
    assert same(fitted(table())[0], third, source)


def test_a_class_that_weighs_more_is_found_more_often() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=300)
    frame = pl.DataFrame({"a": a, "label": np.where(a + rng.normal(size=300) > 1.8, "y", "x")})
    found = [
        (
            fitted(frame, settings=replace(QUICK, epochs=40, class_weight=weight))[0].predict(Source("t", frame)) == "y"
        ).sum()
        for weight in (None, "balanced")
    ]
    assert found[1] > 1.5 * found[0]


def test_balanced_classes_weigh_what_scikit_learn_says() -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    model, rows, _ = prepared(table(classes=3), settings=replace(QUICK, class_weight="balanced"))
    np.testing.assert_allclose(model._class_weights(rows.y), compute_sample_weight("balanced", rows.y))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.r_[1.0, -2.0, np.ones(88)], r"weights.*at least 0.*got -2 in row 2"),
        (np.r_[np.nan, np.ones(89)], r"weights.*finite.*got nan in row 1"),
        (np.r_[np.inf, np.ones(89)], r"weights.*finite.*got inf in row 1"),
        (np.zeros(90), r"weights: no row with a target has a weight above 0"),
    ],
)
def test_a_weight_that_is_none_is_refused(weight: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepared(table(), weight=weight)


@pytest.mark.parametrize("shape", [(89,), (91,), (90, 2)])
def test_another_number_of_weights_than_rows_is_refused(shape: Any) -> None:
    with pytest.raises(ShapeError, match=r"weights.*\(90,\)"):
        prepared(table(), weight=np.ones(shape))


def test_numbers_have_no_classes_to_weigh() -> None:
    with pytest.raises(ArgumentError, match="class_weight: a number has no classes"):
        prepared(table(), "price", replace(QUICK, class_weight="balanced"))
    model, _, source = fitted(table(), "price")
    with pytest.raises(DataError, match="a number has no classes"):
        model.predict_proba(source)


# ---- numbers


def test_a_number_is_predicted_within_the_range_of_training_to_the_last_bit() -> None:
    frame = table().with_columns(price=pl.Series(np.geomspace(1e-3, 1e6, 90)))
    model, rows, source = fitted(frame, "price")
    assert rows.y.min() == 1e-3
    assert [scale.log for scale in model.answers.scales] == [False, True]
    far = source.frame.with_columns(a=pl.col("a") * 1e3, b=pl.lit(-1e5))  # type: ignore[union-attr]
    for some in (source, Source("t", far)):
        found = model.predict(some)
        assert ((found >= frame["price"].min()) & (found <= frame["price"].max())).all()


# ---- time, interruption


@pytest.mark.parametrize("folds", [1, 3])
def test_a_time_too_short_for_anything_gives_the_best_so_far(folds: int) -> None:
    model, rows, source = fitted(table(), settings=replace(QUICK, epochs=100_000, time_budget=1e-9, folds=folds))
    assert model.trainer.history.epochs <= 1
    assert model.trainer.steps > 0
    assert np.isfinite(model.predict_proba(source)).all()
    assert "accuracy" in model.out_of_fold_scores(rows)


def test_a_time_that_is_over_ends_the_training() -> None:
    model, _, _ = fitted(table(), settings=replace(QUICK, epochs=100_000, time_budget=0.3, patience=100_000))
    assert 0 < model.trainer.history.epochs < 100_000


class Interrupt(cr.Callback):
    """Ctrl-C after some epochs."""

    def __init__(self, epoch: int) -> None:
        self.left = epoch

    def on_epoch_end(self, trainer: cr.Trainer) -> bool:
        self.left -= 1
        if not self.left:
            signal.raise_signal(signal.SIGINT)
        return False


@pytest.mark.parametrize("target", ["label", "price"])
def test_a_training_that_was_interrupted_goes_on_to_the_same_bits(tmp_path: Any, target: str) -> None:
    settings = replace(QUICK, epochs=9, members=2)
    whole, rows, source = fitted(table(), target, settings)
    broken, _, _ = prepared(table(), target, settings)
    broken.fit(rows, progress=False, callbacks=[Interrupt(4)], checkpoint=tmp_path / "kept")
    assert broken.trainer.history.stopped == "interrupted"
    again, _, _ = prepared(table(), target, settings)
    again.fit(rows, progress=False, checkpoint=tmp_path / "kept", resume=True)
    assert same(whole, again, source)
    assert np.array_equal(whole.out_of_fold, again.out_of_fold)
    assert whole.answers == again.answers


def test_both_backends_make_the_same_model() -> None:
    numpy, _, source = fitted(table(40), settings=replace(QUICK, epochs=3))
    xla, _, _ = fitted(table(40), settings=replace(QUICK, epochs=3, backend="xla"))
    np.testing.assert_allclose(numpy.predict_proba(source), xla.predict_proba(source), atol=1e-4)


def test_more_pieces_than_there_are_between_the_rows_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"bins: .* expected an integer in \[0, \d+\], got 10000"):
        prepared(table(), settings=replace(QUICK, bins=10_000))
