"""What a training goes on from, besides the arrays that its model holds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from chainrule.nn.module import Parameter
from chainrule.optim.plateau import Plateau
from chainrule.train.history import History
from chainrule.train.structures import Standardizers


@dataclass
class Best:
    """The best epoch so far, from 1 (0: none yet): its value, the name of that, and its parameters by path."""

    value: float = math.inf
    epoch: int = 0
    monitor: str = "val_loss"
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass
class Position:
    """Where a training stands, besides what its trainer holds.

    Attributes:
        best: the best epoch so far.
        record: the leaves of what the steps done in the epoch under way have recorded, laid end to end; none where
            there are no such steps.
        layout: what the order of the steps follows from (rows, batch size, …), by the name of the argument.
    """

    best: Best = field(default_factory=Best)
    record: list[Any] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)


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
        position: where the training under way stands, while its callbacks are called with the model.
    """

    steps: int = 0
    epochs: int = 0
    optimizer: Any = None
    optimized: dict[str, Parameter] = field(default_factory=dict)
    plateau: Plateau = field(default_factory=Plateau)
    standardizer: Standardizers = None
    history: History = field(default_factory=History)
    position: Position | None = None
