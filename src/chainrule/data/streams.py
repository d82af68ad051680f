"""Data larger than memory: rows that are read from their file chunk by chunk, while the chunk before is trained on."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.rows import Rows
from chainrule.errors import DataError, check_number

if TYPE_CHECKING:
    from chainrule.data.preprocessing import Preprocessor

Array = np.ndarray[Any, Any]
CHUNK = 2**27
"""Bytes of a chunk, where nothing else is said."""
MOST_HELD = 100_000
"""Rows that are held out at most: enough to know an accuracy to a sixth of a percent."""
_DRAWN = 2**20
"""Rows whose lot is drawn at a time."""
_HOLD = 2**33
"""The stream of random numbers that says which rows are held out."""


class Stream:
    """Rows to train on that stay in their file; give it to `Trainer.fit` instead of X and y.

    `fit` trains on one chunk while the next is read. A chunk is put together from blocks of consecutive rows (256 KB
    each, fewer where a chunk would have less than 64 of them) from random places of the file, drawn anew each epoch;
    its rows are shuffled among each other. So any two rows of different blocks can meet in a batch, and rows that are
    neighbours in the file train in the same chunk: a chunk of 128 MB mixes 512 places. Rows that fit into two chunks
    are held as one and read once, and their order is that of arrays in memory.

    Made by `chainrule.data.stream`.

    Attributes:
        name: of the file.
        rows: how many there are to train on.
        shape: of one row of features.
        chunk_rows: rows of a chunk; None for what fits 128 MB.
        validation, test: rows that were held out, (X, y) in memory, or None.
        preprocessor: what turned the columns of a table into numbers; None for arrays.
        fingerprint: tells the rows of one table from another's; None for arrays.
    """

    def __init__(self, X: Rows, y: Rows, name: str, chunk_rows: int | None = None) -> None:
        for part in (X, y):
            if part.dtype.kind not in "biuf":
                raise DataError("not numbers", where=part.name, expected="an array of numbers", got=part.dtype)
            if not part.shape:
                raise DataError("not rows", where=part.name, got="one number")
        if X.shape[0] != y.shape[0]:
            raise DataError("X and y differ in length", where=name, got=f"{X.shape[0]} rows, {y.shape[0]} targets")
        if not X.shape[0]:
            raise DataError("there are no rows", where=name)
        self.X, self.y, self.name = X, y, name
        if chunk_rows is not None:
            check_number("chunk_rows", chunk_rows, low=1, integer=True)
        self.chunk_rows = chunk_rows
        self.validation: tuple[Array, Array] | None = None
        self.test: tuple[Array, Array] | None = None
        self.preprocessor: Preprocessor | None = None
        self.fingerprint: str | None = None
        self._before = np.empty(0, np.int64)

    @property
    def rows(self) -> int:
        """How many rows there are to train on."""
        return self.X.shape[0] - len(self._before)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row of features."""
        return self.X.shape[1:]

    @property
    def classes(self) -> list[Any] | None:
        """The labels of a table's target in the order of their numbers."""
        return self.preprocessor.classes if self.preprocessor is not None else None

    def __repr__(self) -> str:
        numbers = "×".join(map(str, self.shape)) or "1"
        return f"<Stream {self.name}: {self.rows:,} rows of {numbers} numbers>"

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        """Refused, since a stream is there not to be in memory."""
        hint = "use its `validation` or `test`, or read the file"
        raise DataError("a stream is no array", where=self.name, hint=hint)

    def row_bytes(self, dtype: np.dtype[Any]) -> int:
        """What a row takes in memory with its target, features and target being of this type."""
        return dtype.itemsize * (math.prod(self.shape) + math.prod(self.y.shape[1:]))

    def read(self, start: int, X: Array, y: Array) -> None:
        """The rows from `start` on, of those to train on, as many as X and y have.

        Raises:
            DataError: they cannot be read.
        """
        first, last = int(self._place(start)), int(self._place(start + len(X) - 1)) + 1
        if last - first == len(X):
            self.X.read(first, X)
            self.y.read(first, y)
            return
        kept = self.kept(first, last)
        for rows, out in ((self.X, X), (self.y, y)):
            everything = np.empty((last - first, *out.shape[1:]), rows.dtype)
            rows.read(first, everything)
            out[...] = everything[kept]

    def _place(self, rows: Any) -> Any:
        """Where the file has rows of those to train on."""
        return rows + np.searchsorted(self._before, rows, side="right")

    def kept(self, first: int, last: int) -> Array:
        """Which rows of the file, from `first` to before `last`, are to train on."""
        kept = np.ones(last - first, bool)
        held = self._before + np.arange(len(self._before))
        kept[held[np.searchsorted(held, first) : np.searchsorted(held, last)] - first] = False
        return kept

    def hold_out(self, shares: tuple[float, ...], seed: int) -> tuple[Stream, list[tuple[Array, Array] | None]]:
        """The stream without some of its rows, and those rows in memory: a share each, at most as many as a chunk has.

        Row i goes to a part by the i-th number drawn from the seed, so the parts are the same for the same seed.
        """
        sampler = SplitSampler(shares, self.rows, self.most_held, seed)
        parts: list[list[Array]] = [[] for _ in shares]
        for start in range(0, self.rows, _DRAWN):
            drawn = sampler.draw(min(_DRAWN, self.rows - start))
            for number, part in enumerate(parts):
                part.append(start + np.flatnonzero(drawn == number))
        held = [np.concatenate(part) for part in parts]
        left = copy.copy(self)
        places = [self._place(rows) for rows in held]
        everything = np.sort(np.concatenate([self._before + np.arange(len(self._before)), *places]))
        left._before = everything - np.arange(len(everything))  # noqa: SLF001  # a copy of this object
        if not left.rows:
            raise DataError("no rows are left to train on", where=self.name)
        return left, [self._gathered(rows) if len(rows) else None for rows in held]

    @property
    def most_held(self) -> int:
        """How many rows may be held out for each purpose."""
        return min(MOST_HELD, self.chunk_rows or max(1, CHUNK // self.row_bytes(np.dtype(np.float32))))

    def _gathered(self, rows: Array) -> tuple[Array, Array]:
        """Some rows, in ascending order, in memory."""
        X = np.empty((len(rows), *self.shape), self.X.dtype)
        y = np.empty((len(rows), *self.y.shape[1:]), self.y.dtype)
        at = 0
        for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
            self.read(int(run[0]), X[at : at + len(run)], y[at : at + len(run)])
            at += len(run)
        return X, y


class SplitSampler:
    """Which part a row goes to, drawn row after row.

    Args:
        shares: of the rows, for each part but the last, which gets the rest.
        rows: about how many there are.
        most: rows a part may have, about; where a share would be more, it is made smaller.
        seed: of the draw.
    """

    def __init__(self, shares: tuple[float, ...], rows: int, most: int, seed: int) -> None:
        self.shares = [min(share, most / rows) for share in shares]
        self._limits = np.cumsum(self.shares)
        self._generator = np.random.Generator(np.random.Philox(key=[seed, _HOLD]))

    def draw(self, count: int) -> Array:
        """The numbers of the parts that the next rows go to."""
        return np.searchsorted(self._limits, self._generator.random(count), side="right")
