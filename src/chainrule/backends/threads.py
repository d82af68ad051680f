"""How many threads NumPy's matrix products get."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from chainrule import resources
from chainrule.backends.flops import product_flops
from chainrule.graph.graph import Graph

SHARED = 5e8
"""Floating-point operations in the products of a step from which on it is worth sharing them between threads."""


@functools.cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class _Limit:
    """A limit on the threads of every BLAS in this process: the lowest of those in force."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: list[int] = []
        self._set: Any = None

    @contextlib.contextmanager
    def at_most(self, threads: int) -> Iterator[None]:
        """Within this block there are at most so many."""
        self._change(self._wanted.append, threads)
        try:
            yield
        finally:
            self._change(self._wanted.remove, threads)

    def _change(self, change: Callable[[int], None], threads: int) -> None:
        with self._lock:
            before = min(self._wanted, default=None)
            change(threads)
            wanted = min(self._wanted, default=None)
            if wanted == before:
                return
            if self._set is not None:
                self._set.restore_original_limits()
            self._set = None if wanted is None else _controller().limit(limits=wanted, user_api="blas")


_limit = _Limit()


@functools.cache
def _cores() -> int:
    return resources.cores()


def _too_many() -> bool:
    """Whether a BLAS, which counts processors and knows no quotas, has more threads than this process has cores."""
    return any(pool["num_threads"] > _cores() for pool in _controller().info() if pool["user_api"] == "blas")


@contextlib.contextmanager
def suited(graphs: Iterable[Graph]) -> Iterator[None]:
    """Within this block small steps have one thread, and large ones no more than the container has cores.

    A BLAS shares even small products between all threads, which then wait for each other by spinning: where another
    process or a hypervisor takes one of the processors, a step takes ten times as long or more.
    """
    limit: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if max(sum(map(product_flops, graph.nodes)) for graph in graphs) <= SHARED:
        limit = _limit.at_most(1)
    elif _too_many():
        limit = _limit.at_most(_cores())
    with limit:
        yield
