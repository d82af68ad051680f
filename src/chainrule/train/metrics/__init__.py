"""Metrics: what is measured of outputs and targets while a network trains, and when it is evaluated."""

from chainrule.train.metrics.metric import Metric
from chainrule.train.metrics.metric_choice import (
    NAMES,
    Function,
    MetricSpec,
    by_output,
    chosen,
    classifies,
    is_better_greater,
    metric_name,
    regresses,
)

__all__ = [
    "NAMES",
    "Function",
    "Metric",
    "MetricSpec",
    "by_output",
    "chosen",
    "classifies",
    "is_better_greater",
    "metric_name",
    "regresses",
]
