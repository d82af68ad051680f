"""How many threads NumPy's products of matrices get."""

from __future__ import annotations

import contextlib
import functools
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


@contextlib.contextmanager
def suited(graphs: Iterable[Graph]) -> Iterator[None]:
    """Within this block small steps have one thread.

    A BLAS shares even small products between all threads, which then wait for each other by spinning: where another
    process wants one of the processors, or a hypervisor takes it, a step takes ten times as long and more.
    """
    if max(sum(map(product, graph.nodes)) for graph in graphs) > SHARED:
        yield
        return
    with _controller().limit(limits=1, user_api="blas"):
        yield
