"""The solved exercise: two iterations of momentum on a network of three inputs, two SiLU units and a sigmoid output.

The sheet fixes the outputs 0.537, 0.517, 0.521, the labels 1, 0, 0, the loss 0.695 and ∂L/∂b₂ = 0.19. Its inputs and
weights are not known here: those below are ours, few digits each, chosen so that the outputs are the sheet's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import chainrule as cr
from chainrule.lab import style
from chainrule.lab.experiment import Lab, Measured
from chainrule.lab.numeric import differences

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
OUTPUTS, LABELS = np.array([[0.537], [0.517], [0.521]]), np.array([[1.0], [0.0], [0.0]])
INPUTS = np.array([[-2.0, 2.0, 2.0], [-1.0, 0.0, -1.0], [0.0, 1.0, 2.0]])
WEIGHTS: dict[str, Any] = {
    "0.weight": [[0.1, 0.2, 0.1], [0.8, -0.5, -0.6]],
    "0.bias": [-0.1, -0.1],
    "2.weight": [[0.21, 0.36]],
    "2.bias": [0.14],
}
RATE, MOMENTUM, ITERATIONS = 0.5, 0.9, 2


def network() -> cr.nn.Sequential:
    """The network with our weights."""
    model = cr.nn.Sequential(cr.nn.Linear(3, 2), cr.nn.SiLU(), cr.nn.Linear(2, 1), cr.nn.Sigmoid())
    model.load_state_dict({path: np.array(weight) for path, weight in WEIGHTS.items()})
    return model


def sheet() -> tuple[float, float]:
    """L and ∂L/∂b₂ of the sheet's outputs: a network whose one parameter b₂ = 0 is added to the logits of them."""
    model = cr.nn.Sequential(cr.nn.Linear(1, 1), cr.nn.Sigmoid())
    model.load_state_dict({"0.weight": np.ones((1, 1)), "0.bias": np.zeros(1)})
    step = cr.explain.derive(model, cr.nn.BCELoss(), np.log(OUTPUTS / (1 - OUTPUTS)), LABELS).values[0]
    return step["loss"], step["update"]["gradient"]["0.bias"][0]


def off(step: dict[str, Any]) -> float:
    """The largest difference of a sample's gradients from finite differences, as a share of the largest gradient."""
    paths, furthest, largest = list(WEIGHTS), 0.0, 0.0
    parameters = [np.array(step["parameters"][path]) for path in paths]
    model, loss = network(), cr.nn.BCELoss()
    for i, sample in enumerate(step["samples"]):

        def cost(*own: cr.Tensor, i: int = i) -> cr.Tensor:
            stand_in = model.tree_rebuild(dict(zip(paths, own, strict=True)))
            return loss(stand_in(INPUTS[i : i + 1]), LABELS[i : i + 1])

        for path, numeric in zip(paths, differences(cost, *parameters), strict=True):
            analytic = np.array(sample[f"dC/d{path}"])
            furthest = max(furthest, float(np.max(np.abs(analytic - numeric))))
            largest = max(largest, float(np.max(np.abs(analytic))))
    return furthest / largest


def moved(values: list[dict[str, Any]]) -> float:
    """The largest difference of velocities and parameters from v ← βv − η·mean of the samples, w ← w + v."""
    furthest = 0.0
    for path in WEIGHTS:
        v = np.zeros(np.shape(WEIGHTS[path]))
        for step in values:
            v = MOMENTUM * v - RATE * np.mean([sample[f"dC/d{path}"] for sample in step["samples"]], axis=0)
            update = step["update"]
            new = np.array(step["parameters"][path]) + v
            for found, expected in ((update["state"]["velocity"][path], v), (update["parameters"][path], new)):
                furthest = max(furthest, float(np.max(np.abs(np.array(found) - expected))))
    return furthest


