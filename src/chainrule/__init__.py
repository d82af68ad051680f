"""chainrule: trains neural networks by backpropagation, on an engine of its own, and shows its work."""

from chainrule import nn, optim, passes
from chainrule.autodiff import check_grad, grad, hessian, jacobian, jvp, per_example_grad, value_and_grad, vjp
from chainrule.backends.compile import compile
from chainrule.errors import ChainruleError, GradientMismatch
from chainrule.graph import Graph, Tensor, functions, no_grad, tensor, trace
from chainrule.graph.functions import *  # noqa: F403  # every function of tensors is public under its own name
from chainrule.nn.random import seed
from chainrule.train import History, Trainer

__version__ = "0.1.0"

__all__ = [
    "ChainruleError", "GradientMismatch", "Graph", "History", "Tensor", "Trainer", "check_grad", "compile", "grad",
    "hessian", "jacobian", "jvp", "nn", "no_grad", "optim", "passes", "per_example_grad", "seed", "tensor", "trace",
    "value_and_grad", "vjp", *functions.__all__,
]  # fmt: skip
