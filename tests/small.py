"""Small data, networks and trainers that the tests of training share."""

from typing import Any

import numpy as np

import chainrule as cr
from chainrule import nn, optim

Array = np.ndarray[Any, Any]
ROWS, COLUMNS, CLASSES = 50, 4, 3
QUIET: dict[str, Any] = {"progress": False}


def table(rows: int = ROWS, seed: int = 0) -> tuple[Array, Array]:
    """Rows of three classes that a small network can tell apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, rows)
    centres = np.array([[2.0, 0, 0, 1], [0, 2.0, 0, -1], [0, 0, 2.0, 0]])
    return (centres[y] + rng.normal(size=(rows, COLUMNS))).astype(np.float32), y


def numbers(rows: int = ROWS, seed: int = 0, width: int = 1) -> tuple[Array, Array]:
    """Rows with targets (rows, width) that depend smoothly on them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, COLUMNS)).astype(np.float32)
    W = rng.normal(size=(COLUMNS, width))
    return X, (np.sin(X @ W) + 0.1 * rng.normal(size=(rows, width))).astype(np.float32)


def network(*inside: nn.Module, out: int = CLASSES, seed: int = 0) -> nn.Sequential:
    """One hidden layer of eight tanh units, and what is put behind it."""
    cr.seed(seed)
    return nn.Sequential(nn.Linear(COLUMNS, 8), nn.Tanh(), *inside, nn.Linear(8, out))


def classifier(*inside: nn.Module, optimizer: optim.Optimizer | None = None, **settings: Any) -> cr.Trainer:
    """A trainer of the network for classes, on NumPy unless told otherwise."""
    return cr.Trainer(
        network(*inside), nn.CrossEntropyLoss(), optimizer or optim.Adam(0.02), **{"backend": "numpy", **settings}
    )


def regressor(optimizer: optim.Optimizer | None = None, width: int = 1, **settings: Any) -> cr.Trainer:
    """A trainer of the network for numbers, on NumPy unless told otherwise."""
    return cr.Trainer(
        network(out=width), nn.MSELoss(), optimizer or optim.Adam(0.02), **{"backend": "numpy", **settings}
    )


def parameters(trainer: cr.Trainer) -> Array:
    """All parameters of a trainer's model as one vector."""
    return np.concatenate([p.ravel() for p in trainer.model.state_dict().values()])


def same(first: cr.Trainer, second: cr.Trainer) -> bool:
    """Whether two trainers hold the same parameters, bit for bit."""
    return parameters(first).tobytes() == parameters(second).tobytes()
