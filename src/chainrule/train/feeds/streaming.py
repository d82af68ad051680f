"""A training on rows that stay in their file: the next chunk is read while this one is trained on.

An epoch is cut into parts of as many whole batches as a chunk holds. One program serves all parts, its data being one
chunk: it has a step more than a part has, and a part that is not the last of its epoch leaves the last step out, so
that the program knows when the epoch is over and it is time to evaluate.
"""

from __future__ import annotations

import functools
import math
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.memory import worded
from chainrule.data.standardize import Standardizer
from chainrule.data.streams import CHUNK, Stream
from chainrule.errors import ArgumentError, DataError
from chainrule.train import checks
from chainrule.train.feeds.arrays import held_out
from chainrule.train.feeds.feed import Load, Room, hollow, room_for
from chainrule.train.fitting import Fitting
from chainrule.train.scan_stream import Look, bits
from chainrule.train.structures import SINGLE

if TYPE_CHECKING:
    from chainrule.train.trainer import Trainer

Array = np.ndarray[Any, Any]
Reading = tuple[tuple[int, int], Future[list[Any]]]
BLOCK = 2**18
"""Bytes of neighbouring rows that are read at once: few, so that a chunk comes from many places, and enough for a disk
to read them at its full rate."""
PLACES = 64
"""Blocks that a chunk is put together from, at least."""
_BLOCKS = 2**20
"""In place of the number of a part, where the order is that of the blocks."""


def feed(trainer: Trainer, stream: Stream, y: Any, validation: Any) -> StreamFeed:
    """The rows of a stream, after a look through all of them.

    Raises:
        DataError: a row cannot be read, or is not what the loss takes; named before any step is made.
        ArgumentError: targets beside a stream, which has its own, or a validation that is none.
    """
    if y is not None:
        raise ArgumentError("the stream has its own targets", where="y", hint="leave it out: fit(stream, epochs=…)")
    dtype, held, noted = trainer.dtype, validation, []
    if validation is not None and not (isinstance(validation, (tuple, list)) and len(validation) == 2):
        checks.fraction(validation)
        if validation * stream.rows > stream.most_held:
            noted = [
                f"validation: {stream.most_held:,} rows instead of {validation:.0%}, since they are held in memory"
            ]
        stream, [held] = stream.hold_out((validation,), trainer.seed)
        if held is None:
            raise DataError("too few rows to hold some out", where="validation", got=f"{validation:g} of {stream.rows}")
    look = Look(stream, dtype, trainer.loss, trainer.normalize if trainer.standardizer is None else None)
    if look.moments is not None:
        trainer.standardizer = Standardizer.of(look.moments)
    if isinstance(trainer.standardizer, dict):
        raise ArgumentError(
            "several inputs by name were trained on", where="X", got="a stream", hint="make a new Trainer"
        )
    arrays = [] if held is None else held_out(held, trainer, SINGLE)
    return StreamFeed(stream, look, trainer.standardizer, arrays, noted)


