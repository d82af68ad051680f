"""The floor: nothing but arithmetic, at the rate of the fastest large matrix product at hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from peers.task import PeerBase

SIDE = 1024


def _numpy(a: Any, b: Any) -> Callable[[], Any]:
    return lambda: a @ b


def _jax(a: Any, b: Any) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    x, y = jnp.asarray(a), jnp.asarray(b)
    product = jax.jit(jnp.matmul)
    return lambda: product(x, y).block_until_ready()


def _torch(a: Any, b: Any) -> Callable[[], Any]:
    import torch

    x, y = torch.from_numpy(a), torch.from_numpy(b)
    return lambda: x @ y


class Peer(PeerBase):
    """Not a trainer: `train` takes as long as the step's multiplications and additions would at the best rate."""

    def prepare(self) -> None:
        """The libraries that are installed."""
        a, b = (np.random.default_rng(i).standard_normal((SIDE, SIDE), dtype=np.float32) for i in range(2))
        self.products: list[Callable[[], Any]] = []
        for library in (_numpy, _jax, _torch):
            try:
                self.products.append(library(a, b))
            except ImportError:
                continue
            self.products[-1]()

    def seconds_a_step(self) -> float:
        """Arithmetic of a step over the rate measured now."""
        rate = max(2 * SIDE**3 / _fastest(product) for product in self.products)
        return sum(2 * m * k * n for m, k, n in self.task.size.products) / rate


def _fastest(call: Callable[[], Any], times: int = 5) -> float:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)
