"""Training: the step as one graph, the epochs as one program, and what surrounds them."""

from chainrule.train.callbacks import Callback, EarlyStopping
from chainrule.train.history import History
from chainrule.train.sweeps.members import Member, SweepResult
from chainrule.train.sweeps.sweep import Sweep
from chainrule.train.trainer import Trainer

__all__ = ["Callback", "EarlyStopping", "History", "Member", "Sweep", "SweepResult", "Trainer"]