class StreamFeed:
    """The rows of a stream, a chunk at a time, with the next one under way.

    Attributes:
        arrays: as the program takes them; the first two, a chunk, have a shape and no content.
        rows: rows that an epoch trains on.
        width: how many of the arrays are to train on.
        steps: steps an epoch.
        parts: chunks an epoch.
        labels: the classes that occur among the rows to train on and to validate on.
        label_orders: how the targets follow each other in the file.
    """

    def __init__(
        self, stream: Stream, look: Look, standardizer: Standardizer | None, held: list[Array], noted: list[str]
    ) -> None:
        self.stream, self.standardizer, self._held, self._noted = stream, standardizer, held, noted
        self.sample, self.target = look.sample, look.target
        self._total, self._summed, self.label_orders = look.total, (0, 0, 0), [look.label_order]
        self.labels = {"y": look.labels} | ({"validation y": held[1]} if held else {})
        self.rows, self.width, self.structures = stream.rows, 2, SINGLE
        self.steps = self.parts = 0
        self.arrays: list[Array] = []
        self._pool: ThreadPoolExecutor | None = None
        self._room: list[list[Array]] = []
        self._now: tuple[tuple[int, int], Load] | None = None
        self._next: Reading | None = None

    def divide(self, batch: int) -> None:
        """Take steps of so many rows."""
        row = self._row_bytes
        chunk = self.stream.chunk_rows or max(batch, CHUNK // row)
        # What fits into the room of two chunks is better held as one, and read once.
        whole = self.rows <= 2 * chunk
        if not whole and chunk < batch:
            hint = "give chunk_rows to chainrule.data.stream, or a smaller batch_size"
            raise ArgumentError(
                "not a whole batch", where="chunk_rows", expected=f"at least {batch}", got=chunk, hint=hint
            )
        self.steps = -(-self.rows // batch)
        self._part_steps = self.steps if whole else chunk // batch
        self.parts = -(-self.steps // self._part_steps)
        self._part_rows = self._part_steps * batch
        size = self.rows if self.parts == 1 else self._part_rows + (self.rows % batch or batch)
        self._block = max(1, min(BLOCK // row, self._part_rows // PLACES))
        self.arrays = [hollow((size, *like.shape[1:]), like.dtype) for like in (self.sample, self.target)] + self._held

    @property
    def _row_bytes(self) -> int:
        return self.sample.nbytes + self.target.nbytes

    @property
    def bytes(self) -> int:
        """The memory that rows take during the training."""
        return self._chunk_bytes + sum(array.nbytes for array in (*self._held, *(self.stream.test or ())))

    @property
    def _chunk_bytes(self) -> int:
        return min(self.parts, 2) * min(self.rows, self._part_rows) * self._row_bytes

    def room(self, backend: ModuleType) -> Room:
        """The memory of the chunks, and of the rows that are held out."""
        there = sum(array.nbytes for array in self._held)
        taken = self._chunk_bytes + there + backend.held_bytes(self._held)
        return Room(taken, taken, there)

    def begin(self, fitting: Fitting, seed: int, begun: int, backend: ModuleType) -> None:
        """Make room for the chunks."""
        self._fitting, self._seed, self._begun, self._backend = fitting, seed, begun, backend
        self._room = [[_aligned(array) for array in self.arrays[:2]] for _ in range(min(self.parts, 2))]
        self._validation = backend.hold(self._held)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="chainrule-stream")

    @property
    def notes(self) -> list[str]:
        """How the rows are streamed, and the memory they take."""
        size = worded(self.bytes)
        if self.parts == 1:
            return [f"{self.rows:,} rows are streamed, all in one chunk; it takes {size} of memory", *self._noted]
        chunks = f"{self.parts:,} chunks of {self._part_rows:,}"
        return [
            f"{self.rows:,} rows are streamed in {chunks}; at most {size} of them in memory at a time",
            *self._noted,
        ]

    @property
    def layout(self) -> dict[str, Any]:
        """The size of the chunks (what fits into one is in the order of rows in memory), and what tells the rows."""
        known = [self.sample, self.target, np.uint64(self._total % 2**64), *self.labels.values(), *self._held]
        checksum = functools.reduce(lambda found, array: zlib.crc32(array.tobytes(), found), known, 0)
        return {"chunk_rows": self._part_rows if self.parts > 1 else "all rows", "rows": f"checksum {checksum:08x}"}

    def close(self) -> None:
        """Wait for the reader, and let go of the chunks."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool, self._room, self._now, self._next = None, [], None, None

    def load(self, epoch: int, step: int) -> Load:
        """The chunk with a step, once it is there; the one behind it is begun with."""
        part = min(step // self._part_steps, self.parts - 1)
        if self._now is None or (self.parts > 1 and self._now[0] != (epoch, part)):
            if self._next is None or self._next[0] != (epoch, part):
                self._next = self._reading(epoch, part)
            data = self._taken(self._next[1])
            self._now = (epoch, part), self._made(part, data)
            following = (epoch, part + 1) if part + 1 < self.parts else (epoch + 1, 0)
            more = self.parts > 1 and following[0] < self._fitting.epochs
            self._next = self._reading(*following) if more else None
        return self._now[1]

    def _taken(self, reading: Future[list[Any]]) -> list[Any]:
        try:
            return reading.result()
        except DataError as error:
            hint = "what was learnt is kept; a training with a checkpoint can be resumed"
            raise DataError(error.what, where=error.where, got=error.got, hint=hint) from error

    def _made(self, part: int, data: list[Any]) -> Load:
        first, last = part * self._part_steps, part + 1 == self.parts
        stop = self.steps if last else first + self._part_steps
        rows, room = self._rows_of(part), len(self.arrays[0])

        @functools.lru_cache(2 * room_for(rows, one_by_one=self.parts > 1))
        def order(epoch: int) -> Array:
            """The rows of the part; those of the last part stand at the end, as the program's last steps do."""
            places = np.zeros(room, np.int32)
            at = room - rows if last else 0
            places[at : at + rows] = self._fitting.order(rows, self._seed, self._begun + epoch, part)
            return places

        steps = self._part_steps + (self.parts > 1)
        return Load([*data, *self._validation], order, first, stop, self.steps - steps if last else first)

    def _rows_of(self, part: int) -> int:
        return min(self._part_rows, self.rows - part * self._part_rows)

    def _reading(self, epoch: int, part: int) -> Reading:
        """Have the chunk read into the room that is free."""
        assert self._pool is not None, "the training has not begun"
        self._room.reverse()
        return (epoch, part), self._pool.submit(self._read, self._room[0], epoch, part)

    def _read(self, room: list[Array], epoch: int, part: int) -> list[Any]:
        X, y = room
        at = total = 0
        for start, stop in self._runs(epoch, part):
            to = at + stop - start
            self.stream.read(start, X[at:to], y[at:to])
            self._check_labels(y[at:to])
            total += bits(X[at:to]) + bits(y[at:to])
            if self.standardizer is not None:
                X[at:to] = self.standardizer(X[at:to])
            at = to
        self._check_total(epoch, part, total)
        return list(self._backend.hold(room))

    def _check_labels(self, y: Array) -> None:
        """Refuse labels that were not there when the stream was looked through."""
        known = self.labels["y"]
        if len(known) and not np.isin(y, known).all():
            got = y[~np.isin(y, known)][0]
            raise DataError("a label that was not there before: the rows have changed", where=self.stream.name, got=got)

    def _check_total(self, epoch: int, part: int, total: int) -> None:
        """Refuse an epoch whose rows, read to the last, are not those that the stream was looked through for."""
        of, parts, before = self._summed
        self._summed = (epoch, parts + 1, before + total) if of == epoch else (epoch, 1, total)
        if self._summed[1] == self.parts and self._summed[2] % 2**64 != self._total % 2**64:
            raise DataError(f"the rows have changed by epoch {epoch + 1}", where=self.stream.name)

    def _runs(self, epoch: int, part: int) -> list[tuple[int, int]]:
        """The runs of rows that the chunk is put together from, in the order of the file."""
        count = -(-self.rows // self._block)
        blocks = np.arange(count) if self.parts == 1 else self._blocks(count, self._begun + epoch)
        starts = blocks.astype(np.int64) * self._block
        sizes = np.minimum(self._block, self.rows - starts)
        ends = np.cumsum(sizes)
        low = part * self._part_rows
        high = low + self._rows_of(part)
        inside = slice(np.searchsorted(ends, low, side="right"), np.searchsorted(ends, high, side="left") + 1)
        before = ends[inside] - sizes[inside]
        first = starts[inside] + np.maximum(low - before, 0)
        last = starts[inside] + np.minimum(sizes[inside], high - before)
        return sorted(zip(first.tolist(), last.tolist(), strict=True))

    def _blocks(self, count: int, epoch: int) -> Array:
        return self._fitting.order(count, self._seed, epoch, _BLOCKS)


def _aligned(like: Array) -> Array:
    """Room for an array, from an address at which XLA takes it as it is instead of copying it."""
    size = math.prod(like.shape) * like.dtype.itemsize
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(like.dtype).reshape(like.shape)
