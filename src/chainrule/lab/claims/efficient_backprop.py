"""The further tricks of LeCun, Bottou, Orr and Müller, "Efficient BackProp" (1998), each measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.samples import digits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
ROWS, INPUTS, STEPS, SWEPT = 300, 6, 200, 50
SHARES = np.array([0.25, 0.5, 0.75, 0.9, 0.95, 1.05, 1.1, 1.25])
"""Learning rates, in parts of the largest one, 2/λmax."""
HIDDEN, WIDTH, EPOCHS, RATE = 6, 32, 8, 0.1
ASYMPTOTE = 1.7159
TARGETS = {"targets ±1": 1.0, f"targets ±{ASYMPTOTE}": ASYMPTOTE}
TARGET_EPOCHS = 40


def lecun_tanh(x: Any) -> cr.Tensor:
    """1.7159·tanh(2x/3): f(±1) = ±1, where it bends most."""
    return ASYMPTOTE * cr.tanh(x * (2.0 / 3.0))


# ---- inputs: their mean taken off, their correlations, their scales


def inputs() -> dict[str, Array]:
    """The same inputs, one treatment more in each entry: positive and correlated, centred, scaled, turned."""
    draw = np.random.default_rng(0)
    mixed = draw.standard_normal((ROWS, INPUTS)) @ (np.eye(INPUTS) + 0.25)
    positive = (mixed - mixed.min(0) + 0.1) * np.geomspace(0.5, 1.5, INPUTS)
    centred = positive - positive.mean(0)
    turned = centred @ np.linalg.eigh(centred.T @ centred)[1]
    return {
        "all positive": positive,
        "centred": centred,
        "centred, σ = 1": centred / centred.std(0),
        "decorrelated, σ = 1": turned / turned.std(0),
    }


def curvatures(X: Array) -> Array:
    """Eigenvalues of the Hessian of ½(w·x + b − y)² averaged over the rows, ascending."""
    rows = np.column_stack([X, np.ones(len(X))])
    hessian = cr.hessian(lambda w: cr.mean((rows @ w) ** 2) * 0.5)(np.zeros(rows.shape[1]))
    return np.asarray(np.linalg.eigvalsh(hessian.numpy()))


def descended(X: Array, rate: float, steps: int = STEPS) -> Array:
    """Loss by step of gradient descent on a linear target that can be met exactly."""
    y = inputs()["centred, σ = 1"] @ np.ones((INPUTS, 1)) + 1.0
    trainer = cr.Trainer(
        cr.nn.Linear(INPUTS, 1, init="zeros"), lambda output, target: cr.mean((output - target) ** 2) * 0.5,
        cr.optim.SGD(rate), backend="numpy", precision="float64", metrics=(),
    )  # fmt: skip
    return np.array(trainer.fit(X, y, epochs=steps, batch_size=ROWS, progress=False).loss)


def one_sign(X: Array) -> float:
    """The share of rows whose gradient has the same sign in all weights of a unit."""

    def cost(w: cr.Tensor, x: cr.Tensor) -> cr.Tensor:
        return (x @ w - 1.0) ** 2

    signs = np.sign(cr.per_example_grad(cost, batch=(1,))(np.zeros(INPUTS), X).numpy())
    return float(np.mean(np.abs(signs.sum(1)) == INPUTS))


def treated() -> Measured:
    """What centring, scaling and decorrelating the inputs does to the surface and to the descent."""
    spectra = {name: curvatures(X) for name, X in inputs().items()}
    condition = [float(found[-1] / found[0]) for found in spectra.values()]
    paths = {n: descended(X, float(2 / (spectra[n][0] + spectra[n][-1]))) for n, X in inputs().items()}
    positive, centred, scaled, last = paths.values()
    signs = {name: one_sign(inputs()[name]) for name in ("all positive", "centred")}
    figures = {
        **{f"condition number of the Hessian, inputs {n}": c for n, c in zip(spectra, condition, strict=True)},
        "loss before the first step": float(last[0]),
        **{f"loss after {STEPS} steps at the best rate, inputs {n}": float(p[-1]) for n, p in paths.items()},
        **{f"rows whose gradient has one sign in all weights, inputs {n} (share)": s for n, s in signs.items()},
    }
    checks = {
        "positive inputs: all weights of a unit move up together or down together, so the path zigzags":
            signs["all positive"] == 1.0 and signs["centred"] < 0.5,
        "centring, scaling and decorrelating: each makes the surface rounder, in the end perfectly round":
            condition[0] > 10 * condition[1] > 20 * condition[2] and abs(condition[3] - 1) < 1e-6,
        "so with the best rate each reaches a lower loss after 20 steps, decorrelated inputs after one (1e-20)":
            positive[20] > 2 * centred[20] > 4 * scaled[20] and last[1] < 1e-20,
    }  # fmt: skip
    return Measured(figures, checks, paths)


def largest_rate() -> Measured:
    """Descents with rates about 2/λmax."""
    X = inputs()["centred, σ = 1"]
    limit = float(2 / curvatures(X)[-1])
    runs = [descended(X, share * limit, SWEPT) for share in SHARES.tolist()]
    start, ends = float(runs[0][0]), np.array([run[-1] for run in runs])
    figures: dict[str, Any] = {"largest learning rate, 2/λmax": limit}
    checks = {
        "the largest learning rate is 2/λmax: 5 % below it the loss falls, 5 % above it grows": bool(
            ends[SHARES < 1].max() < start < ends[SHARES > 1].min()
        )
    }
    return Measured(figures, checks, {"ends": ends, "start": start})


# ---- the sigmoid


def stack(activation: Any) -> cr.nn.Sequential:
    """Six hidden layers, their weights with variance 1/fan-in."""
    cr.seed(0)
    layers: list[cr.nn.Module] = []
    for layer in range(HIDDEN):
        layers += [cr.nn.Linear(WIDTH if layer else 64, WIDTH, init="lecun_normal"), cr.nn.Lambda(activation)]
    return cr.nn.Sequential(*layers, cr.nn.Linear(WIDTH, 10, init="lecun_normal"))


def centred_digits() -> tuple[Array, Array]:
    """Digits of zero mean, and of unit variance all together."""
    X, y = digits()
    X = X - X.mean(0)
    return X / X.std(), y


def gradient_sizes(activation: Any) -> list[float]:
    """Root mean square of the gradient in the weights of each layer of the untrained stack."""
    X, y = centred_digits()
    found = cr.grad(lambda model: cr.nn.CrossEntropyLoss()(model(X), y))(stack(activation))
    return [float(np.sqrt(np.mean(g.numpy() ** 2))) for name, g in found.items() if name.endswith("weight")]


def accuracy(activation: Any) -> float:
    """Accuracy of the stack, trained, on the rows that it was trained on."""
    X, y = centred_digits()
    trainer = cr.Trainer(stack(activation), cr.nn.CrossEntropyLoss(), cr.optim.SGD(RATE), backend="numpy")
    trainer.fit(X, y, epochs=EPOCHS, progress=False)
    return trainer.evaluate(X, y)["accuracy"]


def sigmoids() -> Measured:
    """The plain sigmoid against the symmetric one, in a stack of layers."""
    activations = {"sigmoid": cr.sigmoid, "1.7159·tanh(2x/3)": lecun_tanh}
    sizes = {name: gradient_sizes(f) for name, f in activations.items()}
    learnt = {name: accuracy(f) for name, f in activations.items()}
    kept = {name: found[0] / found[-1] for name, found in sizes.items()}
    plain, symmetric = activations
    at_one = lecun_tanh(1.0).item()
    bend = cr.grad(cr.grad(cr.grad(lecun_tanh)))(np.array(1.0)).item()
    figures = {
        "f(1) of 1.7159·tanh(2x/3)": at_one,
        "f‴(1), which is 0 where the bend is greatest": bend,
        **{f"gradient in the first layer / in the last, {name}": k for name, k in kept.items()},
        **{f"accuracy on digits after {EPOCHS} epochs, {name}": a for name, a in learnt.items()},
    }
    checks = {
        "1.7159·tanh(2x/3) maps ±1 to ±1 and bends most near there": abs(at_one - 1) < 1e-3 and abs(bend) < 0.1,
        "it carries the gradient to the first layer, at least 100 times better than the sigmoid":
            kept[symmetric] > 100 * kept[plain],
        "so it learns (accuracy above 0.9) where the sigmoid does not (below 0.5)":
            learnt[symmetric] > 0.9 and learnt[plain] < 0.5,
    }  # fmt: skip
    return Measured(figures, checks, sizes)


# ---- targets


def aimed(target: float) -> dict[str, list[float]]:
    """By epoch, for targets ±target: the norm of the last layer's weights, and the mean slope of its unit."""
    X, y = centred_digits()
    signs = np.where(y == 0, 1.0, -1.0)[:, None]
    cr.seed(0)
    last = cr.nn.Linear(8, 1, init="lecun_normal")
    below = [cr.nn.Linear(64, 8, init="lecun_normal"), cr.nn.Lambda(lecun_tanh), last]
    model = cr.nn.Sequential(*below, cr.nn.Lambda(lecun_tanh))
    trainer = cr.Trainer(model, cr.nn.MSELoss(), cr.optim.SGD(0.05), backend="numpy", metrics=())
    norms: list[float] = []
    slopes: list[float] = []

    def watch(trainer: cr.Trainer) -> None:
        output = trainer.predict(X)
        norms.append(float(np.linalg.norm(last.weight.numpy())))
        slopes.append(float(np.mean(ASYMPTOTE * 2 / 3 * (1 - (output / ASYMPTOTE) ** 2))))

    trainer.fit(X, target * signs, epochs=TARGET_EPOCHS, callbacks=[watch], progress=False)
    return {"norm": norms, "slope": slopes}


