"""Write the numbers of PyTorch that the tests of optimizers and schedules compare with: `python make.py`, with PyTorch.

Everything is in float64 and without chance. The tests read the files, and run this again where PyTorch is installed.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

START = [1.0, -2.0, 3.0]
CHECKED = [1, 2, 3, 10, 50, 100]
"""The steps of which the weights are kept."""


def slope(w: Any) -> Any:
    """The gradient of Σ cᵢwᵢ²/2 + sin wᵢ + w₁w₂/2."""
    w = np.asarray(w)
    return np.array([1.0, 10.0, 0.1]) * w + np.cos(w) + 0.5 * np.array([w[1], w[0], 0.0])


def cosine(step: int) -> float:
    """A rate that falls to a tenth."""
    return 0.1 + 0.9 * (1 + math.cos(math.pi * min(step / 100, 1))) / 2


def warm(step: int) -> float:
    """A rate that rises over ten steps."""
    return (step + 1) / 10 if step < 10 else 1.0


def falling(step: int) -> float:
    """A rate that is halved every thirty steps."""
    return 0.5 ** (step // 30)


def losses() -> list[float]:
    """Losses that fall, stay and wobble."""
    return [2.0 * 0.9**t + 0.3 * math.sin(t) ** 2 + (0.2 if t > 25 else 0.0) for t in range(60)]


ONE_STEP = {"max_iter": 1, "tolerance_grad": 0.0, "tolerance_change": 0.0}
RATES = {"cosine": cosine, "warm": warm, "falling": falling}

# name: PyTorch's class, its arguments, the factor on its rate
OPTIMIZERS: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "SGD": ("SGD", {"lr": 0.05}, None),
    "SGD, cosine": ("SGD", {"lr": 0.05}, "cosine"),
    "SGD, L2": ("SGD", {"lr": 0.05, "weight_decay": 0.2}, None),
    "momentum": ("SGD", {"lr": 0.02, "momentum": 0.9}, None),
    "momentum, L2": ("SGD", {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.2}, None),
    "Nesterov": ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}, None),
    "Nesterov, L2": ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True, "weight_decay": 0.2}, None),
    "AdaGrad": ("Adagrad", {"lr": 0.3}, None),
    "AdaGrad with other numbers, L2": (
        "Adagrad",
        {"lr": 0.2, "eps": 0.01, "initial_accumulator_value": 0.5, "weight_decay": 0.2},
        None,
    ),
    "RMSProp": ("RMSprop", {"lr": 0.03, "alpha": 0.9}, None),
    "RMSProp, warm, L2": ("RMSprop", {"lr": 0.02, "alpha": 0.8, "eps": 0.1, "weight_decay": 0.2}, "warm"),
    "RMSProp, momentum, falling": ("RMSprop", {"lr": 0.01, "alpha": 0.9, "momentum": 0.7}, "falling"),
    "RMSProp, centred": ("RMSprop", {"lr": 0.01, "alpha": 0.95, "centered": True, "eps": 1e-2}, None),
    "RMSProp, centred, momentum": (
        "RMSprop",
        {"lr": 0.005, "alpha": 0.95, "centered": True, "momentum": 0.5, "eps": 1e-2},
        None,
    ),
    "Adadelta": ("Adadelta", {"lr": 1.0}, None),
    "Adadelta with other numbers, L2": ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.2}, None),
    "Adam": ("Adam", {"lr": 0.03}, None),
    "Adam, warm": ("Adam", {"lr": 0.03}, "warm"),
    "Adam with other numbers, L2": (
        "Adam",
        {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.2},
        None,
    ),
    "AdamW": ("AdamW", {"lr": 0.03, "weight_decay": 0.1}, None),
    "AdamW, falling": ("AdamW", {"lr": 0.03, "weight_decay": 0.1}, "falling"),
    "Adamax": ("Adamax", {"lr": 0.05}, None),
    "Adamax with other numbers, L2": (
        "Adamax",
        {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-2, "weight_decay": 0.2},
        None,
    ),
    "Nadam": ("NAdam", {"lr": 0.03}, None),
    "Nadam with other numbers, cosine, L2": (
        "NAdam",
        {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-3, "momentum_decay": 0.1, "weight_decay": 0.2},
        "cosine",
    ),
    "LBFGS": ("LBFGS", {"lr": 0.05, "history_size": 10, **ONE_STEP}, None),
    "LBFGS, short history, falling": ("LBFGS", {"lr": 0.05, "history_size": 2, **ONE_STEP}, "falling"),
}

# name: PyTorch's arguments; the losses are those of `losses`
PLATEAUS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "impatient": {"factor": 0.5, "patience": 1},
    "with a rest": {"factor": 0.5, "patience": 0, "cooldown": 3},
    "with a bound": {"factor": 0.3, "patience": 2, "min_lr": 0.05},
    "hard to please": {"factor": 0.5, "patience": 2, "threshold": 0.2},
}

# name: PyTorch's class, its arguments, how many steps
SCHEDULES: dict[str, tuple[str, dict[str, Any], int]] = {
    "Step": ("StepLR", {"step_size": 3, "gamma": 0.5}, 12),
    "Exponential": ("ExponentialLR", {"gamma": 0.9}, 30),
    "Linear": ("LinearLR", {"start_factor": 1.0, "end_factor": 0.2, "total_iters": 10}, 14),
    "Linear to 0": ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 7}, 10),
    "Cosine": ("CosineAnnealingLR", {"T_max": 12, "eta_min": 0.25}, 13),
    "OneCycle": ("OneCycleLR", {"max_lr": 1.0, "total_steps": 40, "cycle_momentum": False}, 40),
    "OneCycle with other numbers": (
        "OneCycleLR",
        {
            "max_lr": 1.0,
            "total_steps": 25,
            "pct_start": 0.55,
            "div_factor": 4.0,
            "final_div_factor": 10.0,
            "cycle_momentum": False,
        },
        25,
    ),
}


def trajectory(name: str) -> list[list[float]]:
    """The weights after every one of 100 steps."""
    import torch

    kind, arguments, factor = OPTIMIZERS[name]
    # NAdam keeps the product of its momenta in the default precision, whatever that of the weights.
    torch.set_default_dtype(torch.float64)
    w = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = getattr(torch.optim, kind)([w], **arguments)
    found = []
    for step in range(100):
        if factor is not None:
            optimizer.param_groups[0]["lr"] = arguments["lr"] * RATES[factor](step)
        w.grad = torch.tensor(slope(w.detach().numpy()))
        optimizer.step(lambda: torch.zeros(()))
        found.append(w.detach().tolist())
    torch.set_default_dtype(torch.float32)
    return found


def factors(name: str) -> list[float]:
    """The factor at every step."""
    import torch

    kind, arguments, steps = SCHEDULES[name]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = getattr(torch.optim.lr_scheduler, kind)(optimizer, **arguments)
    found = []
    for _ in range(steps):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return found


def reductions(name: str) -> list[float]:
    """The factor after each of the losses."""
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **PLATEAUS[name])
    found = []
    for loss in losses():
        scheduler.step(loss)
        found.append(float(optimizer.param_groups[0]["lr"]))
    return found


if __name__ == "__main__":
    kept = {name: [trajectory(name)[step - 1] for step in CHECKED] for name in OPTIMIZERS}
    for file, content in (
        ("optimizers", kept),
        ("schedules", {name: factors(name) for name in SCHEDULES}),
        ("plateaus", {name: reductions(name) for name in PLATEAUS}),
    ):
        lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(values)}" for name, values in content.items())
        (Path(__file__).parent / f"{file}.json").write_text("{\n" + lines + "\n}\n")
