"""chainrule: trains neural networks by backpropagation, on an engine of its own, and shows its work."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from chainrule import passes
from chainrule.autodiff import check_grad, grad, hessian, jacobian, jvp, per_example_grad, value_and_grad, vjp
from chainrule.backends import interpreter as _interpreter  # noqa: F401  # tensors compute through it
from chainrule.backends.compile import compile
from chainrule.backends.mismatch import verify
from chainrule.errors import ChainruleError, CompilerMismatch, CompilerWarning, GradientMismatch
from chainrule.graph import Graph, Tensor, functions, linalg, no_grad, random, tensor, trace
from chainrule.graph.functions import *  # noqa: F403  # every function of tensors is public under its own name
from chainrule.graph.loop import loop
from chainrule.graph.random import seed
from chainrule.graph.scan import scan

if TYPE_CHECKING:
    from chainrule import data, explain, lab, nn, optim
    from chainrule.train import Callback, EarlyStopping, History, Sweep, Trainer

__version__ = "0.1.0"

__all__ = [
    "Callback", "ChainruleError", "CompilerMismatch", "CompilerWarning", "EarlyStopping", "GradientMismatch", "Graph",
    "History", "Sweep", "Tensor", "Trainer", "check_grad", "compile", "data", "explain", "grad", "hessian",
    "jacobian", "jvp", "lab", "linalg", "loop", "nn", "no_grad", "optim", "passes", "per_example_grad", "random",
    "scan", "seed", "tensor", "trace", "value_and_grad", "verify", "vjp",
    *functions.__all__,
]  # fmt: skip

# The upper floors are loaded when they are first asked for, so that importing chainrule costs little more than NumPy.
_LATER = {
    "data": ("chainrule.data", None),
    "explain": ("chainrule.explain", None),
    "lab": ("chainrule.lab", None),
    "nn": ("chainrule.nn", None),
    "optim": ("chainrule.optim", None),
    "Callback": ("chainrule.train", "Callback"),
    "EarlyStopping": ("chainrule.train", "EarlyStopping"),
    "History": ("chainrule.train", "History"),
    "Sweep": ("chainrule.train", "Sweep"),
    "Trainer": ("chainrule.train", "Trainer"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'chainrule' has no attribute {name!r}")
    module, attribute = _LATER[name]
    loaded = importlib.import_module(module)
    value = globals()[name] = loaded if attribute is None else getattr(loaded, attribute)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
