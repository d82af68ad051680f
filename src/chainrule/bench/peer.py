"""What a peer is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from chainrule.bench.task import Array, BenchTask, Layers


class Refused(Exception):
    """A peer does not take part in a cell, and why."""


class PeerBase:
    """One way to train the network of a task.

    Attributes:
        precisions: those that it can train in.
        devices: those that it can train on.
        epoch: how many epochs it has trained.
    """

    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    devices: ClassVar[tuple[str, ...]] = ("cpu",)

    def __init__(self, task: BenchTask) -> None:
        cell = task.cell
        if cell.precision not in self.precisions:
            raise Refused(f"has no {cell.precision} here")
        if cell.device not in self.devices:
            raise Refused(f"does not run on the {cell.device} here")
        self.task, self.cell, self.epoch = task, cell, 0
        self.prepare()

    def prepare(self) -> None:
        """Build the model with the task's initial weights, and put the data in place."""
        raise NotImplementedError

    def train(self, epochs: int, shuffled: bool = True) -> None:
        """Train on, and return when the last step is done. Not shuffled, it takes the rows as they lie."""
        raise NotImplementedError

    def weights(self) -> Layers:
        """The weights as they are now, laid out as `Task.weights`."""
        raise NotImplementedError

    def close(self) -> None:
        """Release what the library holds about this network besides the peer's own attributes."""

    @classmethod
    def version(cls) -> str:
        """What was measured."""
        return ""

    def orders(self, epochs: int, shuffled: bool) -> Iterator[Array]:
        """The next epochs' orders."""
        for _ in range(epochs):
            self.epoch += 1
            yield self.task.order(self.epoch, shuffled)
