"""The compiled epoch against loops written out by hand, step by step in double precision."""

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ShapeError
from chainrule.graph.random import keyed, shuffled
from small import CLASSES, COLUMNS, QUIET, ROWS, classifier, network, numbers, parameters, regressor, same, table

BACKENDS = ["numpy", "xla"]
BATCH = 16  # leaves a last batch of 2 of the 50 rows
SEED = 7

RECIPES: dict[str, dict[str, Any]] = {
    "Adam": {"optimizer": optim.Adam(0.02)},
    "SGD": {"optimizer": optim.SGD(0.1)},
    "momentum, cosine, L2, norm clipped": {
        "optimizer": optim.SGD(0.1, momentum=0.9),
        "schedule": optim.Cosine(),
        "penalty": optim.L2(0.01),
        "clip": optim.ClipNorm(0.5),
    },
    "Nesterov, warm-up, L1, values clipped": {
        "optimizer": optim.SGD(0.1, momentum=0.8, nesterov=True),
        "schedule": optim.Warmup(optim.Step(1, 0.5), steps=3),
        "penalty": optim.L1(0.05),
        "clip": optim.ClipValue(0.05),
    },
    "AdamW with dropout": {"optimizer": optim.AdamW(0.02, weight_decay=0.1), "inside": (nn.Dropout(0.4),)},
    "Adam, L1 and L2": {"optimizer": optim.Adam(0.02), "penalty": (optim.L1(0.01), optim.L2(0.02))},
    "RMSProp, L1": {"optimizer": optim.RMSProp(0.01, momentum=0.5, centered=True, eps=0.01), "penalty": optim.L1(0.01)},
    "Nadam, one cycle": {"optimizer": optim.Nadam(0.02), "schedule": optim.OneCycle()},
    "LBFGS, L2": {"optimizer": optim.LBFGS(), "penalty": optim.L2(0.02)},
    "LBFGS with dropout, step": {
        "optimizer": optim.LBFGS(0.5, history_size=3),
        "schedule": optim.Step(2, 0.5),
        "inside": (nn.Dropout(0.4),),
    },
}


