"""Where a loop's rows come from: all at once, or a part of an epoch at a time."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from chainrule.train.label_order import LabelOrder
from chainrule.train.structures import SINGLE, Structures

if TYPE_CHECKING:
    from chainrule.train.session import FitConfig


EPOCHS, ORDERS = 256, 2**18
"""Epochs in a call, and row numbers in their orders, at most."""
CHECKED = 2**28
"""Bytes of an array whose checksum takes a fraction of a second; of a larger one every second row counts, or fewer."""


def room_for(rows: int, one_by_one: bool) -> int:
    """How many epochs a call has room for: what a call costs once is shared, but their orders are handed over whole."""
    return 1 if one_by_one else max(1, min(EPOCHS, ORDERS // rows))


def shape_only(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """An array of this shape, of one number's size."""
    return np.broadcast_to(np.zeros((), dtype), shape)


class Chunk(NamedTuple):
    """The steps [first, stop) of an epoch, ready to run.

    Attributes:
        data: the program's arrays.
        order: epoch → the order of the rows, as long as the program wants it.
        first: the first step.
        stop: the step behind the last one.
        shift: by how much the program counts these steps lower than the epoch does.
    """

    data: Sequence[Any]
    order: Callable[[int], Any]
    first: int
    stop: int
    shift: int


class Room(NamedTuple):
    """The bytes of memory that the rows of a training take besides what the user holds.

    Attributes:
        training: while the program runs.
        before: at most until then, while they are made ready.
        there: of all this, what is there already.
    """

    training: int
    before: int
    there: int


class DataLoader(Protocol):
    """The rows of a training.

    Attributes:
        arrays: X and y to train on, and X and y to validate on where that is wanted, in the shapes and dtypes that the
            program takes; after each y the weights of its rows, where they have any.
        structures: how X and y nest, of which the arrays are the leaves.
        width: how many of these are to train on.
        steps: steps an epoch, once the batch is known.
        resumable: whether an epoch can be gone on with in its midst, its steps being the same another time.
    """

    arrays: list[np.ndarray[Any, Any]]
    structures: Structures
    width: int
    steps: int
    resumable: bool

    @property
    def lasting(self) -> bool:
        """Whether what is loaded serves every epoch, so that the program may run several in a call."""

    @property
    def rows(self) -> int:
        """Rows that an epoch trains on."""

    @property
    def label_orders(self) -> list[LabelOrder]:
        """How the targets that are trained on follow each other where nothing shuffles them, those of each y."""

    @property
    def notes(self) -> list[str]:
        """What the user should know before the training."""

    @property
    def layout(self) -> dict[str, Any]:
        """What tells the rows and their order from others, besides the arguments of `fit`: as plain values."""

    def set_batch_size(self, batch: int) -> None:
        """Take steps of so many rows."""

    def room(self, backend: ModuleType) -> Room:
        """The memory that rows take."""

    def begin(self, config: FitConfig, seed: int, begun: int, backend: ModuleType) -> None:
        """Get ready for a training whose epochs count from `begun`."""

    def chunk(self, epoch: int, step: int) -> Chunk:
        """The part of an epoch that holds a step."""

    def close(self) -> None:
        """Let go of what the training needed."""


@dataclass
class InMemory:
    """All rows at once.

    Attributes:
        own: which of the arrays were made for the training.
        width: how many of them are to train on.
        there: whether those have been made.
        making: the most bytes that making them takes meanwhile.
        structures: how X and y nest.
        lasting, resumable: all rows are there all the time.
    """

    arrays: list[np.ndarray[Any, Any]]
    own: list[bool]
    width: int = 2
    there: bool = True
    making: int = 0
    structures: Structures = SINGLE
    lasting: bool = field(default=True, init=False)
    resumable: bool = field(default=True, init=False)
    steps: int = field(default=0, init=False)
    notes: list[str] = field(default_factory=list, init=False)
    _load: Chunk = field(init=False)

    @property
    def rows(self) -> int:
        """Rows that an epoch trains on."""
        return len(self.arrays[0])

    @property
    def label_orders(self) -> list[LabelOrder]:
        """How the targets that are trained on follow each other where nothing shuffles them, those of each y."""
        first, last = self.structures.X.size, len(self.structures.names)
        orders = [LabelOrder() for _ in range(first, last)]
        for order, y in zip(orders, self.arrays[first:last], strict=True):
            order.add(y)
        return orders

    @property
    def layout(self) -> dict[str, Any]:
        """No chunks, and a checksum of the rows, or where they are many of some from all over them."""
        checksum = 0
        for array in self.arrays:
            some = np.ascontiguousarray(array[:: max(1, array.nbytes // CHECKED)])
            checksum = zlib.crc32(
                some.view(np.uint8).data, zlib.crc32(f"{array.shape}{array.dtype}".encode(), checksum)
            )
        return {"chunk_rows": "all rows", "X, y": f"checksum {checksum:08x}"}

    def set_batch_size(self, batch: int) -> None:
        """Take steps of so many rows."""
        self.steps = -(-self.rows // batch)

    def room(self, backend: ModuleType) -> Room:
        """The memory of arrays that were made for the training, or are copied to where the programs run."""
        made = sum(array.nbytes for array, own in zip(self.arrays, self.own, strict=True) if own)
        copies = [backend.held_bytes([array]) for array in self.arrays]
        stay = [copy or own * a.nbytes for a, own, copy in zip(self.arrays, self.own, copies, strict=True)]
        return Room(sum(stay), max(self.making, made + sum(copies)), made if self.there else 0)

    def begin(self, config: FitConfig, seed: int, begun: int, backend: ModuleType) -> None:
        """Put the arrays where the programs run; of those that were made for the training, nothing else is kept."""

        @functools.lru_cache(2 * room_for(self.rows, one_by_one=False))
        def order(epoch: int) -> Any:
            """The order of the rows, drawn once for all the calls that an epoch takes, and kept for the next call."""
            return config.order(self.rows, seed, begun + epoch)

        self.arrays = backend.hold(self.arrays)
        self._load = Chunk(self.arrays, order, 0, self.steps, 0)

    def chunk(self, epoch: int, step: int) -> Chunk:
        """The whole epoch."""
        return self._load

    def close(self) -> None:
        """Nothing."""
