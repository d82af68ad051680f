"""Dropout as an ensemble of 2ᴺ subnetworks: enumerated, averaged, and used as a regulariser."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.samples import digits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
UNITS, OUTPUTS, SAMPLES = 10, 3, 20_000
RATES = (0.2, 0.5)
ROWS, WRONG, EPOCHS = 200, 0.2, 60


def layer() -> tuple[Array, Array, Array]:
    """One linear layer and its input: x (10,), W (3, 10), b (3,)."""
    draw = np.random.default_rng(0)
    return draw.standard_normal(UNITS), draw.standard_normal((OUTPUTS, UNITS)), draw.standard_normal(OUTPUTS)


def subnetworks() -> Array:
    """Which units each subnetwork keeps, (2ᴺ, N) of 0 and 1: all of them."""
    return np.arange(2**UNITS)[:, None] >> np.arange(UNITS) & 1


def probabilities(kept: Array, p: float) -> Array:
    """How likely dropout with rate p is to draw each subnetwork."""
    return np.asarray((1 - p) ** kept.sum(1) * p ** (UNITS - kept.sum(1)))


def averaged(p: float) -> dict[str, Array]:
    """The outputs of all subnetworks averaged exactly, and the two short cuts that should equal it."""
    x, w, b = layer()
    kept = subnetworks()
    weight = probabilities(kept, p)
    outputs = cr.linear(kept * x, w, b).numpy()
    inverted = cr.linear(kept * x / (1 - p), w, b).numpy()
    log_softmax = cr.log_softmax(outputs).numpy()
    return {
        "outputs": outputs,
        "exact": weight @ outputs,
        "scaled weights": cr.linear(x, w * (1 - p), b).numpy(),
        "exact, inverted": weight @ inverted,
        "full": cr.linear(x, w, b).numpy(),
        "geometric": cr.softmax(weight @ log_softmax).numpy(),
        "softmax of scaled": cr.softmax(cr.linear(x, w * (1 - p), b)).numpy(),
    }


def drawn(p: float) -> float:
    """How far the module's own draws are from the exact average, in standard errors (the worst output)."""
    x, w, b = layer()
    cr.seed(0)
    dropped = cr.nn.Dropout(p)(np.tile(x, (SAMPLES, 1)))
    outputs = cr.linear(dropped, w, b).numpy()
    errors = outputs.std(0) / math.sqrt(SAMPLES)
    return float(np.max(np.abs(outputs.mean(0) - (w @ x + b)) / errors))


def extremes() -> dict[str, bool]:
    """What rates 0 and 1 do to a training step."""
    X, y = digits()
    found = {}
    for p in (0.0, 1.0):
        cr.seed(0)
        first, last = cr.nn.Linear(64, 16), cr.nn.Linear(16, 10)
        model = cr.nn.Sequential(first, cr.nn.ReLU(), cr.nn.Dropout(p), last)
        plain = cr.nn.Sequential(first, cr.nn.ReLU(), last)
        gradients = cr.grad(lambda m: cr.nn.CrossEntropyLoss()(m(X[:64]), y[:64]))(model)
        if p == 0.0:
            found["rate 0 is the network without dropout, bit for bit"] = bool(
                np.array_equal(model(X).numpy(), plain(X).numpy())
            )
        else:
            output = cr.nn.Dropout(p)(X).numpy()
            below = [gradients[name].numpy() for name in ("0.weight", "0.bias", "3.weight")]
            found["rate 1 gives zeros, and zero gradients for all it cuts off, never NaN"] = bool(
                np.all(output == 0) and all(np.all(g == 0) for g in below)
            )
    return found


def fitted(p: float) -> dict[str, Array]:
    """Loss on the rows trained on and on others, by epoch: few rows, some labelled at random, and a wide network."""
    X, y = digits()
    draw = np.random.default_rng(0)
    few = np.where(draw.random(ROWS) < WRONG, draw.integers(0, 10, ROWS), y[:ROWS])
    cr.seed(0)
    model = cr.nn.Sequential(cr.nn.Linear(64, 128), cr.nn.ReLU(), cr.nn.Dropout(p), cr.nn.Linear(128, 10))
    trainer = cr.Trainer(model, cr.nn.CrossEntropyLoss(), cr.optim.Adam(0.003), backend="numpy", metrics=())
    losses: list[float] = []

    def watch(trainer: cr.Trainer) -> None:
        losses.append(trainer.evaluate(X[:ROWS], few)["loss"])

    history = trainer.fit(
        X[:ROWS], few, epochs=EPOCHS, batch_size=20, validation=(X[ROWS:], y[ROWS:]), callbacks=[watch], progress=False
    )
    return {"trained on": np.array(losses), "held out": np.array(history.val_loss)}


