"""Write the numbers of PyTorch that the tests of modules and losses compare with: `python make.py`, with PyTorch.

Everything is in float64 and without chance. The tests read the file, and run this again where PyTorch is installed.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

X = [
    [-3.0, -0.5, 0.25, 1.0],
    [2.0, 0.1, -1.5, 30.0],
    [-20.0, 0.7, 5.0, -0.01],
    [1.0, 1.0, 1.5, 0.5],
    [4.0, -6.0, 2.5, 0.3],
]
"""Rows for modules and outputs for losses."""
T = [[-1.0, 0.5, 0.25, 1.5], [2.0, 0.0, 1.5, 28.0], [-3.0, 0.7, 4.0, 0.0], [0.0, 1.0, 3.5, 0.5], [4.5, -7.5, 2.5, 1.0]]
"""Targets of losses."""
GAMMA, BETA = [1.5, -0.5, 2.0, 0.25], [0.1, 0.0, -1.0, 3.0]

# name: PyTorch's class, its positional arguments, its keywords
ACTIVATIONS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "LeakyReLU": ("LeakyReLU", (), {}),
    "LeakyReLU(0.2)": ("LeakyReLU", (0.2,), {}),
    "ELU": ("ELU", (), {}),
    "ELU(0.5)": ("ELU", (0.5,), {}),
    "SELU": ("SELU", (), {}),
    "GELU": ("GELU", (), {}),
    "GELU, tanh": ("GELU", (), {"approximate": "tanh"}),
    "Softplus": ("Softplus", (), {}),
    "Softplus(2)": ("Softplus", (2.0,), {"threshold": 200.0}),
}
NORMALIZATIONS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "LayerNorm": ("LayerNorm", (4,), {}),
    "LayerNorm, eps": ("LayerNorm", (4,), {"eps": 0.1}),
    "LayerNorm, plain": ("LayerNorm", (4,), {"elementwise_affine": False}),
    "BatchNorm": ("BatchNorm1d", (4,), {}),
    "BatchNorm, eps and momentum": ("BatchNorm1d", (4,), {"eps": 0.1, "momentum": 0.3}),
    "BatchNorm, plain": ("BatchNorm1d", (4,), {"affine": False}),
    "BatchNorm, sequences": ("BatchNorm1d", (4,), {}),
    "BatchNorm, images": ("BatchNorm2d", (4,), {}),
}
LOSSES: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    f"{name}, {reduction}": (kind, (), {**settings, "reduction": reduction})
    for name, kind, settings in (
        ("L1Loss", "L1Loss", {}),
        ("HuberLoss", "HuberLoss", {}),
        ("HuberLoss(2)", "HuberLoss", {"delta": 2.0}),
    )
    for reduction in ("mean", "sum", "none")
}


def inputs(name: str) -> Any:
    """The rows that a case is given: for sequences and images more axes behind the channels."""
    x = np.array(X)
    if name.endswith("sequences"):
        return np.stack([x, x[::-1] * 0.5, np.cos(x)], axis=2)
    if name.endswith("images"):
        return np.stack([np.stack([x, x[::-1] * 0.5], 2), np.stack([np.sin(x), np.cos(x)], 2)], 3)
    return x


def weights(shape: tuple[int, ...]) -> Any:
    """What a result is weighted by before it is summed to one number, of which the gradients are taken."""
    return np.cos(np.arange(np.prod(shape, dtype=int))).reshape(shape)


def _sloped(y: Any, **of: Any) -> dict[str, Any]:
    import torch

    (y * torch.tensor(weights(tuple(y.shape)))).sum().backward()
    return {"y": y.tolist(), **{name: t.grad.tolist() for name, t in of.items()}}


def activation(name: str) -> dict[str, Any]:
    """What PyTorch's module gives, and the gradient by x."""
    import torch

    kind, args, settings = ACTIVATIONS[name]
    x = torch.tensor(inputs(name), requires_grad=True)
    return _sloped(getattr(torch.nn, kind)(*args, **settings)(x), x=x)


def normalization(name: str) -> dict[str, Any]:
    """In training, twice (the second time on x/2 + 1): results, gradients, running statistics; then in inference."""
    import torch

    kind, args, settings = NORMALIZATIONS[name]
    module = getattr(torch.nn, kind)(*args, **settings).double()
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for name_, values in (("weight", GAMMA), ("bias", BETA)):
            if name_ in parameters:
                parameters[name_].copy_(torch.tensor(values, dtype=torch.float64))
    x = torch.tensor(inputs(name), requires_grad=True)
    found = {"train": _sloped(module(x), x=x, **parameters)}
    module(x * 0.5 + 1.0)
    found["state"] = {k: v.tolist() for k, v in module.named_buffers() if k.startswith("running")}
    module.eval()
    for tensor in (x, *parameters.values()):
        tensor.grad = None
    return {**found, "eval": _sloped(module(x), x=x, **parameters)}


def loss(name: str) -> dict[str, Any]:
    """What PyTorch's loss gives, and the gradients by output and target."""
    import torch

    kind, args, settings = LOSSES[name]
    x, t = (
        torch.tensor(X, dtype=torch.float64, requires_grad=True),
        torch.tensor(T, requires_grad=True, dtype=torch.float64),
    )
    return _sloped(getattr(torch.nn, kind)(*args, **settings)(x, t), x=x, t=t)


def everything() -> dict[str, dict[str, Any]]:
    """All cases."""
    return {
        "activations": {name: activation(name) for name in ACTIVATIONS},
        "normalizations": {name: normalization(name) for name in NORMALIZATIONS},
        "losses": {name: loss(name) for name in LOSSES},
    }


if __name__ == "__main__":
    groups = everything()
    lines = ",\n".join(
        f' "{group}": {{\n' + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in cases.items()) + "\n }"
        for group, cases in groups.items()
    )
    (Path(__file__).parent / "modules.json").write_text("{\n" + lines + "\n}\n")
