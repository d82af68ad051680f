"""Modules and losses against PyTorch's numbers, of golden/make.py."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

GOLDEN = Path(__file__).parent / "golden"
MAKE = runpy.run_path(str(GOLDEN / "make.py"))
THEIRS: dict[str, dict[str, Any]] = json.loads((GOLDEN / "modules.json").read_text())

# What the cases are called here.
OURS: dict[str, Callable[[], Any]] = {
    "LeakyReLU": nn.LeakyReLU,
    "LeakyReLU(0.2)": lambda: nn.LeakyReLU(0.2),
    "ELU": nn.ELU,
    "ELU(0.5)": lambda: nn.ELU(0.5),
    "SELU": nn.SELU,
    "GELU": nn.GELU,
    "GELU, tanh": lambda: nn.GELU("tanh"),
    "Softplus": nn.Softplus,
    "Softplus(2)": lambda: nn.Softplus(2.0),
    "LayerNorm": lambda: nn.LayerNorm(4),
    "LayerNorm, eps": lambda: nn.LayerNorm(4, eps=0.1),
    "LayerNorm, plain": lambda: nn.LayerNorm(4, affine=False),
    "BatchNorm": lambda: nn.BatchNorm(4),
    "BatchNorm, eps and momentum": lambda: nn.BatchNorm(4, eps=0.1, momentum=0.3),
    "BatchNorm, plain": lambda: nn.BatchNorm(4, affine=False),
    "BatchNorm, sequences": lambda: nn.BatchNorm(4),
    "BatchNorm, images": lambda: nn.BatchNorm(4),
    "L1Loss": nn.L1Loss,
    "HuberLoss": nn.HuberLoss,
    "HuberLoss(2)": nn.HuberLoss,
}


def double(module: nn.Module) -> nn.Module:
    """The module with its state in float64."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.dtype = np.dtype(np.float64)
        tensor.value = np.asarray(tensor.detach(), np.float64)
    return module


def sloped(f: Callable[..., Any], *xs: Any) -> tuple[Any, Any]:
    """What f gives, and the gradients of its weighted sum by all of xs."""
    y = f(*xs)
    return y, cr.grad(lambda *xs: cr.sum(f(*xs) * MAKE["weights"](y.shape)), range(len(xs)))(*xs)


def close(ours: Any, theirs: Any, what: str = "") -> None:
    np.testing.assert_allclose(np.asarray(cr.as_tensor(ours).detach()), theirs, rtol=1e-10, atol=1e-12, err_msg=what)


def check_activation(name: str, theirs: Any) -> None:
    y, (slope,) = sloped(OURS[name](), MAKE["inputs"](name))
    close(y, theirs["y"])
    close(slope, theirs["x"])


def check_normalization(name: str, theirs: Any) -> None:
    layer, x = double(OURS[name]()), MAKE["inputs"](name)
    if layer.affine:
        layer.load_state_dict({**layer.state_dict(), "weight": MAKE["GAMMA"], "bias": MAKE["BETA"]})
    check_mode(layer, x, theirs["train"])
    # The gradient was taken by running the layer a second time, so the running statistics begin anew.
    layer.load_state_dict({**layer.state_dict(), **double(OURS[name]()).state_dict(), **dict(layer.named_parameters())})
    layer(x)
    layer(x * 0.5 + 1.0)
    assert {path for path, _ in layer.named_buffers()} == set(theirs["state"])
    for path, buffer in layer.named_buffers():
        close(buffer, theirs["state"][path], path)
    check_mode(layer.eval(), x, theirs["eval"])


def check_mode(layer: nn.Module, x: Any, theirs: Any) -> None:
    y, (gradients, slope) = sloped(lambda layer, x: layer(x), layer, x)
    close(y, theirs["y"])
    close(slope, theirs["x"])
    assert set(gradients) == set(theirs) - {"x", "y"}
    for path, g in gradients.items():
        close(g, theirs[path], path)


def check_loss(name: str, theirs: Any) -> None:
    kind, reduction = name.split(", ")
    loss = OURS[kind](reduction, **({"delta": 2.0} if kind.endswith("(2)") else {}))
    y, slopes = sloped(loss, np.array(MAKE["X"]), np.array(MAKE["T"]))
    close(y, theirs["y"])
    for g, operand in zip(slopes, "xt", strict=True):
        close(g, theirs[operand], operand)


CHECKS = {"activations": check_activation, "normalizations": check_normalization, "losses": check_loss}


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in CHECKS for name in THEIRS[group]])
def test_forward_and_gradient_are_those_of_pytorch(group: str, name: str) -> None:
    CHECKS[group](name, THEIRS[group][name])


def test_every_case_is_tried() -> None:
    cases = [*MAKE["ACTIVATIONS"], *MAKE["NORMALIZATIONS"], *MAKE["LOSSES"]]
    assert sorted(cases) == sorted(name for group in THEIRS.values() for name in group)
    assert set(OURS) == {name.split(", ")[0] if "Loss" in name else name for name in cases}


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(3))
def test_forward_and_gradient_agree_with_pytorch_live_at_other_points(seed: int, monkeypatch: Any) -> None:
    pytest.importorskip("torch", reason="needs PyTorch")
    rng = np.random.default_rng(seed)
    scope = MAKE["inputs"].__globals__
    for name in ("X", "T"):
        values = rng.normal(size=(5, 4)) * rng.choice([0.1, 1.0, 10.0], size=(5, 4))
        monkeypatch.setitem(scope, name, values.tolist())
        monkeypatch.setitem(MAKE, name, values.tolist())
    for group, cases in scope["everything"]().items():
        for name, theirs in cases.items():
            CHECKS[group](name, theirs)
