"""Where random numbers come from: one seed for what is drawn once, keys for what is drawn again in every run.

Initial weights and orders of rows are drawn by NumPy's Philox generator before anything is compiled. Numbers that a
graph draws come from a counter-based generator (Threefry-2x32, Salmon et al. 2011): a key of two 32-bit words and the
number of the use give the same bits on every backend. A training step has the key (seed, step); a graph that is traced
on its own has a key that is drawn again for each run. Each thread or asynchronous task that calls `seed` has a
generator of its own from then on.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.errors import ShapeError, check_number
from chainrule.graph.arguments import sizes, whole
from chainrule.graph.elementwise import as_tensor, cast, less
from chainrule.graph.leaves import real_dtype
from chainrule.graph.mode import mode
from chainrule.graph.tensor import Tensor, apply, constant

__all__ = ["bernoulli", "normal", "permutation", "seed", "uniform"]

Shape = int | Sequence[int]


@dataclass
class _Source:
    """What numbers are drawn from: a generator, and within `keyed` a key; how many uses there have been."""

    generator: np.random.Generator
    key: Tensor | None = None
    uses: int = 0


_own: ContextVar[_Source | None] = ContextVar("chainrule_random", default=None)
_shared = _Source(np.random.Generator(np.random.Philox(0)))


def _source() -> _Source:
    return _own.get() or _shared


def seed(n: int) -> None:
    """Fix everything random from here on: initial weights, define-by-run dropout.

    In the main thread it holds for the threads too that have not called it themselves; in another one for that alone.

    Args:
        n: at least 0.

    Raises:
        ArgumentError: `n` is not an integer of at least 0.

    Example:
        >>> import chainrule as cr
        >>> cr.seed(1); a = cr.nn.Linear(2, 2).weight.numpy()
        >>> cr.seed(1); b = cr.nn.Linear(2, 2).weight.numpy()
        >>> bool((a == b).all())
        True
    """
    global _shared
    check_number("seed", n, low=0, integer=True)
    source = _Source(np.random.Generator(np.random.Philox(n)))
    _own.set(source)
    if threading.current_thread() is threading.main_thread():
        _shared = source


@contextlib.contextmanager
def seeded(n: int) -> Iterator[None]:
    """Within this block everything random is as after `seed(n)`; afterwards drawing continues where it was."""
    before = _own.get()
    _own.set(_Source(np.random.Generator(np.random.Philox(n))))
    try:
        yield
    finally:
        _own.set(before)


def generator() -> np.random.Generator:
    """The generator that `seed` sets."""
    return _source().generator


@contextlib.contextmanager
def keyed(key: Tensor) -> Iterator[None]:
    """Within this block random operations draw from `key` (uint32[2]), each use from a stream of its own."""
    before = _own.get()
    _own.set(replace(_source(), key=key, uses=0))
    try:
        yield
    finally:
        _own.set(before)


def has_key() -> bool:
    """Whether we are within `keyed`."""
    return _source().key is not None


class FreshKey(Tensor):
    """A key that differs each time it is read, so that a graph traced with it draws new numbers in each run.

    Example:
        >>> key = FreshKey()
        >>> bool((key.read() == key.read()).all())
        False
    """

    __slots__ = ()
    changes = True

    def __init__(self) -> None:
        # Tracing draws nothing: the first key is that of the first run.
        blank = np.zeros(2, np.uint32)
        super().__init__("constant", (), {}, blank.shape, blank.dtype, blank, name="random key")

    def read(self) -> np.ndarray[Any, Any]:
        """A new key from the generator that `seed` sets."""
        return _drawn_key()


def _drawn_key() -> np.ndarray[Any, Any]:
    return generator().integers(0, 2**32, 2, dtype=np.uint32)


def _key_and_stream(key: Any) -> tuple[Tensor, int]:
    if key is None:
        source = _source()
        source.uses += 1
        return source.key if source.key is not None else constant(_drawn_key()), source.uses
    if isinstance(key, (int, float, str)):
        return constant([0, check_number("key", key, low=0, high=2**32 - 1, integer=True)], np.uint32), 0
    given = as_tensor(key)
    if given.shape[-1:] != (2,) or given.dtype.kind not in "iu":
        raise ShapeError("not a key", where="key", expected="an integer, or two of 32 bits", got=given.label())
    return cast(given, np.uint32), 0


def _draw(op: str, shape: Shape, key: Any, dtype: Any) -> Tensor:
    found = real_dtype(dtype)
    if found not in (np.float32, np.float64):
        raise ShapeError(
            "not a dtype that random numbers can have", where="dtype", expected="float32 or float64", got=found
        )
    key, stream = _key_and_stream(key)
    return apply(op, key, shape=sizes(shape, "shape"), dtype=found.name, stream=stream)


def _scaled(drawn: Tensor, width: float, start: float) -> Tensor:
    if (width, start) == (1.0, 0.0):
        return drawn
    # Two numbers of 24 bits have an exact product in float64, so that it is the same whether or not it is rounded
    # before the sum: a compiler is free to choose.
    return cast(cast(drawn, np.float64) * float(np.float32(width)) + float(start), drawn.dtype)


def uniform(shape: Shape, key: Any = None, low: float = 0.0, high: float = 1.0, dtype: Any = np.float32) -> Tensor:
    """Numbers uniform on [low, high), multiples of 2⁻²⁴ of its width.

    Inside a traced or compiled function they are drawn again in every run, and in a training in every step.

    Args:
        shape: of the result.
        key: an integer, or two of 32 bits as an array: the same key gives the same numbers. By default the numbers
            follow from `chainrule.seed`, in a training from its seed and the step.
        low, high: the range.
        dtype: float32 or float64; the numbers are the same.

    Example:
        >>> import chainrule as cr
        >>> cr.random.uniform(3, key=1).tolist() == cr.random.uniform(3, key=1).tolist()
        True
    """
    low, high = check_number("low", low), check_number("high", high)
    return _scaled(_draw("random_uniform", shape, key, dtype), high - low, low)


def normal(shape: Shape, key: Any = None, mean: float = 0.0, std: float = 1.0, dtype: Any = np.float32) -> Tensor:
    """Numbers from the normal distribution, at most 6.7 deviations from the mean.

    z = √(−2·ln u)·cos(2πv) with u and v of 32 bits each (Box & Muller 1958), in float64, rounded to float32.

    Args:
        shape: of the result.
        key: as for `uniform`.
        mean, std: μ and σ ≥ 0.
        dtype: float32 or float64; the numbers are the same.

    Example:
        >>> import chainrule as cr
        >>> abs(cr.random.normal((100, 100), key=0).mean().item()) < 0.03
        True
    """
    mean, std = check_number("mean", mean), check_number("std", std, low=0)
    return _scaled(_draw("random_normal", shape, key, dtype), std, mean)


def bernoulli(shape: Shape, key: Any = None, p: float = 0.5) -> Tensor:
    """True with probability p (rounded to a multiple of 2⁻²⁴), else False.

    Args:
        shape: of the result.
        key: as for `uniform`.
        p: in [0, 1].

    Example:
        >>> import chainrule as cr
        >>> cr.random.bernoulli(3, p=1.0).tolist()
        [True, True, True]
    """
    check_number("p", p, low=0, high=1)
    return less(_draw("random_uniform", shape, key, np.float32), math.ceil(p * 2**24) / 2**24)


def permutation(n: int, key: Any = None) -> Tensor:
    """The numbers 0 … n−1 in random order; int64.

    Args:
        n: at least 0.
        key: as for `uniform`.

    Example:
        >>> import chainrule as cr
        >>> sorted(cr.random.permutation(4, key=3).tolist())
        [0, 1, 2, 3]
    """
    key, stream = _key_and_stream(key)
    return apply("random_permutation", key, n=whole(n, "n", low=0, high=2**62), stream=stream)


def example_keys(size: int) -> Tensor:
    """Keys for `size` examples of a batch (uint32[size, 2]), each to draw numbers of its own."""
    if has_key() or mode.tracing:
        return cast(uniform((size, 2), dtype=np.float64) * 2.0**24, np.uint32)
    return constant(generator().integers(0, 2**32, (size, 2), dtype=np.uint32))


def shuffled(rows: int, seed: int, epoch: int) -> np.ndarray[Any, Any]:
    """The order of the rows in an epoch: a permutation, the same for the same seed and epoch on every backend."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(rows).astype(np.int32)
