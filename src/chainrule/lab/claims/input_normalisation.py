"""Inputs of zero mean and unit variance make the loss surface rounder: a table of mixed units, and dark blue images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.data.standardize import Standardizer
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
Normalize = str | None
HOUSES, STEPS = 400, 150
IMAGES, CLASSES, SIDE, EPOCHS, BATCH = 480, 4, 8, 8, 32
RATES = (0.03, 0.1, 0.3, 1.0)
CHANNELS = {"red": (0.05, 0.02), "green": (0.10, 0.03), "blue": (0.40, 0.06)}
"""Mean and deviation of each channel, where black is 0 and white is 1."""
NAMES: dict[Normalize, str] = {None: "as they come", "feature": "per feature", "channel": "per channel"}


def houses() -> tuple[Array, Array]:
    """Area (m²), rooms, distance to the centre (m), year built; and a price that depends on all of them alike."""
    draw = np.random.default_rng(0)
    z = draw.standard_normal((HOUSES, 4))
    X = np.array([120.0, 5.0, 4000.0, 1975.0]) + z * np.array([40.0, 1.5, 2500.0, 20.0])
    return X, (z @ [[0.6], [0.5], [-0.5], [0.4]]) + 0.1 * draw.standard_normal((HOUSES, 1))


def dark_blue_images() -> tuple[Array, Array]:
    """(N, 3, 8, 8) dark and bluish; the class is the quarter in which they are a little brighter."""
    draw = np.random.default_rng(1)
    y = draw.integers(0, CLASSES, IMAGES)
    bright = np.zeros((IMAGES, 1, SIDE, SIDE))
    half = SIDE // 2
    for row, label in enumerate(y):
        top, left = (label // 2) * half, (label % 2) * half
        bright[row, 0, top : top + half, left : left + half] = 1.0
    mean, contrast = np.array(list(CHANNELS.values())).T[:, None, :, None, None]
    X = mean + contrast * (0.4 * (bright - 0.25) + draw.normal(0, 1.0, (IMAGES, len(CHANNELS), SIDE, SIDE)))
    return np.clip(X, 0.0, 1.0), y


def normalized(X: Array, how: Normalize) -> Array:
    """X as a trainer with this `normalize` sees it."""
    return X if how is None else Standardizer.fit(X, how)(X)


def curvatures(X: Array) -> Array:
    """Eigenvalues, largest first, of the Hessian of ½(w·x + b − y)² averaged over the rows; 0 ones left out."""
    inputs = np.column_stack([X.reshape(len(X), -1), np.ones(len(X))])
    hessian = cr.hessian(lambda w: cr.mean((inputs @ w) ** 2) * 0.5)(np.zeros(inputs.shape[1])).numpy()
    found = np.linalg.eigvalsh(hessian)[::-1]
    return np.asarray(found[found > 1e-14 * found[0]])


def fitted(how: Normalize, rate: float) -> Array:
    """Loss of a linear model on the houses by step of gradient descent."""
    X, y = houses()
    cr.seed(0)
    model = cr.nn.Linear(X.shape[1], 1, init="zeros")
    trainer = cr.Trainer(
        model, cr.nn.MSELoss(), cr.optim.SGD(rate), normalize=how, backend="numpy", precision="float64", metrics=()
    )
    return np.array(trainer.fit(X, y, epochs=STEPS, batch_size=HOUSES, progress=False).loss)


def classified(how: Normalize, rate: float) -> Array:
    """Loss of a small network on the images by epoch."""
    X, y = dark_blue_images()
    cr.seed(0)
    layers = [cr.nn.Flatten(), cr.nn.Linear(X[0].size, 16), cr.nn.ReLU(), cr.nn.Linear(16, CLASSES)]
    trainer = cr.Trainer(
        cr.nn.Sequential(*layers), cr.nn.CrossEntropyLoss(), cr.optim.SGD(rate), normalize=how, backend="numpy"
    )
    return np.array(trainer.fit(X, y, epochs=EPOCHS, batch_size=BATCH, progress=False).loss)


def best(how: Normalize) -> Array:
    """The run with the rate that ends lowest."""
    return min((classified(how, rate) for rate in RATES), key=lambda losses: losses[-1])


def measure() -> Measured:
    """Measure curvatures and train, on inputs as they come and normalised."""
    X, y = houses()
    pixels, _ = dark_blue_images()
    bends = {how: curvatures(normalized(X, how)) for how in (None, "feature")}
    prices = {how: fitted(how, float(1 / (2 * bend[0]))) for how, bend in bends.items()}
    image_bends = {how: curvatures(normalized(pixels, how)) for how in NAMES}
    pictures = {how: best(how) for how in NAMES}
    table = {how: float(bend[0] / bend[-1]) for how, bend in bends.items()}
    images = {how: float(bend[0] / bend[-1]) for how, bend in image_bends.items()}
    with_dead = pixels.copy()
    with_dead[:, :, 0, 0] = 0.0
    dead = normalized(with_dead, "feature")[:, :, 0, 0]
    figures = {
        **{f"houses {NAMES[how]}: condition number of the Hessian": c for how, c in table.items()},
        **{f"houses {NAMES[how]}: loss after {STEPS} steps (variance of the price: {float(y.var()):.2f})":
           float(run[-1]) for how, run in prices.items()},
        **{f"images {NAMES[how]}: condition number of the Hessian": c for how, c in images.items()},
        **{f"images {NAMES[how]}: loss after {EPOCHS} epochs (nats), best of {len(RATES)} rates": float(run[-1])
           for how, run in pictures.items()},
        "dead pixel after normalising per feature, largest absolute value": float(np.abs(dead).max()),
    }  # fmt: skip
    checks = {
        "houses: per feature the condition number falls below 3, from more than a million": table["feature"] < 3
        and table[None] > 1e6,
        "houses: after the same steps the loss is at the noise (0.01) normalised, and above half the variance if not":
            bool(prices["feature"][-1] < 0.012 and prices[None][-1] > 0.5 * y.var()),
        "dark blue images: per channel the condition number falls at least twentyfold": images[None]
        > 20 * images["channel"],
        "images: per channel and per feature reach less than half the loss": bool(
            max(pictures[how][-1] for how in ("channel", "feature")) < pictures[None][-1] / 2
        ),
        "a pixel that never changes becomes 0, not NaN: σ is held above ε": bool(np.all(dead == 0.0)),
    }  # fmt: skip
    return Measured(figures, checks, {"prices": prices, "bends": image_bends, "pictures": pictures, "pixels": pixels})


def draw(figure: Figure, data: Any) -> None:
    """Loss on the houses; the images' colours, curvatures and loss."""
    house, colours, spectrum, image = style.axes_row(figure, 2, rows=2)
    style.name(house, "step", "squared error (price units²)", "Houses: m², rooms, m, years in one table", log="y")
    for how, run in data["prices"].items():
        style.line(house, range(1, STEPS + 1), run, NAMES[how])
    style.name(colours, "value of a pixel (0 black, 1 white)", "pixels (share per 0.02)", "Images: dark and blue")
    for n, (name, values) in enumerate(zip(CHANNELS, np.moveaxis(data["pixels"], 1, 0), strict=True)):
        share, edges = np.histogram(values, bins=50, range=(0, 1))
        style.line(colours, edges[:-1] + 0.01, share / share.sum(), name, n=(1, 2, 0)[n], markevery=3)
    style.name(spectrum, "eigenvalue, largest first", "curvature of the loss (per weight²)", "Images: the surface",
               log="xy")  # fmt: skip
    style.name(image, "epoch", "training loss (nats)", "Images: training", log="y")
    for n, how in enumerate(NAMES):
        bend = data["bends"][how]
        style.line(spectrum, np.arange(1, len(bend) + 1), bend, NAMES[how], n=n)
        style.line(image, range(1, EPOCHS + 1), data["pictures"][how], NAMES[how], n=n)
    for axes in (house, colours, spectrum, image):
        style.legend(axes)


LAB = Lab(
    row="C5",
    claim="Inputs normalised to zero mean and unit variance, per feature or for images per channel, with σ held above "
    "ε, give the loss a rounder surface, so that the same number of steps goes further.",
    look="Above left, the step that the distance in metres allows is far too small for the number of rooms, so nothing "
    "moves; normalised, one step size suits all. Below left, dark blue images have one huge curvature, the mean that "
    "all pixels share, far above those that tell the classes apart. Taking the mean off and dividing by σ removes it, "
    "and on the right the loss falls faster.",
    measure=measure,
    draw=draw,
)
