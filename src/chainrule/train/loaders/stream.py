"""A training on rows that stay in their file: the next chunk is read while this one is trained on."""

from __future__ import annotations

import functools
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.memory import worded
from chainrule.data.standardize import Standardizer
from chainrule.data.streams import CHUNK, Stream
from chainrule.errors import ArgumentError, DataError
from chainrule.train import checks
from chainrule.train.loaders.chunks import Chunked
from chainrule.train.loaders.in_memory import held_out
from chainrule.train.scan_stream import Look, bits
from chainrule.train.structures import SINGLE

if TYPE_CHECKING:
    from chainrule.train.setup import Setup
    from chainrule.train.state import TrainState

Array = np.ndarray[Any, Any]
BLOCK = 2**18
"""Bytes of neighbouring rows that are read at once: few, so that a chunk comes from many places, and enough for a disk
to read them at its full rate."""
PLACES = 64
"""Blocks that a chunk is put together from, at least."""
_BLOCKS = 2**20
"""In place of the number of a part, where the order is that of the blocks."""


def loader(setup: Setup, state: TrainState, stream: Stream, y: Any, validation: Any) -> StreamLoader:
    """The rows of a stream, after a look through all of them.

    Raises:
        DataError: a row cannot be read, or is not what the loss takes; named before any step is made.
        ArgumentError: targets beside a stream, which has its own, or a validation that is none.
    """
    if y is not None:
        raise ArgumentError("the stream has its own targets", where="y", hint="leave it out: fit(stream, epochs=…)")
    dtype, held, noted = setup.dtype, validation, []
    if validation is not None and not (isinstance(validation, (tuple, list)) and len(validation) == 2):
        checks.fraction(validation)
        if validation * stream.rows > stream.most_held:
            noted = [
                f"validation: {stream.most_held:,} rows instead of {validation:.0%}, since they are held in memory"
            ]
        stream, [held] = stream.hold_out((validation,), setup.seed)
        if held is None:
            raise DataError("too few rows to hold some out", where="validation", got=f"{validation:g} of {stream.rows}")
    look = Look(stream, dtype, setup.loss, setup.normalize if state.standardizer is None else None)
    if look.moments is not None:
        state.standardizer = Standardizer.of(look.moments)
    if isinstance(state.standardizer, dict):
        raise ArgumentError(
            "the trainer was fitted on several named inputs", where="X", got="a stream", hint="make a new Trainer"
        )
    arrays = [] if held is None else held_out(held, setup, state, SINGLE)
    return StreamLoader(stream, look, state.standardizer, arrays, noted)


class StreamLoader(Chunked):
    """The rows of a stream, a chunk at a time, with the next one under way.

    Attributes:
        labels: the classes that occur among the rows to train on and to validate on.
        label_orders: how the targets follow each other in the file.
        resumable: an epoch can be gone on with in its midst.
    """

    resumable = True

    def __init__(
        self, stream: Stream, look: Look, standardizer: Standardizer | None, held: list[Array], noted: list[str]
    ) -> None:
        super().__init__([look.sample, look.target], stream.rows, held, SINGLE)
        self.stream, self.standardizer, self._noted = stream, standardizer, noted
        self.sample, self.target = look.sample, look.target
        self._total, self._summed, self.label_orders = look.total, (0, 0, 0), [look.label_order]
        self.labels = {"y": look.labels} | ({"validation y": held[1]} if held else {})

    def chunk_rows(self, batch: int) -> int:
        """As the stream says, or what fits into the usual chunk."""
        chunk = self.stream.chunk_rows or max(batch, CHUNK // self._row_bytes)
        if chunk < batch and self.rows > 2 * chunk:
            hint = "give chunk_rows to chainrule.data.stream, or a smaller batch_size"
            raise ArgumentError(
                "not a whole batch", where="chunk_rows", expected=f"at least {batch}", got=chunk, hint=hint
            )
        return chunk

    def set_batch_size(self, batch: int) -> None:
        """Take steps of so many rows."""
        super().set_batch_size(batch)
        self._block = max(1, min(BLOCK // self._row_bytes, self._part_rows // PLACES))

    def following(self, epoch: int, part: int) -> tuple[int, int] | None:
        """The next part, in the next epoch too."""
        epoch, part = (epoch, part + 1) if part + 1 < self.parts else (epoch + 1, 0)
        return (epoch, part) if self.parts > 1 and epoch < self._fitting.epochs else None

    def order(self, rows: int, epoch: int, part: int) -> Array:
        """As `shuffle` says."""
        return self._fitting.order(rows, self._seed, epoch, part)

    @property
    def bytes(self) -> int:
        """The memory that rows take during the training."""
        return self._chunk_bytes + sum(array.nbytes for array in (*self._held, *(self.stream.test or ())))

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

    def read(self, room: list[Array], epoch: int, part: int) -> None:
        """The rows of a part out of the file, checked and standardised."""
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
