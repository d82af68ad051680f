"""Which feed the rows that `fit` is given need: arrays in memory, a stream from a file, or batches as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.data.streams import Stream
from chainrule.errors import ArgumentError
from chainrule.optim.base import Optimizer
from chainrule.train import checks
from chainrule.train.feeds import batches, streaming
from chainrule.train.feeds.arrays import Weights, in_memory
from chainrule.train.feeds.feed import Feed

if TYPE_CHECKING:
    from chainrule.train.trainer import Trainer


def feed_of(trainer: Trainer, X: Any, y: Any, validation: Any, weights: Weights, again: bool) -> Feed:
    """The rows of a training, checked as far as that is possible before it begins.

    Args:
        trainer: what is trained.
        X, y, validation, weights: as `fit` is given them.
        again: whether batches are needed more than once.

    Raises:
        ChainruleError: they are not what the model and the loss take.
    """
    if validation is not None and batches.are_batches(validation):
        validation = batches.gathered(validation)
    of_batches = batches.are_batches(X, y)
    if not isinstance(X, Stream) and not of_batches:
        return in_memory(trainer, X, y, validation, weights)
    if weights:
        hint = "give batches of (X, y, weight)" if of_batches else "train on arrays in memory"
        what = f"rows of {'batches' if of_batches else 'a stream'} cannot be weighted from outside"
        raise ArgumentError(what, where="sample_weight or class_weight", hint=hint)
    if of_batches:
        if y is not None:
            raise ArgumentError("batches have their own targets", where="y", hint="leave it out: fit(batches)")
        return batches.feed(trainer, X, validation, again)
    feed = streaming.feed(trainer, X, y, validation)
    trainer.labels_fit([feed.sample], {name: [feed.sample, y] for name, y in feed.labels.items()})
    return feed


def divided(
    feed: Feed, batch_size: int | None, shuffle: str, optimizer: Optimizer, notes: list[str]
) -> tuple[int, str]:
    """The rows of a step, and how they are shuffled: batches that are given are taken as they come."""
    if not isinstance(feed, batches.BatchFeed):
        return checks.batch_size(batch_size, feed.rows, optimizer, notes), shuffle
    if batch_size is not None:
        raise ArgumentError("the batches have their own size", where="batch_size", got=batch_size, hint="leave it out")
    if shuffle == "once":
        raise ArgumentError("the batches come in their own order", where="shuffle", got=shuffle, hint="leave it out")
    return checks.batch_size(feed.batch, feed.rows, optimizer, notes), "never"
