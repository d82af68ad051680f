"""Metrics: what is measured of outputs and targets while a network trains, and when it is evaluated."""

from chainrule.train.metrics.base import Metric
from chainrule.train.metrics.choice import NAMES, Function, chosen, classifies, named, regresses

__all__ = ["NAMES", "Function", "Metric", "chosen", "classifies", "named", "regresses"]
