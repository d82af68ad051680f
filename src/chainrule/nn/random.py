"""Where random numbers come from: one seed for what is drawn once, explicit keys for what is drawn in every step.

Initial weights and shuffles are drawn by NumPy's Philox generator before anything is compiled. Dropout masks are drawn
inside the step from a counter-based key (seed, step) and a stream a use; they are the same bits on every backend.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.errors import TraceError, check_number
from chainrule.graph.tensor import Tensor, apply, constant


class _Source:
    generator = np.random.Generator(np.random.Philox(0))
    key: Tensor | None = None
    streams = 0


def seed(n: int) -> None:
    """Fix everything random from here on: initial weights, define-by-run dropout.

    Example:
        >>> import chainrule as cr
        >>> cr.seed(1); a = cr.nn.Linear(2, 2).weight.numpy()
        >>> cr.seed(1); b = cr.nn.Linear(2, 2).weight.numpy()
        >>> bool((a == b).all())
        True
    """
    check_number("seed", n, low=0, integer=True)
    _Source.generator = np.random.Generator(np.random.Philox(n))
    # What was drawn before the seed must not count after it.
    _Source.streams = 0


@contextlib.contextmanager
def seeded(n: int) -> Iterator[None]:
    """Within this block everything random is as after `seed(n)`; afterwards it goes on as if nothing had been drawn."""
    before = _Source.generator, _Source.streams
    seed(n)
    try:
        yield
    finally:
        _Source.generator, _Source.streams = before


def generator() -> np.random.Generator:
    """The generator that `seed` sets."""
    return _Source.generator


@contextlib.contextmanager
def keyed(key: Tensor) -> Iterator[None]:
    """Within this block random operations draw from `key` (uint32[2]), each use from a stream of its own."""
    before = _Source.key, _Source.streams
    _Source.key, _Source.streams = key, 0
    try:
        yield
    finally:
        _Source.key, _Source.streams = before


def uniform(like: Tensor) -> Tensor:
    """Numbers in [0, 1) of the shape and dtype of `like`."""
    key = _Source.key
    if key is None:
        if like.value is None:
            raise TraceError(
                "random numbers in a traced function need a key, or every run would draw the same ones",
                where=like.label(),
                hint="call model.eval() first, or train with cr.Trainer, which gives each step its key",
            )
        key = constant(_Source.generator.integers(0, 2**32, 2, dtype=np.uint32))
    _Source.streams += 1
    return apply("random_uniform", key, shape=like.shape, dtype=like.dtype.name, stream=_Source.streams)


def shuffled(rows: int, seed: int, epoch: int) -> np.ndarray[Any, Any]:
    """The order of the rows in an epoch: a permutation, the same for the same seed and epoch on every backend."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(rows).astype(np.int32)
