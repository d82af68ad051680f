"""Derivatives: the table of rules, the reversal, and the transforms built on it."""

from chainrule.autodiff.check import check_grad
from chainrule.autodiff.transforms import grad, hessian, jacobian, jvp, per_example_grad, value_and_grad, vjp

__all__ = ["check_grad", "grad", "hessian", "jacobian", "jvp", "per_example_grad", "value_and_grad", "vjp"]
