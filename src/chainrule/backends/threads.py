"""How many threads NumPy's products of matrices get."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from chainrule.backends.work import product
from chainrule.graph.graph import Graph

SHARED = 5e8
"""Floating-point operations in the products of a step from which on it is worth sharing them between threads."""


@functools.cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class _OneThread:
    """The limit of one thread: it is the whole process's; the first to want it sets it, the last takes it back."""

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), 0
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._limit = _controller().limit(limits=1, user_api="blas")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._limit.restore_original_limits()


_one_thread = _OneThread()


@contextlib.contextmanager
def suited(graphs: Iterable[Graph]) -> Iterator[None]:
    """Within this block small steps have one thread.

    A BLAS shares even small products between all threads, which then wait for each other by spinning: where another
    process wants one of the processors, or a hypervisor takes it, a step takes ten times as long and more.
    """
    if max(sum(map(product, graph.nodes)) for graph in graphs) > SHARED:
        yield
        return
    with _one_thread:
        yield