def targets() -> Measured:
    """Targets within the range of the output unit, and at its asymptotes."""
    aims = {name: aimed(target) for name, target in TARGETS.items()}
    near, far = ({what: by_epoch[-1] for what, by_epoch in aim.items()} for aim in aims.values())
    figures = {
        f"{what} after {TARGET_EPOCHS} epochs, {name}": aim[key][-1]
        for key, what in (("slope", "mean slope of the output unit"), ("norm", "norm of the last weights"))
        for name, aim in aims.items()
    }
    checks = {
        "targets at the asymptotes drive the unit flat: less than half the slope, larger weights": far["slope"]
        < near["slope"] / 2
        and far["norm"] > near["norm"]
    }
    return Measured(figures, checks, aims)


def measure() -> Measured:
    """Measure what each trick does."""
    tricks = {"treated": treated(), "rates": largest_rate(), "sigmoids": sigmoids(), "targets": targets()}
    return Measured(
        {name: figure for trick in tricks.values() for name, figure in trick.figures.items()},
        {name: bool(held) for trick in tricks.values() for name, held in trick.checks.items()},
        {name: trick.data for name, trick in tricks.items()},
    )


def draw(figure: Figure, data: Any) -> None:
    """Loss by treatment of the inputs, loss by rate, gradient by layer, slope by epoch."""
    surface, rates, layers, aims = style.axes_row(figure, 2, rows=2)
    style.name(surface, "step", "loss (½ squared error), 10⁻¹⁶ or more", "Inputs, each at its best rate", log="y")
    for name, losses in data["treated"].items():
        style.line(surface, range(1, STEPS + 1), np.maximum(losses, 1e-16), name)
    style.legend(surface, loc="upper right", bbox_to_anchor=(1.0, 0.93), fontsize=9)
    style.name(rates, "learning rate / (2/λmax)", f"loss after {SWEPT} steps", "The largest learning rate", log="y")
    style.line(rates, SHARES, data["rates"]["ends"])
    style.level(rates, data["rates"]["start"], "loss at the start")
    rates.axvline(1.0, color="#666666", linewidth=1.2)
    rates.set_xlim(0.2, 1.5)
    style.name(layers, "layer", "root mean square gradient", "Before training, six hidden layers", log="y")
    for name, sizes in data["sigmoids"].items():
        style.line(layers, range(1, HIDDEN + 2), sizes, name)
    style.legend(layers)
    style.name(aims, "epoch", "mean slope of the output unit", "Where the targets lie", log="y")
    for name, aim in data["targets"].items():
        style.line(aims, range(1, TARGET_EPOCHS + 1), aim["slope"], name)
    aims.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5, 1.0], ["0.02", "0.05", "0.1", "0.2", "0.5", "1"])
    aims.minorticks_off()
    style.legend(aims)


LAB = Lab(
    row="C10",
    claim="The tricks of Efficient BackProp hold: inputs centred, scaled and decorrelated; no learning rate above "
    "2/λmax; a symmetric sigmoid, 1.7159·tanh(2x/3); targets inside its range and not at its asymptotes.",
    look="Above left, each treatment of the inputs makes the loss surface rounder, and on a round one a single step at "
    "the right rate arrives. Above right, beyond 2/λmax every step overshoots by more than it corrects. Below, the "
    "plain sigmoid loses the gradient on its way to the first layers, and targets that a unit can only reach at "
    "infinity drive it to where it is flat.",
    measure=measure,
    draw=draw,
)