def measure() -> Measured:
    """Enumerate the subnetworks of one layer, draw from them, and train with and without dropout."""
    found = {p: averaged(p) for p in RATES}
    sizes = np.bincount(subnetworks().sum(1))
    runs = {p: fitted(p) for p in (0.0, 0.5)}
    gaps = {p: float(run["held out"][-1] - run["trained on"][-1]) for p, run in runs.items()}
    apart = {
        key: max(float(np.max(np.abs(f[a] - f[b]))) for f in found.values())
        for key, a, b in (
            ("weights times 1 − p", "exact", "scaled weights"),
            ("inverted dropout, weights as they are", "exact, inverted", "full"),
            ("softmax layer: geometric average, weights times 1 − p", "geometric", "softmax of scaled"),
        )
    }
    errors = {p: drawn(p) for p in RATES}
    figures = {
        f"subnetworks of {UNITS} units": int(sizes.sum()),
        **{f"exact average over all of them against {key}, largest difference": gap for key, gap in apart.items()},
        **{f"mean of {SAMPLES:,} draws of Dropout({p}) against the exact average (standard errors)": e
           for p, e in errors.items()},
        **{f"dropout {p}: held-out loss minus training loss after {EPOCHS} epochs (nats)": gap
           for p, gap in gaps.items()},
        **{f"dropout {p}: held-out loss after {EPOCHS} epochs (nats)": float(run["held out"][-1])
           for p, run in runs.items()},
    }  # fmt: skip
    counted = [math.comb(UNITS, k) for k in range(UNITS + 1)]
    checks = {
        "N units have Σ C(N, k) = 2ᴺ subnetworks": sizes.tolist() == counted and sum(counted) == 2**UNITS,
        "for a linear layer the average over all 2ᴺ is the layer with weights times 1 − p, and inverted dropout's is "
        "the layer as it is (1e-12)": max(apart.values()) < 1e-12,
        "what Dropout draws averages to the same, within 5 standard errors": max(errors.values()) < 5,
        **extremes(),
        "in between it regularises: less than two thirds of the gap, and a lower held-out loss": bool(
            gaps[0.5] < 2 / 3 * gaps[0.0] and runs[0.5]["held out"][-1] < runs[0.0]["held out"][-1]
        ),
    }
    return Measured(figures, checks, {"found": found, "runs": runs})


def draw(figure: Figure, data: Any) -> None:
    """The outputs of all subnetworks with their average, and the losses of a training."""
    ensemble, training = style.axes_row(figure, 2)
    style.name(ensemble, "first output of the layer (no unit)", "probability (share per bin)",
               f"All {2**UNITS:,} subnetworks of {UNITS} units")  # fmt: skip
    outputs = data["found"][RATES[0]]["outputs"][:, 0]
    bins = np.linspace(outputs.min(), outputs.max(), 25).tolist()
    for n, (p, found) in enumerate(data["found"].items()):
        ensemble.hist(
            outputs, bins=bins, weights=probabilities(subnetworks(), p),
            histtype="step", color=style.COLOURS[n], linestyle=style.DASHES[n], linewidth=1.8, label=f"p = {p}",
        )  # fmt: skip
        for name, marker, size in (("exact", "o", 11), ("scaled weights", "x", 7)):
            label = f"p = {p}: " + ("average over all" if marker == "o" else "weights times 1 − p")
            ensemble.plot(found[name][0], 0, marker, color=style.COLOURS[n], markersize=size, markerfacecolor="none",
                          markeredgewidth=1.8, clip_on=False, label=label, linestyle="")  # fmt: skip
    style.legend(ensemble, fontsize=9, loc="upper right")
    style.name(training, "epoch", "loss (nats)", f"{ROWS} digits, a fifth labelled at random", log="y")
    for n, (p, run) in enumerate(data["runs"].items()):
        for k, (rows, losses) in enumerate(run.items()):
            style.line(training, range(1, EPOCHS + 1), losses, f"dropout {p}: {rows}", n=2 * k + n)
    style.legend(training)


LAB = Lab(
    row="C9, F1–F3",
    claim="Dropout trains an ensemble: N units have 2ᴺ subnetworks, and for one linear layer their exact average is "
    "the layer with its weights times 1 − p, or the layer itself in the inverted form. Rate 0 does nothing, rate 1 "
    "drops everything, and in between dropout regularises.",
    look="On the left the cross, one pass with scaled weights, sits in the middle of the ring, the average of 1,024 "
    "passes: a linear layer may be averaged before or after. On the right the network without dropout learns the "
    "wrong labels by heart, so its loss on held-out rows rises; with dropout no unit can rely on the others, and the "
    "gap stays smaller.",
    measure=measure,
    draw=draw,
)
