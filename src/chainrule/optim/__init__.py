"""Optimizers, schedules, penalties, clipping."""

from chainrule.optim.adam import Adam, Adamax, AdamW, Nadam
from chainrule.optim.adaptive import Adadelta, AdaGrad, RMSProp
from chainrule.optim.base import Optimizer
from chainrule.optim.lbfgs import LBFGS
from chainrule.optim.penalties import L1, L2, Clip, ClipNorm, ClipValue, Penalty
from chainrule.optim.plateau import ReduceOnPlateau
from chainrule.optim.schedules import (
    Constant,
    Cosine,
    Exponential,
    Linear,
    OneCycle,
    Schedule,
    Step,
    Warmup,
)
from chainrule.optim.sgd import SGD

__all__ = [
    "L1", "L2", "LBFGS", "SGD", "AdaGrad", "Adadelta", "Adam", "AdamW", "Adamax", "Clip", "ClipNorm", "ClipValue",
    "Constant", "Cosine", "Exponential", "Linear", "Nadam", "OneCycle", "Optimizer", "Penalty", "RMSProp",
    "ReduceOnPlateau", "Schedule", "Step", "Warmup",
]  # fmt: skip
