"""Which loader the rows that `fit` is given need: arrays in memory, a stream from a file, or batches as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.data.streams import Stream
from chainrule.errors import ArgumentError
from chainrule.optim.optimizer import Optimizer
from chainrule.train import checks
from chainrule.train.loaders import given_batches, stream
from chainrule.train.loaders.data_loader import DataLoader
from chainrule.train.loaders.in_memory import Weights, in_memory

if TYPE_CHECKING:
    from chainrule.train.setup import Setup
    from chainrule.train.state import TrainState


def loader_of(
    setup: Setup, state: TrainState, X: Any, y: Any, validation: Any, weights: Weights, again: bool
) -> DataLoader:
    """The rows of a training, checked as far as that is possible before it begins.

    Args:
        setup, state: of the trainer.
        X, y, validation, weights: as `fit` is given them.
        again: whether batches are needed more than once.

    Raises:
        ChainruleError: they are not what the model and the loss take.
    """
    if validation is not None and given_batches.are_batches(validation):
        validation = given_batches.gathered(validation)
    of_batches = given_batches.are_batches(X, y)
    if not isinstance(X, Stream) and not of_batches:
        return in_memory(setup, state, X, y, validation, weights)
    if weights:
        hint = "give batches of (X, y, weight)" if of_batches else "train on arrays in memory"
        what = f"rows of {'batches' if of_batches else 'a stream'} cannot be weighted from outside"
        raise ArgumentError(what, where="sample_weight or class_weight", hint=hint)
    if of_batches:
        if y is not None:
            raise ArgumentError("batches have their own targets", where="y", hint="leave it out: fit(batches)")
        return given_batches.loader(setup, state, X, validation, again)
    loader = stream.loader(setup, state, X, y, validation)
    setup.labels_fit([loader.sample], {name: [loader.sample, y] for name, y in loader.labels.items()})
    return loader


def divided(
    loader: DataLoader, batch_size: int | None, shuffle: str, optimizer: Optimizer, notes: list[str]
) -> tuple[int, str]:
    """The rows of a step, and how they are shuffled: batches that are given are taken as they come."""
    if not isinstance(loader, given_batches.BatchLoader):
        return checks.batch_size(batch_size, loader.rows, optimizer, notes), shuffle
    if batch_size is not None:
        raise ArgumentError("the batches have their own size", where="batch_size", got=batch_size, hint="leave it out")
    if shuffle == "once":
        raise ArgumentError("the batches come in their own order", where="shuffle", got=shuffle, hint="leave it out")
    return checks.batch_size(loader.batch, loader.rows, optimizer, notes), "never"
