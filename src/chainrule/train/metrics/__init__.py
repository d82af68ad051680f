"""Metrics: what is measured of outputs and targets while a network trains, and when it is evaluated."""

from chainrule.train.metrics.base import Metric
from chainrule.train.metrics.choice import (
    NAMES,
    Function,
    Wanted,
    by_output,
    chosen,
    classifies,
    is_better_greater,
    named,
    regresses,
)

__all__ = [
    "NAMES",
    "Function",
    "Metric",
    "Wanted",
    "by_output",
    "chosen",
    "classifies",
    "is_better_greater",
    "named",
    "regresses",
]
