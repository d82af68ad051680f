"""Complete settings made into networks side by side and their trainer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from chainrule import nn, optim
from chainrule.data import Feature
from chainrule.graph.random import seeded
from chainrule.nn.losses import Loss
from chainrule.nn.module import Module
from chainrule.tabular.choices import ACTIVATIONS, OPTIMIZERS, SCHEDULES
from chainrule.tabular.metrics import watched
from chainrule.tabular.settings import Settings
from chainrule.train.memory_estimate import check_parameters
from chainrule.train.trainer import Trainer

EMBEDDING = 8
"""The length of the vector that stands for a level of a large category."""
FEWEST = {"classify": 10, "regress": 3}
"""Rows that a level needs for a vector of its own: a label says less than a number."""


def trainer(settings: Settings, task: str, layout: Sequence[Feature], outputs: int, members: int) -> Trainer:
    """A trainer for complete settings: `outputs` classes, or one number, from each of `members` networks."""
    chosen: Any = settings
    penalty = [kind(alpha) for kind, alpha in ((optim.L1, chosen.l1), (optim.L2, chosen.l2)) if alpha]
    labels = task == "classify"
    check_parameters(members * _parameters(settings, layout, outputs))
    metric = watched(chosen.metric or [])
    loss = nn.CrossEntropyLoss("none") if labels else _loss_of_numbers(chosen.metric)
    with seeded(chosen.seed):
        return Trainer(
            network(settings, task, layout, outputs, members), nn.EnsembleLoss(loss, labels),
            OPTIMIZERS[chosen.optimizer].make(chosen.lr), SCHEDULES[chosen.schedule](chosen.epochs),
            penalty=penalty or None, metrics=() if metric is None else (metric,), backend=chosen.backend,
            precision=chosen.precision, seed=chosen.seed, device=chosen.device,
        )  # fmt: skip


def _parameters(settings: Settings, layout: Sequence[Feature], outputs: int) -> int:
    """About how many parameters one network has: known before it is made, since making it may take all memory."""
    chosen: Any = settings
    size = {"number": 1 + chosen.bins, "code": EMBEDDING}
    widths = [sum(size.get(f.kind, f.width) for f in layout), *chosen.layers, outputs]
    levels = sum(feature.levels for feature in layout if feature.kind == "code")
    return EMBEDDING * levels + sum(a * b for a, b in pairwise(widths))


def _loss_of_numbers(metric: list[str] | None) -> Loss:
    return nn.L1Loss("none") if metric and metric[0] == "mae" else nn.MSELoss("none")


def network(settings: Settings, task: str, layout: Sequence[Feature], outputs: int, members: int) -> nn.Sequential:
    """Linear layers with an activation and dropout between them, for each member.

    Weights start as Glorot and Bengio (2010) have it, which for few inputs are small, so that the network starts close
    to a linear one; those of the last layer start at 0, so that no class is favoured before the first step.
    """
    chosen: Any = settings
    feed = nn.EnsembleInput(
        members, sum(feature.width for feature in layout),
        [feature.start for feature in layout if feature.kind == "number"],
        [feature.start for feature in layout if feature.kind == "code"],
        [feature.levels for feature in layout if feature.kind == "code"],
        chosen.bins, EMBEDDING, FEWEST[task],
    )  # fmt: skip
    layers: list[Module] = [feed]
    width = feed.out_features
    for hidden in chosen.layers:
        layers += [nn.LinearEnsemble(members, width, hidden, init="xavier_uniform"), ACTIVATIONS[chosen.activation]()]
        if chosen.dropout:
            layers.append(nn.Dropout(chosen.dropout))
        width = hidden
    return nn.Sequential(*layers, nn.LinearEnsemble(members, width, outputs, init="zeros"), nn.EnsembleOutput())


def fit_pieces(trainer: Trainer, X: np.ndarray[Any, Any]) -> None:
    """Fit the pieces of the numbers to the rows to train on."""
    model: Any = trainer.model
    model[0].fit(X)