def measure() -> Measured:
    """Work the exercise out, and check it against the sheet, finite differences and the momentum rule."""
    optimizer = cr.optim.SGD(RATE, momentum=MOMENTUM)
    values = cr.explain.derive(network(), cr.nn.BCELoss(), INPUTS, LABELS, optimizer, ITERATIONS).values
    sheets_loss, sheets_slope = sheet()
    first, last = values[0], values[-1]
    outputs = [[sample["yhat"][0][0] for sample in step["samples"]] for step in values]
    slope = first["update"]["gradient"]["2.bias"][0]
    errors, step_error = [off(step) for step in values], moved(values)
    figures = {
        "loss of the outputs 0.537, 0.517, 0.521 with labels 1, 0, 0 (nats)": sheets_loss,
        "∂L/∂b₂ of those outputs": sheets_slope,
        **{f"iteration {i}: outputs": outs for i, outs in enumerate(outputs, start=1)},
        **{f"iteration {i}: loss (nats)": step["loss"] for i, step in enumerate(values, start=1)},
        "iteration 1: ∂L/∂b₂": slope,
        "iteration 1: ∂C/∂b₂ of each sample": [sample["dC/d2.bias"][0] for sample in first["samples"]],
        "iteration 1: velocity of b₂": first["update"]["state"]["velocity"]["2.bias"][0],
        "b₂ after both iterations": last["update"]["parameters"]["2.bias"][0],
        "samples' gradients: largest difference from finite differences (share of the largest)": max(errors),
        "momentum: largest difference from the rule": step_error,
    }
    checks = {
        "the sheet's outputs and labels give L = 0.695": round(sheets_loss, 3) == 0.695,
        "and ∂L/∂b₂ = 0.19": round(sheets_slope, 2) == 0.19,
        "a whole network with our numbers has those outputs, to three digits": np.array_equal(
            np.round(outputs[0], 3), OUTPUTS[:, 0]
        ),
        "and so that loss and that gradient": (round(first["loss"], 3), round(slope, 2)) == (0.695, 0.19),
        "every sample's gradient of every parameter is the finite difference, in both iterations": max(errors) < 1e-9,
        "the samples' gradients averaged make the momentum steps, in both iterations": step_error < 1e-15,
        "the loss falls": last["loss"] < first["loss"],
    }
    return Measured(figures, checks, values)


def draw(figure: Figure, data: Any) -> None:
    """Outputs, costs and the gradients of the output layer, sample by sample, in both iterations."""
    outputs, costs, gradients = style.axes_row(figure, 3)
    samples = [f"sample {i}\n(label {int(label)})" for i, label in enumerate(LABELS[:, 0], start=1)]
    style.name(outputs, "sample", "output ŷ (probability)", "Outputs")
    style.name(costs, "sample", "cost C (nats)", "Cost of each sample, and L")
    for n, step in enumerate(data):
        label = f"iteration {n + 1}"
        style.bars(outputs, samples, [s["yhat"][0][0] for s in step["samples"]], label, n, len(data))
        style.bars(costs, samples, [s["C"] for s in step["samples"]], f"{label}: L = {step['loss']:.3f}", n, len(data))
    outputs.set_ylim(0, 1)
    costs.set_ylim(0, 1)
    _draw_gradients(gradients, data[0])
    for axes in (outputs, costs):
        style.legend(axes, loc="upper right", fontsize=9)


def _draw_gradients(axes: Any, step: dict[str, Any]) -> None:
    style.name(axes, "parameter of the output layer", "∂C/∂parameter (nats)", "Gradients in iteration 1")
    names = ["W₂, first", "W₂, second", "b₂"]
    rows = [np.array([*sample["dC/d2.weight"][0], *sample["dC/d2.bias"]]) for sample in step["samples"]]
    for n, row in enumerate(rows):
        style.bars(axes, names, row, f"sample {n + 1}", n, len(rows) + 1)
    style.bars(axes, names, np.mean(rows, axis=0), "averaged", len(rows), len(rows) + 1)
    axes.axhline(0, color="#444444", linewidth=0.8)
    style.legend(axes, loc="upper left", fontsize=9)


LAB = Lab(
    row="G",
    claim="In the solved exercise (three inputs, two SiLU units, a sigmoid output, binary cross-entropy, three "
    "samples) the outputs 0.537, 0.517, 0.521 with labels 1, 0, 0 give L = 0.695 and ∂L/∂b₂ = 0.19, and two iterations "
    "of momentum follow from every sample's own gradient.",
    look="All outputs are near ½, so each cost is near ln 2 = 0.693; that of the one sample with label 1 pulls b₂ up, "
    "the other two pull it down, each by ŷ − y, which averages to 0.19. After one step the outputs have come down, "
    "which helps two samples and hurts the first. The inputs and weights are ours, only outputs and labels are given.",
    measure=measure,
    draw=draw,
)
