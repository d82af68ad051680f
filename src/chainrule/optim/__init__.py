"""Optimizers, schedules, penalties, clipping: what each module of the package exports."""

from chainrule.optim import adam, adaptive, lbfgs, lr_schedules, optimizer, penalties, plateau, sgd
from chainrule.optim.adam import *  # noqa: F403
from chainrule.optim.adaptive import *  # noqa: F403
from chainrule.optim.lbfgs import *  # noqa: F403
from chainrule.optim.lr_schedules import *  # noqa: F403
from chainrule.optim.optimizer import *  # noqa: F403
from chainrule.optim.penalties import *  # noqa: F403
from chainrule.optim.plateau import *  # noqa: F403
from chainrule.optim.sgd import *  # noqa: F403

__all__: list[str] = []
__all__ += adam.__all__
__all__ += adaptive.__all__
__all__ += optimizer.__all__
__all__ += lbfgs.__all__
__all__ += penalties.__all__
__all__ += plateau.__all__
__all__ += lr_schedules.__all__
__all__ += sgd.__all__
