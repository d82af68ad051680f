"""An architecture that the data chooses: right gradients, one program a structure, and recurrences of any length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule import nn, tree
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.numeric import Array, relative_error, slope

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS, ROWS, SHORT, LONG, WIDTH, DIRECTIONS = 160, 16, 4, 8, 8, 10
LENGTHS = (10, 30, 100, 300, 1000)
UNROLLED = (10, 30, 100)


@dataclass(frozen=True)
class Batch:
    """Sequences of one length with the mean of each, and how many turns the network shall make of them."""

    x: Array
    y: Array
    turns: int

    @property
    def structure(self) -> tuple[int, int]:
        """What decides which network this batch is computed by."""
        return self.x.shape[1], self.turns


@dataclass(frozen=True)
class Training:
    """The loss of every step, and how many programs there were after it."""

    losses: list[float]
    programs: list[int]


@dataclass(frozen=True)
class Found:
    """What the picture shows."""

    seen: list[int]
    direct: Training
    compiled: Training
    scanned: list[int]
    unrolled: list[int]


class Choosing(nn.Module):
    """Reads short sequences by one module and long ones by another, then turns the result over as often as it is told.

    Both are filled up with zeros to the width of their module.
    """

    def __init__(self) -> None:
        self.short, self.long = nn.Linear(SHORT, WIDTH), nn.Linear(LONG, WIDTH)
        self.again, self.out = nn.Linear(WIDTH, WIDTH, init="xavier_uniform"), nn.Linear(WIDTH, 1)

    def forward(self, x: Any, turns: int) -> cr.Tensor:
        """One number a sequence."""
        module = self.short if x.shape[1] <= SHORT else self.long
        missing = np.zeros((x.shape[0], module.in_features - x.shape[1]), x.dtype)
        h = module(cr.concatenate([x, missing], axis=1))
        for _ in range(turns):
            h = cr.tanh(self.again(h))
        return self.out(h)


def batches(steps: int, dtype: str = "float32") -> list[Batch]:
    """Batches of random lengths; the larger the largest value, the more turns."""
    random = np.random.default_rng(3)
    found = []
    for _ in range(steps):
        x = random.normal(size=(ROWS, int(random.integers(2, LONG + 1)))).astype(dtype)
        found.append(Batch(x, x.mean(1, keepdims=True), int(np.clip(np.abs(x).max(), 1, 3))))
    return found


def train(data: list[Batch], compiled: bool) -> Training:
    """Train step by step, define-by-run or by compiled programs."""
    cr.seed(0)
    model, adam = Choosing(), cr.optim.Adam(0.02)

    def step(model: Any, state: Any, x: Any, y: Any, turns: int) -> Any:
        loss, gradient = cr.value_and_grad(lambda model: nn.MSELoss()(model(x, turns), y))(model)
        return loss, adam.update(gradient, state, dict(model.named_parameters()))

    run: Any = cr.compile(step, backend="numpy") if compiled else step
    state = adam.init(dict(model.named_parameters()))
    losses, programs = [], []
    for batch in data:
        loss, (parameters, state) = run(model, state, cr.tensor(batch.x), batch.y, batch.turns)
        model.load_state_dict({name: p.numpy() for name, p in parameters.items()})
        losses.append(loss.item())
        programs.append(run.structures if compiled else 0)
    return Training(losses, programs)


def worst_gradient(data: list[Batch]) -> float:
    """Define-by-run gradients of one batch a structure against finite differences, along random directions."""
    leaves, structure = tree.flatten(Choosing())
    random = np.random.default_rng(0)
    weights, *directions = ([random.normal(0, 0.5, leaf.shape) for leaf in leaves] for _ in range(1 + DIRECTIONS))

    def error(batch: Batch) -> float:
        def cost(*weights: cr.Tensor) -> cr.Tensor:
            model = tree.unflatten(structure, list(weights))
            return nn.MSELoss()(model(cr.tensor(batch.x), batch.turns), batch.y)

        gradient = [g.numpy() for g in cr.grad(cost, range(len(weights)))(*(cr.tensor(w) for w in weights))]
        found = [sum(float((g * d).sum()) for g, d in zip(gradient, way, strict=True)) for way in directions]
        return relative_error(found, [slope(cost, weights, way) for way in directions])

    return max(error(batch) for batch in {batch.structure: batch for batch in data}.values())


def last_state(w: cr.Tensor, x: cr.Tensor, unrolled: bool) -> cr.Tensor:
    """hₜ₊₁ = tanh(W·hₜ + xₜ) over a sequence (T, width), as one scan or as T copies; the mean square of the last."""

    def step(h: cr.Tensor, now: cr.Tensor) -> tuple[cr.Tensor, None]:
        return cr.tanh(w @ h + now), None

    h = cr.tensor(np.zeros(x.shape[1]))
    if unrolled:
        for t in range(x.shape[0]):
            h, _ = step(h, x[t])
    else:
        h, _ = cr.scan(step, h, x)
    return cr.mean(cr.square(h))


def recurrence(length: int, unrolled: bool) -> tuple[int, Array]:
    """Nodes of the gradient graph of a recurrence of that length, and its gradient in W."""
    random = np.random.default_rng(1)
    w, x = random.normal(0, 0.5, (4, 4)), random.normal(size=(length, 4))
    f: Callable[..., cr.Tensor] = lambda w, x: last_state(w, x, unrolled)  # noqa: E731
    gradient = cr.trace(f, w, x).reverse(0)
    return len(gradient), gradient.run(w, x)[0]


def measure() -> Measured:
    """Gradients, trainings and the programs they needed, and recurrences of growing length."""
    data = batches(STEPS)
    structures = [batch.structure for batch in data]
    seen = [len(set(structures[: i + 1])) for i in range(STEPS)]
    numeric = worst_gradient(batches(STEPS, "float64"))
    direct, compiled = train(data, False), train(data, True)
    scanned = {length: recurrence(length, False) for length in LENGTHS}
    unrolled = {length: recurrence(length, True) for length in UNROLLED}
    same = max(relative_error(scanned[length][1], unrolled[length][1]) for length in UNROLLED)
    first, last = (float(np.mean(direct.losses[part])) for part in (slice(20), slice(-20, None)))
    figures: dict[str, Any] = {
        "structures met (length and number of turns)": seen[-1],
        "programs held after the training": compiled.programs[-1],
        "gradient against finite differences, worst structure (relative error)": numeric,
        "mean squared error, mean of the first 20 steps": first,
        "mean squared error, mean of the last 20 steps": last,
        "largest distance of the compiled losses from define-by-run (share of the largest)": relative_error(
            compiled.losses, direct.losses
        ),
        "steps of the recurrence": list(LENGTHS),
        "nodes of its gradient graph, as one scan": [scanned[length][0] for length in LENGTHS],
        "nodes of its gradient graph, unrolled (10, 30, 100 steps)": [unrolled[length][0] for length in UNROLLED],
        "gradient of the scan against the unrolled one (relative error)": same,
    }
    checks = {
        "the gradient of every structure agrees with finite differences": numeric < 1e-8,
        "training lowers the loss to less than a quarter": last < first / 4,
        "the compiled path holds one program a structure, at every step": compiled.programs == seen,
        "and gives the same losses": relative_error(compiled.losses, direct.losses) < 1e-3,
        "a recurrence of 1,000 steps has as many nodes as one of 10": scanned[1000][0] == scanned[10][0],
        "and the gradient of the unrolled one": same < 1e-12,
    }
    nodes = ([scanned[length][0] for length in LENGTHS], [unrolled[length][0] for length in UNROLLED])
    return Measured(figures, checks, Found(seen, direct, compiled, *nodes))


def draw(figure: Figure, data: Found) -> None:
    """The losses, the programs, and the nodes of a recurrence."""
    losses, programs, nodes = style.axes_row(figure, 3)
    steps = range(1, STEPS + 1)
    style.name(losses, "step", "mean squared error, mean of 20 steps", "Training", log="y")
    for label, training in (("define-by-run", data.direct), ("compiled", data.compiled)):
        style.line(losses, steps[19:], np.convolve(training.losses, np.ones(20) / 20, "valid"), label)
    style.legend(losses)
    style.name(programs, "step", "number", "Structures and programs")
    style.line(programs, steps, data.seen, "structures met so far", drawstyle="steps-post")
    style.line(programs, steps, data.compiled.programs, "programs held", drawstyle="steps-post")
    style.legend(programs, loc="lower right")
    programs.set_yticks(range(0, data.seen[-1] + 3, 3))
    style.name(nodes, "steps of the recurrence", "nodes of the gradient graph", "Recurrences", log="xy")
    style.line(nodes, LENGTHS, data.scanned, "one scan")
    style.line(nodes, UNROLLED, data.unrolled, "unrolled")
    style.legend(nodes)


LAB = Lab(
    row="A3",
    claim="The architecture may depend on the data: define-by-run gives right gradients for whatever was computed, "
    "the compiled path keeps one program a structure, and a recurrence is one node however long it is.",
    look="On the left both ways of running take the same path to a low loss, though the sequences' length chooses the "
    "module and their values the number of turns. In the middle the programs grow only when a new structure is met. On "
    "the right the unrolled recurrence grows by a copy a step, while a scan holds its body once.",
    measure=measure,
    draw=draw,
)
