"""The floor under every peer: a step's arithmetic at the rate, and its bytes at the bandwidth, that were measured here.

*Arithmetic* is `Cell.arithmetic` over the rate of the fastest large matrix product among NumPy, JAX and PyTorch.
*Bytes* are what a step has to read and write once, in float32: parameters, gradients and both of Adam's moments, each
read and written, and the batch's rows read; over the bandwidth of the fastest copy, among NumPy's on one thread or on
all cores and PyTorch's, of a buffer as large as those parameters, gradients and moments, so that what fits a cache is
held to the cache's bandwidth. The floor is the larger of the two. Both are measured again in every round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from chainrule.bench.task import Cell
from chainrule.resources import cores

SIDES = {"cpu": 1024, "gpu": 8192}
LEAST_COPIES = {"cpu": 1 << 18, "gpu": 1 << 28}
"""Bytes below which a copy is not measured, since its call would take longer than it."""
TIMES = 5

NOT_THERE = (ImportError, OSError, RuntimeError)
"""What importing PyTorch raises where it is not installed, or is but does not load."""

Thunk = Callable[[], Any]


def cell_cost(cell: Cell) -> dict[str, float]:
    """Operations and bytes of a step, and the bytes that it goes over again in the next."""
    state = 4 * 4 * cell.parameters
    return {"operations": cell.arithmetic, "bytes": 2 * state + 4 * cell.batch * cell.widths[0], "state": state}


def measure_floor(cell: Cell) -> dict[str, float]:
    """Microseconds per step that arithmetic and bytes would take, at the rates measured now."""
    needed = cell_cost(cell)
    rate = 2 * SIDES[cell.device] ** 3 / _fastest(_products(cell.precision, cell.device))
    size = max(int(needed["state"]), LEAST_COPIES[cell.device]) // 8
    # A copy reads and writes: half the buffer to the other half moves all its bytes.
    bandwidth = 8 * size / _fastest(_copies(size, cell.device))
    arithmetic, moved = needed["operations"] / rate * 1e6, needed["bytes"] / bandwidth * 1e6
    return {
        "us": max(arithmetic, moved),
        "arithmetic_us": arithmetic,
        "bytes_us": moved,
        "operations_per_s": rate,
        "bytes_per_s": bandwidth,
    }


class Floor:
    """Answers requests as a peer's process does."""

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The floor under a cell, measured now."""
        return {"version": ""} if request["do"] == "hello" else measure_floor(Cell.read(request["cell"]))


def _fastest(calls: Iterator[Thunk]) -> float:
    """Seconds of the fastest run of the fastest call."""
    found = []
    for call in calls:
        call()
        for _ in range(TIMES):
            start = time.perf_counter()
            call()
            found.append(time.perf_counter() - start)
    return min(found)


def _products(precision: str, device: str) -> Iterator[Thunk]:
    side = SIDES[device]
    a, b = (np.random.default_rng(i).standard_normal((side, side), dtype=np.float32) for i in range(2))
    if device == "cpu" and precision == "float32":
        yield lambda: a @ b
    yield _jax_product(a, b, precision)
    try:
        yield _torch_product(a, b, precision, device)
    except NOT_THERE:
        return


def _jax_product(a: Any, b: Any, precision: str) -> Thunk:
    import jax
    import jax.numpy as jnp

    x, y = (jnp.asarray(array, jnp.bfloat16 if precision == "bfloat16" else jnp.float32) for array in (a, b))
    product = jax.jit(partial(jnp.matmul, precision="tensorfloat32" if precision == "tf32" else "highest"))
    return lambda: product(x, y).block_until_ready()


def _torch_product(a: Any, b: Any, precision: str, device: str) -> Thunk:
    import torch

    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    x, y = (torch.from_numpy(array).to("cuda" if device == "gpu" else "cpu", dtype) for array in (a, b))
    if device == "cpu":
        return lambda: x @ y
    return lambda: (x @ y, torch.cuda.synchronize())


def _copies(size: int, device: str) -> Iterator[Thunk]:
    source, target = np.ones(size, np.float32), np.zeros(size, np.float32)
    if device == "gpu":
        yield _jax_copy(source)
        return
    yield lambda: np.copyto(target, source)
    yield _threaded(source, target)
    try:
        import torch
    except NOT_THERE:
        return
    x, y = torch.from_numpy(source), torch.from_numpy(target)
    yield lambda: y.copy_(x)


def _jax_copy(source: Any) -> Thunk:
    import jax

    x, more = jax.device_put(source), jax.jit(lambda x: x + 1)
    return lambda: more(x).block_until_ready()


def _threaded(source: Any, target: Any) -> Thunk:
    count = cores()
    pool = ThreadPoolExecutor(count)
    pieces = list(zip(np.array_split(target, count), np.array_split(source, count), strict=True))
    return lambda: list(pool.map(lambda piece: np.copyto(*piece), pieces))
