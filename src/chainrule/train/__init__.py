"""Training: the step as a graph, the epoch as a program, the loop around it."""

from chainrule.train.history import History
from chainrule.train.trainer import Trainer

__all__ = ["History", "Trainer"]
