"""Training: the step as one graph, the epochs as one program, and what surrounds them."""

from chainrule.train.callbacks import Callback, EarlyStopping
from chainrule.train.history import History
from chainrule.train.sweep.result import SweepResult, Trial
from chainrule.train.sweep.sweep import Sweep
from chainrule.train.trainer import Trainer

__all__ = ["Callback", "EarlyStopping", "History", "Sweep", "SweepResult", "Trainer", "Trial"]
