"""A training on rows that come a chunk at a time: the next chunk is made ready while this one is trained on.

An epoch is cut into parts of as many whole batches as a chunk holds. One program serves all parts, its data being one
chunk: it has a step more than a part has, and a part that is not the last of its epoch leaves the last step out, so
that the program knows when the epoch is over and it is time to evaluate.
"""

from __future__ import annotations

import functools
import math
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np

from chainrule.errors import DataError
from chainrule.train.loaders.data_loader import Chunk, Room, room_for, shape_only
from chainrule.train.session import FitConfig
from chainrule.train.structures import Structures

Array = np.ndarray[Any, Any]
Reading = tuple[tuple[int, int], Future[list[Any]]]


class Chunked:
    """The rows of a training, a chunk at a time, with the next one under way.

    Attributes:
        arrays: as the program takes them; the first ones, a chunk, have a shape and no content.
        rows: rows that an epoch trains on.
        width: how many of the arrays are to train on.
        steps: steps an epoch.
        parts: chunks an epoch.
        structures: how X and y nest.
    """

    def __init__(self, samples: list[Array], rows: int, held: list[Array], structures: Structures) -> None:
        self._samples, self._held = samples, held
        self.rows, self.width, self.structures = rows, len(samples), structures
        self.steps = self.parts = 0
        self.arrays: list[Array] = []
        self._pool: ThreadPoolExecutor | None = None
        self._room: list[list[Array]] = []
        self._now: tuple[tuple[int, int], Chunk] | None = None
        self._next: Reading | None = None

    @property
    def lasting(self) -> bool:
        """Whether what is loaded serves every epoch: all rows are in one chunk."""
        return self.parts == 1

    def chunk_rows(self, batch: int) -> int:
        """The rows of a chunk, at least a batch."""
        raise NotImplementedError

    def read(self, room: list[Array], epoch: int, part: int) -> None:
        """Fill the arrays of a chunk with the rows of a part."""
        raise NotImplementedError

    def order(self, rows: int, epoch: int, part: int) -> Array:
        """The order of the rows within a part."""
        raise NotImplementedError

    def following(self, epoch: int, part: int) -> tuple[int, int] | None:
        """Which part to make ready while this one is trained on."""
        raise NotImplementedError

    def set_batch_size(self, batch: int) -> None:
        """Take steps of so many rows."""
        chunk = self.chunk_rows(batch)
        # What fits into the room of two chunks is better held as one, and read once.
        whole = self.rows <= 2 * chunk
        self.steps = -(-self.rows // batch)
        self._part_steps = self.steps if whole else chunk // batch
        self.parts = -(-self.steps // self._part_steps)
        self._part_rows = self._part_steps * batch
        size = self.rows if self.parts == 1 else self._part_rows + (self.rows % batch or batch)
        self.arrays = [shape_only((size, *like.shape[1:]), like.dtype) for like in self._samples] + self._held

    @property
    def _row_bytes(self) -> int:
        return sum(like.nbytes for like in self._samples)

    @property
    def _chunks(self) -> int:
        """How many chunks there is room for."""
        return min(self.parts, 2)

    @property
    def _chunk_bytes(self) -> int:
        return self._chunks * min(self.rows, self._part_rows) * self._row_bytes

    def room(self, backend: ModuleType) -> Room:
        """The memory of the chunks, and of the rows that are held out."""
        there = sum(array.nbytes for array in self._held)
        taken = self._chunk_bytes + there + backend.held_bytes(self._held)
        return Room(taken, taken, there)

    def begin(self, config: FitConfig, seed: int, begun: int, backend: ModuleType) -> None:
        """Make room for the chunks."""
        self._fitting, self._seed, self._begun, self._backend = config, seed, begun, backend
        self._room = [[_aligned(array) for array in self.arrays[: self.width]] for _ in range(self._chunks)]
        self._validation = backend.hold(self._held)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="chainrule-loader")

    def close(self) -> None:
        """Wait for the reader, and let go of the chunks."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool, self._room, self._now, self._next = None, [], None, None

    def chunk(self, epoch: int, step: int) -> Chunk:
        """The chunk with a step, once it is there; the one behind it is begun with."""
        part = min(step // self._part_steps, self.parts - 1)
        if self._now is None or (not self.lasting and self._now[0] != (epoch, part)):
            if self._next is None or self._next[0] != (epoch, part):
                self._next = self._reading(epoch, part)
            data = self._taken(self._next[1])
            self._now = (epoch, part), self._made(part, data)
            following = self.following(epoch, part)
            self._next = None if following is None else self._reading(*following)
        return self._now[1]

    def _taken(self, reading: Future[list[Any]]) -> list[Any]:
        try:
            return reading.result()
        except DataError as error:
            hint = error.hint or "what was learnt is kept; a training with a checkpoint can be resumed"
            raise DataError(error.what, where=error.where, expected=error.expected, got=error.got, hint=hint) from error

    def _made(self, part: int, data: list[Any]) -> Chunk:
        first, last = part * self._part_steps, part + 1 == self.parts
        stop = self.steps if last else first + self._part_steps
        rows, room = self._rows_of(part), len(self.arrays[0])

        @functools.lru_cache(2 * room_for(rows, one_by_one=not self.lasting))
        def order(epoch: int) -> Array:
            """The rows of the part; those of the last part stand at the end, as the program's last steps do."""
            places = np.zeros(room, np.int32)
            at = room - rows if last else 0
            places[at : at + rows] = self.order(rows, self._begun + epoch, part)
            return places

        steps = self._part_steps + (self.parts > 1)
        return Chunk([*data, *self._validation], order, first, stop, self.steps - steps if last else first)

    def _rows_of(self, part: int) -> int:
        return min(self._part_rows, self.rows - part * self._part_rows)

    def _reading(self, epoch: int, part: int) -> Reading:
        """Have the chunk read into the room that is free."""
        assert self._pool is not None, "the training has not begun"
        self._room.reverse()
        return (epoch, part), self._pool.submit(self._read, self._room[0], epoch, part)

    def _read(self, room: list[Array], epoch: int, part: int) -> list[Any]:
        self.read(room, epoch, part)
        return list(self._backend.hold(room))


def _aligned(like: Array) -> Array:
    """Room for an array, from an address at which XLA takes it as it is instead of copying it."""
    size = math.prod(like.shape) * like.dtype.itemsize
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(like.dtype).reshape(like.shape)
