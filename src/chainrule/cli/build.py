"""Complete options made into a network and its trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import chainrule as cr
from chainrule.cli.choices import ACTIVATIONS, OPTIMIZERS, SCHEDULES
from chainrule.cli.defaults import SMOOTHING

if TYPE_CHECKING:
    from chainrule.cli.options import Options
    from chainrule.nn.module import Module

Value = TypeVar("Value")


def trainer(options: Options, inputs: int, outputs: int) -> cr.Trainer:
    """A trainer for complete options: `inputs` features, `outputs` classes (or one number)."""
    cr.seed(_chosen(options.seed))
    classify = options.task == "classify"
    penalty = [kind(alpha) for kind, alpha in ((cr.optim.L1, options.l1), (cr.optim.L2, options.l2)) if alpha]
    return cr.Trainer(
        network(options, inputs, outputs),
        cr.nn.CrossEntropyLoss(label_smoothing=SMOOTHING) if classify else cr.nn.MSELoss(),
        OPTIMIZERS[_chosen(options.optimizer)].make(_chosen(options.lr)),
        schedule=SCHEDULES[_chosen(options.schedule)](_chosen(options.epochs)),
        penalty=penalty or None,
        # Codes of categories are whole numbers, as large as there are levels.
        normalize="feature",
        metrics=("accuracy",) if classify else ("r2",),
        backend=_chosen(options.backend),
        precision=_chosen(options.precision),
        seed=_chosen(options.seed),
        device=_chosen(options.device),
    )


def network(options: Options, inputs: int, outputs: int) -> Module:
    """Linear layers with an activation and dropout between them.

    Weights start as Glorot and Bengio (2010) have it, which for few inputs are small, so that the network starts close
    to a linear one; those of the last layer start at 0, so that no class is favoured before the first step.
    """
    layers: list[Module] = []
    width = inputs
    for hidden in _chosen(options.layers):
        layers += [cr.nn.Linear(width, hidden, init="xavier_uniform"), ACTIVATIONS[_chosen(options.activation)]()]
        if options.dropout:
            layers.append(cr.nn.Dropout(options.dropout))
        width = hidden
    return cr.nn.Sequential(*layers, cr.nn.Linear(width, outputs, init="zeros"))


def _chosen(value: Value | None) -> Value:
    assert value is not None, "the options are complete"
    return value
