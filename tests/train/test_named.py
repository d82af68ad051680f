"""Several inputs and outputs by name: the same numbers as one array taken apart, and what does not fit is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError, ChainruleError, DataError, TrainingWarning
from small import CLASSES, QUIET, parameters, same

ROWS = 50
RNG = np.random.default_rng(3)
IMAGE, TABLE = RNG.normal(size=(ROWS, 3)).astype("float32"), RNG.normal(size=(ROWS, 2)).astype("float32")
X = {"image": IMAGE, "table": TABLE}
SIDE = np.concatenate([IMAGE, TABLE], 1)
KIND = RNG.integers(0, CLASSES, ROWS)
PRICE = (IMAGE[:, :1] - TABLE[:, 1:]).astype("float32")
Y = {"kind": KIND, "price": PRICE}


class Body(nn.Module):
    """Two inputs into one hidden layer, and two outputs."""

    def __init__(self) -> None:
        self.image, self.table = nn.Linear(3, 8), nn.Linear(2, 8)
        self.kind, self.price = nn.Linear(8, CLASSES), nn.Linear(8, 1)

    def hidden(self, image: Any, table: Any) -> Any:
        """What both outputs are made of."""
        return cr.tanh(self.image(image) + self.table(table))


class Two(Body):
    """It takes and gives dicts."""

    def forward(self, x: Any) -> Any:
        """Both outputs."""
        h = self.hidden(x["image"], x["table"])
        return {"kind": self.kind(h), "price": self.price(h)}


class Aside(Body):
    """The same of columns side by side."""

    def forward(self, x: Any) -> Any:
        """Both outputs."""
        h = self.hidden(x[:, :3], x[:, 3:])
        return {"kind": self.kind(h), "price": self.price(h)}


class Kind(Body):
    """One output of two inputs."""

    def forward(self, x: Any) -> Any:
        """The logits."""
        return self.kind(self.hidden(x["image"], x["table"]))


def losses() -> dict[str, Any]:
    return {"kind": nn.CrossEntropyLoss(), "price": nn.MSELoss()}


def made(kind: type[Body] = Two, loss: Any = None, **settings: Any) -> cr.Trainer:
    cr.seed(0)
    return cr.Trainer(kind(), loss or losses(), optim.Adam(0.02), **{"backend": "numpy", **settings})


@pytest.mark.parametrize("backend", ["numpy", "xla"])
def test_several_inputs_train_as_one_array_of_their_columns_does(backend: str) -> None:
    """The same bits: normalised, with rows held out, a smaller last batch and weights."""
    weight = np.linspace(0.5, 2.0, ROWS)
    named, single = (made(kind, normalize="feature", backend=backend) for kind in (Two, Aside))
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 16, "validation": 0.2, "sample_weight": weight, **QUIET}
    first, second = named.fit(X, Y, **settings), single.fit(SIDE, Y, **settings)
    assert same(named, single)
    assert (first.loss, first.val_loss, dict(first.metrics)) == (second.loss, second.val_loss, dict(second.metrics))
    for name, found in named.predict(X).items():
        np.testing.assert_array_equal(found, single.predict(SIDE)[name])
    assert named.evaluate(X, Y) == single.evaluate(SIDE, Y)


def test_losses_by_name_are_their_weighted_sum() -> None:
    def total(outputs: Any, targets: Any) -> Any:
        return nn.CrossEntropyLoss()(outputs["kind"], targets["kind"]) + nn.MSELoss()(
            outputs["price"], targets["price"]
        ) * np.float32(0.25)

    named, own = made(loss_weights={"price": 0.25}), made(loss=total)
    first = named.fit(X, Y, epochs=3, **QUIET)
    second = own.fit(X, Y, epochs=3, **QUIET)
    np.testing.assert_allclose(first.loss, second.loss, rtol=1e-6)
    np.testing.assert_allclose(parameters(named), parameters(own), rtol=1e-5)


def test_weights_of_rows_count_in_every_term() -> None:
    """As rows that occur twice do, in a sum."""
    summed = {"kind": nn.CrossEntropyLoss("sum"), "price": nn.MSELoss("sum")}
    twice = np.arange(ROWS) % 5 == 0
    rows = np.repeat(np.arange(ROWS), 1 + twice)
    weighted, repeated = made(loss=summed), made(loss=summed)
    weighted.fit(X, Y, epochs=2, batch_size=100, sample_weight=1.0 + twice, **QUIET)
    repeated.fit(
        {k: v[rows] for k, v in X.items()}, {k: v[rows] for k, v in Y.items()}, epochs=2, batch_size=100, **QUIET
    )
    np.testing.assert_allclose(weighted.history.loss, repeated.history.loss, rtol=1e-5)
    np.testing.assert_allclose(weighted.history.metrics["price_r2"], repeated.history.metrics["price_r2"], rtol=1e-5)


def test_metrics_are_those_of_each_output() -> None:
    def agreement(outputs: Any, targets: Any) -> Any:
        return cr.mean(outputs - targets)

    trainer = made(metrics={"kind": ("accuracy", "log_loss"), "price": ("rmse", agreement)})
    trainer.fit(X, Y, epochs=2, **QUIET)
    found, outputs = trainer.evaluate(X, Y), trainer.predict(X)
    assert list(found) == ["loss", "kind_accuracy", "kind_log_loss", "price_rmse", "price_agreement"]
    assert found["kind_accuracy"] == pytest.approx((outputs["kind"].argmax(1) == KIND).mean())
    assert found["price_rmse"] == pytest.approx(np.sqrt(np.square(outputs["price"] - PRICE).mean()), rel=1e-5)
    assert found["price_agreement"] == pytest.approx((outputs["price"] - PRICE).mean(), rel=1e-4)
    assert list(made().metrics) == made(metrics={"kind": ("accuracy",), "price": ("r2",)}).metrics


def test_a_metric_of_all_outputs_gets_the_dicts() -> None:
    def both(outputs: Any, targets: Any) -> Any:
        return cr.mean(outputs["price"]) + cr.mean(targets["price"])

    trainer = made(metrics=(both,))
    trainer.fit(X, Y, epochs=1, **QUIET)
    assert trainer.evaluate(X, Y)["both"] == pytest.approx(trainer.predict(X)["price"].mean() + PRICE.mean(), rel=1e-4)


def test_early_stopping_goes_by_a_metric_of_an_output() -> None:
    trainer = made()
    history = trainer.fit(
        X,
        Y,
        epochs=40,
        validation=(X, {"price": PRICE, "kind": KIND}),
        early_stopping=2,
        monitor="val_kind_accuracy",
        **QUIET,
    )
    assert history.best_epoch == int(np.argmax(history.metrics["val_kind_accuracy"])) + 1
    assert trainer.evaluate(X, Y)["kind_accuracy"] == max(history.metrics["val_kind_accuracy"])


def test_what_is_saved_predicts_the_same(tmp_path: Path) -> None:
    trainer = made(normalize="feature", loss_weights={"kind": 2.0}, metrics={"kind": ("auc",), "price": ("mae",)})
    trainer.fit(X, Y, epochs=2, **QUIET)
    trainer.save(tmp_path / "run")
    again = cr.Trainer.load(tmp_path / "run", model=Two())
    assert again.evaluate(X, Y) == trainer.evaluate(X, Y)
    for name, found in again.predict(X).items():
        np.testing.assert_array_equal(found, trainer.predict(X)[name])


def test_a_training_goes_on_from_its_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    whole, broken = made(), made()
    whole.fit(X, Y, epochs=4, **QUIET)
    broken.fit(X, Y, epochs=2, checkpoint=tmp_path / "c", **QUIET)
    resumed = made()
    resumed.fit(X, Y, epochs=4, checkpoint=tmp_path / "c", resume=True, **QUIET)
    assert same(whole, resumed)


def test_the_order_of_the_names_does_not_matter() -> None:
    trainer = made(normalize="feature")
    trainer.fit(X, Y, epochs=1, **QUIET)
    turned = {"table": TABLE, "image": IMAGE}
    np.testing.assert_array_equal(trainer.predict(turned)["kind"], trainer.predict(X)["kind"])


class Embedded(nn.Module):
    """A table of vectors, looked up by integers."""

    def __init__(self) -> None:
        self.vectors, self.out = nn.Parameter(np.ones((7, 4), "float32")), nn.Linear(4, CLASSES)

    def forward(self, x: Any) -> Any:
        """Logits."""
        assert x["word"].dtype == np.int32
        return self.out(self.vectors[x["word"]] * x["scale"])


def test_whole_numbers_stay_whole_numbers_and_are_not_standardised() -> None:
    given = {"word": RNG.integers(0, 7, ROWS), "scale": RNG.normal(size=(ROWS, 4))}
    trainer = cr.Trainer(Embedded(), nn.CrossEntropyLoss(), optim.SGD(0.1), normalize="feature", backend="numpy")
    trainer.fit(given, KIND, epochs=1, **QUIET)
    assert isinstance(trainer.standardizer, dict)
    assert list(trainer.standardizer) == ["scale"]
    assert trainer.predict(given).shape == (ROWS, CLASSES)


def test_whole_numbers_that_widen_the_outputs_are_refused() -> None:
    given = {"image": IMAGE, "table": RNG.integers(0, 7, (ROWS, 2))}
    with pytest.raises(ArgumentError, match=r"X\['table'\]: the model turns integers.*astype"):
        made(Kind, nn.CrossEntropyLoss()).fit(given, KIND, **QUIET)


def test_pixels_of_a_byte_stay_bytes() -> None:
    given = {"image": RNG.integers(0, 255, (ROWS, 3), np.uint8), "table": TABLE}
    trainer = made(Kind, nn.CrossEntropyLoss())
    assert trainer.fit(given, KIND, epochs=1, **QUIET).loss[0] > 0


def test_the_step_and_the_estimate_take_names() -> None:
    trainer = made()
    graph = trainer.step_graph(X, Y)
    shapes = [(ROWS, 3), (ROWS, 2), (ROWS,), (ROWS, 1), (32,)]
    assert [x.shape for x in graph.inputs[-5:]] == shapes
    stated = trainer.estimate(X, Y, batch_size=16, validation=0.2)
    assert trainer.estimate(X, batch_size=16, validation=0.2).data == stated.data > 0


def test_an_input_that_nothing_depends_on_is_told() -> None:
    class Half(Body):
        def forward(self, x: Any) -> Any:
            return self.kind(cr.tanh(self.image(x["image"])))

    trainer = made(Half, nn.CrossEntropyLoss())
    with pytest.warns(TrainingWarning, match=r"does not depend on X\['table'\]"):
        trainer.fit(X, KIND, epochs=1, **QUIET)


def test_sorted_labels_of_an_output_are_told() -> None:
    with pytest.warns(TrainingWarning, match="labels are sorted"):
        made().fit(X, {"kind": np.sort(KIND), "price": PRICE}, epochs=1, batch_size=8, shuffle="never", **QUIET)


BAD = IMAGE.copy()
BAD[3, 1] = np.nan


@pytest.mark.parametrize(
    ("rows", "targets", "message"),
    [
        ({"image": BAD, "table": TABLE}, Y, r"X\['image'\]: not a finite number.*row 3, column 1"),
        ({"image": IMAGE, "table": TABLE[:9]}, Y, r"X\['image'\] and X\['table'\] differ in length"),
        (X, {"kind": KIND, "price": PRICE[:9]}, r"X\['image'\] and y\['price'\] differ in length"),
        (X, {"kind": KIND + 1, "price": PRICE}, r"y\['kind'\]: labels outside the model's classes"),
        (X, {"kind": KIND}, r"y: not one target per loss.*\['kind', 'price'\].*\['kind'\]"),
        (X, KIND, r"y: not one target per loss.*one array"),
        ({}, Y, "X: not arrays by name"),
        (X, None, "no targets"),
    ],
)
def test_what_does_not_fit_is_named(rows: Any, targets: Any, message: str) -> None:
    with pytest.raises(ChainruleError, match=message):
        made().fit(rows, targets, **QUIET)


def test_rows_to_validate_on_have_the_same_names() -> None:
    with pytest.raises(ArgumentError, match=r"validation X: not the arrays the trainer was fitted on"):
        made().fit(X, Y, validation=({"image": IMAGE}, Y), **QUIET)
    with pytest.raises(DataError, match=r"validation y\['kind'\]: labels outside"):
        made().fit(X, Y, validation=(X, {"kind": KIND + 9, "price": PRICE}), **QUIET)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metrics": ("accuracy",)}, "not metrics by output"),
        ({"metrics": {"size": ("rmse",)}}, "size"),
        ({"metrics": {"kind": ("rmse",)}}, "rmse is for regression"),
        ({"loss": nn.MSELoss(), "metrics": {"kind": ("rmse",)}}, "metrics by output need losses by output"),
        ({"loss": nn.MSELoss(), "loss_weights": {"kind": 1.0}}, "loss_weights needs losses by name"),
        ({"loss_weights": {"size": 1.0}}, "a weight for an unknown loss"),
        ({"loss_weights": {"kind": -1.0}}, r"loss_weights\['kind'\]"),
        ({"loss": {"kind": nn.MSELoss("sum"), "price": nn.MSELoss()}}, "means and sums"),
        ({"loss": {"kind": nn.MSELoss("none")}}, "per row"),
        ({"loss": {"kind": nn.MSELoss}}, r"write MSELoss\(…\)"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        made(**settings)


def test_targets_by_name_want_losses_by_name() -> None:
    with pytest.raises(ArgumentError, match=r"targets by name need losses by name.*loss=\{'kind'"):
        made(loss=nn.MSELoss()).fit(X, Y, **QUIET)
    with pytest.raises(ArgumentError, match=r"there are several targets.*sample_weight"):
        made().fit(X, Y, class_weight="balanced", **QUIET)
    with pytest.raises(ChainruleError, match=r"loss\['kind'\]: not among the outputs of the model.*one output"):
        made(Kind).fit(X, Y, **QUIET)


def test_a_trainer_of_names_predicts_from_names_alone() -> None:
    trainer = made(normalize="feature")
    trainer.fit(X, Y, epochs=1, **QUIET)
    with pytest.raises(ArgumentError, match="not the inputs the trainer was fitted on"):
        trainer.predict(SIDE)


def test_a_sweep_takes_one_array() -> None:
    sweep = cr.Sweep(lambda lr: Kind(), nn.CrossEntropyLoss(), optim.Adam, {"lr": [0.1]})
    with pytest.raises(ArgumentError, match=r"X: not a single array.*\['image', 'table'\]"):
        sweep.fit(X, KIND, epochs=1, progress=False)
