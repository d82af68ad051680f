"""What a training goes on from, besides the arrays that its model holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chainrule.nn.module import Parameter
from chainrule.optim.plateau import Plateau
from chainrule.train.history import History
from chainrule.train.structures import Standardizers


@dataclass
class TrainState:
    """Where trainings so far have led.

    Attributes:
        steps, epochs: done ever.
        optimizer: the optimizer's state by path; None where there is none.
        optimized: the parameters that it is of, by path.
        plateau: what a schedule that observes the losses makes of them.
        standardizer: of the features; None until the first training, and where they are taken as they are.
        history: of the last training.
    """

    steps: int = 0
    epochs: int = 0
    optimizer: Any = None
    optimized: dict[str, Parameter] = field(default_factory=dict)
    plateau: Plateau = field(default_factory=Plateau)
    standardizer: Standardizers = None
    history: History = field(default_factory=History)
