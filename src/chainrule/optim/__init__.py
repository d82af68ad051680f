"""Optimizers, schedules, penalties, clipping."""

from chainrule.optim.optimizers import SGD, Adam, AdamW, Optimizer
from chainrule.optim.penalties import L1, L2, Clip, ClipNorm, ClipValue, Penalty
from chainrule.optim.schedules import Constant, Cosine, Schedule, Step, Warmup

__all__ = [
    "L1", "L2", "SGD", "Adam", "AdamW", "Clip", "ClipNorm", "ClipValue", "Constant", "Cosine", "Optimizer", "Penalty",
    "Schedule", "Step", "Warmup",
]  # fmt: skip
