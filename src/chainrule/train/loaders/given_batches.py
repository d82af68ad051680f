"""A training on batches as the user's own loader gives them: its order, its sizes, its augmentation, anew each epoch.

Before the first step the batches are gone through once, so that what is wrong with one is said first, and so that the
number of steps is known. Then each epoch goes through them again; several are put into a chunk for a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import tree
from chainrule.data.memory import worded
from chainrule.data.standardize import Moments, Standardizer
from chainrule.data.streams import CHUNK
from chainrule.errors import ArgumentError, ChainruleError, DataError
from chainrule.train import structures, weights
from chainrule.train.as_numbers import is_array
from chainrule.train.label_order import LabelOrder
from chainrule.train.loaders.chunks import Chunked
from chainrule.train.loaders.in_memory import checked, held_out
from chainrule.train.structures import Structures
from chainrule.tree import LEAF

if TYPE_CHECKING:
    from chainrule.train.setup import Setup
    from chainrule.train.state import TrainState

Array = np.ndarray[Any, Any]
Check = Callable[[Sequence[Array]], None]


def are_batches(X: Any, y: Any = None) -> bool:
    """Whether these are batches, and not rows: a loader, an iterator, a function that gives one, or a list of pairs."""
    if isinstance(X, Mapping) or is_array(X) or isinstance(X, (str, bytes)):
        return False
    if isinstance(X, (list, tuple)):
        return y is None and bool(X) and all(_is_batch(member) for member in X)
    return callable(X) or isinstance(X, Iterable)


def _is_batch(member: Any) -> bool:
    if not isinstance(member, (list, tuple)) or len(member) not in (2, 3):
        return False
    return all(isinstance(x, Mapping) or is_array(x) for x in member)


class Source:
    """Batches (X, y) or (X, y, weight) that can be gone through, once or again and again.

    Args:
        given: an iterable, or a function that gives one.
        again: whether they are needed more than once.

    Raises:
        ArgumentError: they are needed again, and can be had only once.
    """

    def __init__(self, given: Any, again: bool) -> None:
        self._given = given
        if not hasattr(given, "__next__"):
            return
        if again:
            raise ArgumentError(
                f"a {type(given).__name__} can be iterated over only once", where="X",
                hint="give the function that makes it, or a list of batches",
            )  # fmt: skip
        self._given = list(given)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._given() if callable(self._given) else self._given)


def gathered(given: Any) -> tuple[Any, ...]:
    """Batches to validate on as (X, y) or (X, y, weights): they are held in memory.

    Raises:
        DataError: there are none, or they do not go together.
    """
    batches = [_parts(batch, f"validation, batch {i}") for i, batch in enumerate(Source(given, again=False))]
    if not batches:
        raise DataError("there are no batches", where="validation")
    first = tree.flatten(batches[0])[1]
    leaves = [tree.flatten(batch) for batch in batches]
    odd = next((i for i, (_, structure) in enumerate(leaves) if structure != first), None)
    if odd is not None:
        raise DataError("not built like the first batch", where=f"validation, batch {odd}")
    columns = zip(*(arrays for arrays, _ in leaves), strict=True)
    found = tree.unflatten(first, [np.concatenate([np.asarray(x) for x in column]) for column in columns])
    return tuple(found)


def _parts(batch: Any, where: str) -> tuple[Any, ...]:
    if isinstance(batch, (list, tuple)) and len(batch) in (2, 3):
        return tuple(batch)
    kind = type(batch).__name__
    got = f"a {kind} of {len(batch)}" if isinstance(batch, (list, tuple, Mapping)) else f"a {kind}"
    raise DataError("not a batch", where=where, expected="(X, y) or (X, y, weight)", got=got)


def loader(setup: Setup, state: TrainState, given: Any, validation: Any, again: bool) -> BatchLoader:
    """The batches, after a look through all of them.

    Args:
        setup, state: of the trainer.
        given: the batches.
        validation: None, (X, y), or (X, y, weights).
        again: whether they are needed more than once.

    Raises:
        DataError: a batch is not what the model and the loss take, or not of the size of the others.
        ArgumentError: a fraction to hold out of what comes in batches.
    """
    source = Source(given, again)
    if not (validation is None or isinstance(validation, (tuple, list))):
        raise ArgumentError(
            "no rows can be held out of batches", where="validation", expected="(X, y), or batches", got=validation
        )
    look = Look(source, setup, state)
    if setup.normalize is not None and state.standardizer is None:
        state.standardizer = look.standardizer
    held = [] if validation is None else held_out(validation, setup, state, look.structures)
    if validation is not None and len(validation) == 3:
        weight = weights.of_rows(validation[2], len(held[0]), setup.loss, "validation weights")
        held.append(weights.scaled(weight, setup.loss, setup.dtype))
    check = setup.labels_check(look.samples, look.structures)
    check("y", look.least)
    check("y", look.most)
    if held:
        check("validation y", held)
    return BatchLoader(source, look, setup, state, held, lambda arrays: check("y", arrays))


class Look:
    """What one pass through batches tells, all of them being checked.

    Attributes:
        structures: how X and y nest.
        samples: a row of each array.
        rows, batch: in all, and of each batch but the last.
        least, most: the arrays with their least and their greatest labels as a row.
        label_orders: how the targets of each y follow each other.
        standardizer: what standardises X, where that is wanted.
        mean_weight: of the rows; 1 where they have none.
    """

    def __init__(self, source: Source, setup: Setup, state: TrainState) -> None:
        self.rows = self.batch = count = 0
        self._size, self._total = 0, 0.0
        self.structures, self.label_orders = Structures(), list[LabelOrder]()
        self.samples, self.least, self.most = list[Array](), list[Array](), list[Array]()
        self._moments: list[Moments | None] = []
        for count, batch in enumerate(source, 1):
            where = f"batch {count - 1}"
            if count > 1 and self._size != self.batch:
                raise _uneven(f"batch {count - 2}", self.batch, self._size)
            arrays = read(batch, setup, where, self if self.samples else None)
            if not self.samples:
                self._begin(batch, arrays, setup, state)
            self._add(arrays, where)
        if not count:
            raise DataError("there are no batches", where="X")
        self.mean_weight = self._total / self.rows if self.weighted else 1.0

    def _begin(self, batch: Any, arrays: list[Array], setup: Setup, state: TrainState) -> None:
        self.structures = Structures(*(structures.of(values, "")[1] for values in batch[:2]))
        self.weighted = len(arrays) > len(self.structures.names)
        self.batch, self.samples = len(arrays[0]), [array[:1].copy() for array in arrays]
        self.least, self.most = list(self.samples), list(self.samples)
        self.label_orders = [LabelOrder() for _ in range(self.structures.y.size)]
        inputs = arrays[: self.structures.X.size]
        per, known = setup.normalize, state.standardizer
        wanted = per is not None and known is None
        floating = [self.structures.X is LEAF or x.dtype.kind == "f" for x in inputs]
        self._moments = [Moments(str(per)) if wanted and is_float else None for is_float in floating]

    def _add(self, arrays: list[Array], where: str) -> None:
        self._size = len(arrays[0])
        if self._size > self.batch:
            raise _uneven(where, self.batch, self._size)
        self.rows += self._size
        first = self.structures.X.size
        for moments, x in zip(self._moments, arrays, strict=False):
            if moments is not None:
                moments.add(x)
        for order, y in zip(self.label_orders, arrays[first:], strict=False):
            order.add(y)
        for i in range(first, first + self.structures.y.size):
            y = arrays[i]
            self.least[i] = np.minimum(self.least[i], y.min(0, keepdims=True))
            self.most[i] = np.maximum(self.most[i], y.max(0, keepdims=True))
        if self.weighted:
            self._total += float(arrays[-1].sum(dtype=np.float64))

    @property
    def standardizer(self) -> structures.Standardizers:
        """Of each floating-point input."""
        keys = self.structures.X.keys or ("",)
        found = {key: Standardizer.of(m) for key, m in zip(keys, self._moments, strict=True) if m is not None}
        return found[""] if self.structures.X is LEAF else found


def _uneven(where: str, batch: int, got: int) -> DataError:
    return DataError(
        "batches of different sizes", where=where, expected=f"{batch} rows, as in the first; fewer only in the last",
        got=got, hint="make them of one size, or put the rows together in arrays",
    )  # fmt: skip


def read(batch: Any, setup: Setup, where: str, like: Look | None) -> list[Array]:
    """The arrays of a batch as the program takes them, but not standardised: X, y, and the weights as they are given.

    Raises:
        DataError: it is not such a batch, or not built like the first one.
    """
    X, y, *weight = _parts(batch, where)
    try:
        arrays, _ = checked(X, y, setup, like=like.structures if like is not None else None)
        if weight:
            arrays.append(weights.of_rows(weight[0], len(arrays[0]), setup.loss, "weight"))
    except ChainruleError as error:
        place = where if error.where is None else f"{where}, {error.where}"
        raise type(error)(error.what, where=place, expected=error.expected, got=error.got, hint=error.hint) from error
    if like is None:
        return arrays
    found = [(array.shape[1:], array.dtype) for array in arrays]
    wanted = [(sample.shape[1:], sample.dtype) for sample in like.samples]
    if found != wanted:
        said = [", ".join(f"{dtype} (rows, {str(shape)[1:]}" for shape, dtype in types) for types in (wanted, found)]
        raise DataError("not built like the first batch", where=where, expected=said[0], got=said[1])
    return arrays


class BatchLoader(Chunked):
    """Batches as they come, a chunk of several at a time, with the next one under way within an epoch.

    Attributes:
        batch: rows of each but the last.
        label_orders: how the targets of each y follow each other.
        resumable, lasting: neither, since each epoch has batches of its own.
    """

    resumable, lasting = False, False

    def __init__(
        self, source: Source, look: Look, setup: Setup, state: TrainState, held: list[Array], check: Check
    ) -> None:
        samples = look.samples
        if look.weighted:
            samples = [*samples[:-1], samples[-1].astype(setup.dtype)]
        super().__init__(samples, look.rows, held, look.structures)
        self.batch, self.label_orders = look.batch, look.label_orders
        self._source, self._look, self._check = source, look, check
        self._setup, self._state = setup, state
        self._batches: Iterator[Any] = iter(())
        self._reads = (0, 0)

    @property
    def notes(self) -> list[str]:
        """The number of the batches, and the memory that they take."""
        size = worded(self._chunk_bytes)
        return [f"{self.steps:,} batches of {self.batch:,} are trained on as they come; {size} of memory for them"]

    @property
    def layout(self) -> dict[str, Any]:
        """Nothing but that they come in batches: which rows are in them may change."""
        return {"chunk_rows": "batches as they come"}

    def chunk_rows(self, batch: int) -> int:
        """As many whole batches as fit into the usual chunk."""
        return max(1, CHUNK // (batch * self._row_bytes)) * batch

    @property
    def _chunks(self) -> int:
        return 2

    def following(self, epoch: int, part: int) -> tuple[int, int] | None:
        """The next part of the epoch; the next epoch waits for its callbacks, which may set the loader to it."""
        return (epoch, part + 1) if part + 1 < self.parts else None

    def order(self, rows: int, epoch: int, part: int) -> Array:
        """As they come."""
        return np.arange(rows, dtype=np.int32)

    def close(self) -> None:
        """Let go of the loader too."""
        super().close()
        self._batches = iter(())

    def read(self, room: list[Array], epoch: int, part: int) -> None:
        """The next batches of an epoch, checked, standardised and weighted."""
        first, stop = part * self._part_steps, min((part + 1) * self._part_steps, self.steps)
        if part == 0:
            self._batches = iter(self._source)
        for step in range(first, stop):
            where = f"batch {step} of epoch {epoch + 1}"
            at = (step - first) * self.batch
            arrays = self._next_batch(where)
            wanted = min(self.batch, self.rows - step * self.batch)
            if len(arrays[0]) != wanted:
                raise DataError(
                    "not of the size it had in the previous pass",
                    where=where,
                    expected=f"{wanted} rows",
                    got=len(arrays[0]),
                )
            for place, array in zip(room, arrays, strict=True):
                place[at : at + wanted] = array
        if stop == self.steps and next(self._batches, None) is not None:
            raise DataError("more batches than in the previous pass", where=f"epoch {epoch + 1}", expected=self.steps)

    def _next_batch(self, where: str) -> list[Array]:
        try:
            batch = next(self._batches)
        except StopIteration:
            hint = "give what can be gone through again and again: a list, a loader, or a function that makes them"
            what = "fewer batches than in the pass before"
            raise DataError(what, where=where, expected=self.steps, hint=hint) from None
        arrays = read(batch, self._setup, where, self._look)
        self._check(arrays)
        inputs = self.structures.X.size
        arrays[:inputs] = structures.standardized(self._state.standardizer, arrays[:inputs], self.structures.X)
        if self._look.weighted and not self._setup.summed:
            arrays[-1] = arrays[-1] / self._look.mean_weight
        return arrays
