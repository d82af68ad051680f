"""The recipe for a table where the user has not said otherwise. `benchmarks/defaults.py` measures it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import chainrule as cr
from chainrule.cli.options import Options

if TYPE_CHECKING:
    from chainrule.nn.module import Module
    from chainrule.optim.schedules import Schedule

LAYERS = [128, 64]
STEPS = 2000
"""About how many updates a network of this size needs; small tables are gone through more often for it."""
LEAST_EPOCHS, MOST_EPOCHS = 40, 200
PATIENCE = 20
"""Epochs without a better validation loss before the training stops."""
DROPOUT = {"classify": 0.2, "regress": 0.0}
"""Dropout adds noise to a number that is predicted, where there is much data more than it gains."""
SMOOTHING = 0.05
"""Labels a little uncertain: without it the validation loss turns upwards long before the errors do."""
RATES = {
    "adam": 3e-3, "adamw": 3e-3, "adamax": 1e-2, "nadam": 3e-3, "sgd": 0.1, "momentum": 0.02, "nesterov": 0.02,
    "adagrad": 0.03, "rmsprop": 1e-3, "adadelta": 1.0, "lbfgs": 1.0,
}  # fmt: skip


def complete(options: Options, task: str, rows: int) -> Options:
    """The options with a default for each that was not given.

    Args:
        options: what was given.
        task: "classify" or "regress".
        rows: how many rows there are to train on.

    Example:
        >>> chosen = complete(Options(lr=0.01), "classify", 1000)
        >>> chosen.lr, chosen.layers, chosen.batch_size, chosen.epochs
        (0.01, [128, 64], 32, 63)
    """
    optimizer = options.optimizer or "adam"
    # What reads curvature from its steps wants all rows in each, the same network throughout, and its own step length.
    full_batch = optimizer == "lbfgs"
    batch_size = options.batch_size or (rows if full_batch else batch(rows))
    steps_per_epoch = math.ceil(rows / min(batch_size, rows))
    defaults: dict[str, Any] = {
        "task": task,
        "layers": LAYERS,
        "activation": "silu",
        "epochs": min(max(math.ceil(STEPS / steps_per_epoch), LEAST_EPOCHS), MOST_EPOCHS),
        "batch_size": batch_size,
        "lr": RATES[optimizer],
        "optimizer": optimizer,
        "schedule": "constant" if full_batch else "cosine",
        "dropout": 0.0 if full_batch else DROPOUT[task],
        "l1": 0.0,
        "l2": 0.0,
        "backend": "auto",
        "precision": "float32",
        "device": "auto",
        "seed": 0,
    }
    return Options(**{**defaults, **options.given()})


def batch(rows: int) -> int:
    """A batch size: 32 for small tables, up to 512 where there are many rows.

    Example:
        >>> batch(1000), batch(50_000), batch(10**7)
        (32, 128, 512)
    """
    return min(max(2 ** round(math.log2(max(rows, 1) / 400)), 32), 512)


def trainer(options: Options, inputs: int, outputs: int) -> cr.Trainer:
    """A trainer for complete options: `inputs` features, `outputs` classes (or one number)."""
    assert options.lr is not None
    assert options.optimizer is not None
    cr.seed(options.seed or 0)
    classify = options.task == "classify"
    optimizers: dict[str, Any] = {
        "adam": cr.optim.Adam,
        "adamw": cr.optim.AdamW,
        "adamax": cr.optim.Adamax,
        "nadam": cr.optim.Nadam,
        "sgd": cr.optim.SGD,
        "momentum": lambda lr: cr.optim.SGD(lr, momentum=0.9),
        "nesterov": lambda lr: cr.optim.SGD(lr, momentum=0.9, nesterov=True),
        "adagrad": cr.optim.AdaGrad,
        "rmsprop": cr.optim.RMSProp,
        "adadelta": cr.optim.Adadelta,
        "lbfgs": cr.optim.LBFGS,
    }
    penalty = [kind(alpha) for kind, alpha in ((cr.optim.L1, options.l1), (cr.optim.L2, options.l2)) if alpha]
    return cr.Trainer(
        network(options, inputs, outputs),
        cr.nn.CrossEntropyLoss(label_smoothing=SMOOTHING) if classify else cr.nn.MSELoss(),
        optimizers[options.optimizer](options.lr),
        schedule=_schedule(options),
        penalty=penalty or None,
        metrics=("accuracy",) if classify else ("r2",),
        backend=options.backend or "auto",
        precision=options.precision or "float32",
        seed=options.seed or 0,
        device=options.device or "auto",
    )


def network(options: Options, inputs: int, outputs: int) -> Module:
    """Linear layers with an activation and dropout between them.

    Weights start as Glorot and Bengio (2010) have it, which for few inputs are small, so that the network starts close
    to a linear one; those of the last layer start at 0, so that no class is favoured before the first step.
    """
    activations: dict[str, type[Module]] = {
        "silu": cr.nn.SiLU, "relu": cr.nn.ReLU, "leaky_relu": cr.nn.LeakyReLU, "elu": cr.nn.ELU, "selu": cr.nn.SELU,
        "gelu": cr.nn.GELU, "softplus": cr.nn.Softplus, "tanh": cr.nn.Tanh, "sigmoid": cr.nn.Sigmoid,
    }  # fmt: skip
    layers: list[Module] = []
    width = inputs
    for hidden in options.layers or []:
        layers += [cr.nn.Linear(width, hidden, init="xavier_uniform"), activations[options.activation or "silu"]()]
        if options.dropout:
            layers.append(cr.nn.Dropout(options.dropout))
        width = hidden
    return cr.nn.Sequential(*layers, cr.nn.Linear(width, outputs, init="zeros"))


def _schedule(options: Options) -> Schedule:
    schedules: dict[str | None, Any] = {
        "cosine": cr.optim.Cosine,
        "constant": cr.optim.Constant,
        "step": lambda: cr.optim.Step(every=max((options.epochs or 1) // 3, 1)),
        "exponential": lambda: cr.optim.Exponential(0.01 ** (1 / (options.epochs or 1))),
        "linear": cr.optim.Linear,
        "onecycle": cr.optim.OneCycle,
        "warmup": lambda: cr.optim.Warmup(cr.optim.Cosine()),
        "plateau": lambda: cr.optim.ReduceOnPlateau(patience=PATIENCE // 4),
    }
    found: Schedule = schedules[options.schedule]()
    return found