def by_hand(trainer: cr.Trainer, X: Any, y: Any, epochs: int, batch: int) -> tuple[list[float], np.ndarray]:
    """The losses of all steps and the parameters at the end, define-by-run."""
    named: Any = {name: cr.tensor(p.numpy().astype(np.float64)) for name, p in trainer.model.named_parameters()}
    state, losses, steps = trainer.optimizer.tracked(trainer.optimizer.init(named)), [], -(-len(X) // batch)
    schedule = trainer.schedule and trainer.schedule.bind(epochs * steps, steps)
    X, y = X.astype(np.float64), y if y.dtype.kind == "i" else y.astype(np.float64)
    penalties: Any = trainer.penalty if isinstance(trainer.penalty, tuple) else filter(None, [trainer.penalty])
    penalties = list(penalties)
    for epoch in range(epochs):
        order = shuffled(len(X), trainer.seed, epoch) if steps > 1 else np.arange(len(X))
        for start in range(0, len(X), batch):
            rows = order[start : start + batch]

            def loss(named: Any, rows: Any = rows, step: int = len(losses)) -> Any:
                with keyed(cr.tensor([trainer.seed, step], "uint32")):
                    return trainer.loss(trainer.model.tree_rebuild(named)(X[rows]), y[rows])

            value, gradients = cr.value_and_grad(loss)(named)
            rate = cr.tensor(trainer.optimizer.lr * float(schedule(len(losses)) if schedule else 1.0))
            for penalty in penalties:
                gradients = penalty.gradient(gradients, named)
            if trainer.clip is not None:
                gradients = trainer.clip(gradients)
            if isinstance(trainer.optimizer, optim.LBFGS):
                named, state = trainer.optimizer.update(
                    gradients, state, named, rate, lambda w, f=loss: sum((p.value(w) for p in penalties), f(w))
                )
            else:
                named, state = trainer.optimizer.update(gradients, state, named, rate)
            for penalty in penalties:
                if isinstance(penalty, optim.L1):
                    named = penalty.after(named, trainer.optimizer.rates(state, named, rate))
            losses.append(value.item())
    return losses, np.concatenate([p.numpy().ravel() for p in named.values()])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", RECIPES)
def test_the_compiled_epoch_is_the_loop_written_by_hand(name: str, backend: str) -> None:
    recipe = dict(RECIPES[name])
    inside = recipe.pop("inside", ())
    trainer = classifier(*inside, backend=backend, precision="float64", seed=SEED, **recipe)
    X, y = table()
    epochs, batch = (8, ROWS) if trainer.optimizer.full_batch else (3, BATCH)
    losses, final = by_hand(trainer, X, y, epochs=epochs, batch=batch)
    history = trainer.fit(X, y, epochs=epochs, batch_size=batch, **QUIET)
    assert np.allclose(history.step_loss, losses, rtol=1e-10, atol=0)
    assert np.allclose(parameters(trainer), final, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_compiled_epoch_is_backpropagation_in_plain_numpy(backend: str) -> None:
    trainer = regressor(
        optim.SGD(0.1, momentum=0.9),
        backend=backend,
        precision="float64",
        penalty=optim.L2(0.01),
        clip=optim.ClipNorm(1.5),
        seed=SEED,
    )
    X, y = numbers()
    W1, b1, W2, b2 = (p.numpy().astype(np.float64) for p in trainer.model.parameters())
    velocities, losses, norms = [np.zeros_like(w) for w in (W1, b1, W2, b2)], [], []
    for epoch in range(3):
        order = shuffled(ROWS, SEED, epoch)
        for start in range(0, ROWS, BATCH):
            x, t = (a[order[start : start + BATCH]].astype(np.float64) for a in (X, y))
            h = np.tanh(x @ W1.T + b1)
            d = h @ W2.T + b2 - t
            losses.append(float((d**2).mean()))
            d = 2 * d / d.size
            e = (d @ W2) * (1 - h**2)
            gradients = [e.T @ x + 0.02 * W1, e.sum(0), d.T @ h + 0.02 * W2, d.sum(0)]
            norms.append(np.sqrt(sum((g**2).sum() for g in gradients)))
            gradients = [g * min(1.0, 1.5 / norms[-1]) for g in gradients]
            velocities = [0.9 * v - 0.1 * g for v, g in zip(velocities, gradients, strict=True)]
            W1, b1, W2, b2 = (w + v for w, v in zip((W1, b1, W2, b2), velocities, strict=True))
    history = trainer.fit(X, y, epochs=3, batch_size=BATCH, **QUIET)
    assert min(norms) < 1.5 < max(norms)
    assert np.allclose(history.step_loss, losses, rtol=1e-10)
    assert np.allclose(parameters(trainer), np.concatenate([w.ravel() for w in (W1, b1, W2, b2)]), rtol=1e-10)


@pytest.mark.torch
def test_an_epoch_agrees_with_pytorch_live() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    trainer = classifier(optimizer=optim.Adam(0.02), precision="float64", seed=SEED)
    theirs = torch.nn.Sequential(torch.nn.Linear(COLUMNS, 8), torch.nn.Tanh(), torch.nn.Linear(8, CLASSES)).double()
    theirs.load_state_dict({k: torch.tensor(v).double() for k, v in trainer.model.state_dict().items()})
    adam, losses = torch.optim.Adam(theirs.parameters(), 0.02), []
    X, y = table()
    for epoch in range(2):
        order = shuffled(ROWS, SEED, epoch)
        for start in range(0, ROWS, BATCH):
            rows = order[start : start + BATCH]
            adam.zero_grad()
            output = theirs(torch.tensor(X[rows].astype(np.float64)))
            loss = torch.nn.functional.cross_entropy(output, torch.tensor(y[rows]))
            loss.backward()
            adam.step()
            losses.append(loss.item())
    assert trainer.fit(X, y, epochs=2, batch_size=BATCH, **QUIET).step_loss == pytest.approx(losses, rel=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(backend: str) -> None:
    def trained(seed: int) -> cr.Trainer:
        trainer = classifier(nn.Dropout(0.3), backend=backend, seed=seed)
        trainer.fit(*table(), epochs=2, batch_size=BATCH, **QUIET)
        return trainer

    first = trained(1)
    assert same(first, trained(1))
    if backend == "numpy":
        assert not same(first, trained(2))


@pytest.mark.parametrize("normalize", [None, "feature"])
def test_both_backends_see_the_same_batches_and_the_same_masks(normalize: str | None) -> None:
    fitted = []
    for backend in BACKENDS:
        trainer = classifier(nn.Dropout(0.5), backend=backend, normalize=normalize)
        fitted.append((trainer.fit(*table(), epochs=3, batch_size=BATCH, validation=0.2, **QUIET), parameters(trainer)))
    (first, w), (second, v) = fitted
    assert np.allclose(first.step_loss, second.step_loss, rtol=1e-4)
    assert np.allclose(first.val_loss, second.val_loss, rtol=1e-4)
    assert first.metrics == second.metrics
    assert np.allclose(w, v, atol=1e-4)


@pytest.mark.filterwarnings("ignore:layer 2 drops everything")
def test_dropout_of_everything_trains_the_last_bias_alone_and_stays_finite() -> None:
    trainer = classifier(nn.Dropout(1.0))
    before = trainer.model.state_dict()
    history = trainer.fit(*table(), epochs=2, **QUIET)
    after = trainer.model.state_dict()
    assert np.isfinite(history.step_loss).all()
    assert [name for name in before if not np.array_equal(before[name], after[name])] == ["3.bias"]


@pytest.mark.parametrize("optimizer", [optim.SGD(0.1), optim.SGD(0.02, 0.9), optim.Adam(0.02), optim.RMSProp(0.01)])
def test_a_penalty_of_l1_leaves_weights_at_exactly_zero(optimizer: optim.Optimizer) -> None:
    trainer = classifier(optimizer=optimizer, penalty=optim.L1(0.1), schedule=optim.Cosine())
    trainer.fit(*table(), epochs=80, **QUIET)
    weights = trainer.model[0].weight.numpy()
    assert (weights == 0).mean() > 0.2
    assert trainer.model[2].bias.numpy().all()


def test_training_computes_in_the_precision_asked_for() -> None:
    for precision in ("float32", "float64"):
        trainer = classifier(precision=precision)
        trainer.fit(*table(), epochs=1, **QUIET)
        assert trainer.predict(table()[0]).dtype == precision
        assert all(p.dtype == precision for p in trainer.model.state_dict().values())


def test_a_loss_of_one_value_a_row_is_refused_with_the_mend() -> None:
    loss = nn.CrossEntropyLoss("none")
    trainer = cr.Trainer(network(), lambda output, y: loss(output, y), optim.SGD(0.1), backend="numpy")
    with pytest.raises(ShapeError, match=r'more than one number.*use reduction="mean" or "sum"'):
        trainer.fit(*table(), **QUIET)


def test_the_models_own_mode_is_left_as_it_was() -> None:
    trainer = classifier(nn.Dropout(0.5))
    trainer.model[2].eval()
    trainer.fit(*table(), epochs=1, **QUIET)
    assert not trainer.model[2].training
    assert trainer.model[0].training


def test_a_loss_that_is_summed_is_the_mean_one_times_the_rows() -> None:
    X, y = table()
    by_mean = cr.Trainer(network(), nn.CrossEntropyLoss(), optim.SGD(0.1), backend="numpy")
    by_sum = cr.Trainer(network(), nn.CrossEntropyLoss("sum"), optim.SGD(0.1 / ROWS), backend="numpy")
    first = by_mean.fit(X, y, epochs=3, batch_size=ROWS, **QUIET)
    second = by_sum.fit(X, y, epochs=3, batch_size=ROWS, **QUIET)
    assert np.allclose(np.multiply(first.loss, ROWS), second.loss, rtol=1e-5)
    assert np.allclose(parameters(by_mean), parameters(by_sum), atol=1e-6)
