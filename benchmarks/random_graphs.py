"""Gradients of random graphs against JAX's, as many as one has time for.

    python benchmarks/random_graphs.py --graphs 100000

Each graph is drawn by `tests/recipes.py`, differentiated define-by-run on the NumPy interpreter, and compared with what
JAX derives for an independent program (`tests/outside.py`). The error is the largest difference relative to the largest
element of JAX's gradient, all inputs together. The test suite does the same for 2,000 graphs, on both backends.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import jax
import numpy as np

import chainrule as cr
import outside
import recipes


def errors(recipe: recipes.Recipe, order: int) -> tuple[list[float], bool]:
    """The error of each order's derivative, and whether the gradient is so small that it is compared absolutely."""
    theirs = outside.reference(recipe, order)
    xs = [cr.tensor(x) for x in recipe.inputs]
    functions = [recipe.cost, recipe.slope][:order]
    ours = [[g.numpy() for g in cr.grad(f, range(len(xs)))(*xs)] for f in functions]
    small = max(float(np.abs(t).max()) for t in theirs[0]) < outside.FLOOR
    return [outside.error(o, t) for o, t in zip(ours, theirs, strict=True)], small


def main() -> None:
    """Compare, and say the worst."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--graphs", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--second-order-every", type=int, default=5, metavar="N")
    parser.add_argument("--tolerance", type=float, default=1e-9)
    options = parser.parse_args()

    found: dict[int, list[tuple[float, int]]] = {1: [], 2: []}
    failed: list[tuple[int, str]] = []
    moves: collections.Counter[str] = collections.Counter()
    absolute, start = 0, time.perf_counter()
    for count, seed in enumerate(range(options.first, options.first + options.graphs), 1):
        recipe = recipes.draw(seed)
        moves.update(step.move for step in recipe.steps)
        try:
            by_order, small = errors(recipe, 1 if seed % options.second_order_every else 2)
            absolute += small
            for order, error in enumerate(by_order, 1):
                found[order].append((error, seed))
                if error > options.tolerance:
                    failed.append((seed, f"order {order}: {error:.3g}"))
        except Exception as problem:
            failed.append((seed, repr(problem)))
        if count % 2000 == 0:
            # JAX keeps what it traced; without this the memory grows with the number of graphs.
            jax.clear_caches()
            report(count, time.perf_counter() - start, found, failed, absolute)
    report(options.graphs, time.perf_counter() - start, found, failed, absolute)
    print("steps drawn:", ", ".join(f"{name} {n}" for name, n in moves.most_common()))
    sys.exit(bool(failed))


def report(
    count: int, seconds: float, found: dict[int, list[tuple[float, int]]], failed: list[tuple[int, str]], absolute: int
) -> None:
    """One block of text: how many, how far off, which seeds."""
    print(f"{count} graphs in {seconds:.0f} s; gradients below {outside.FLOOR:g}, compared absolutely: {absolute}")
    for order, pairs in found.items():
        if pairs:
            values = np.array([error for error, _ in pairs])
            error, seed = max(pairs)
            quantiles = ", ".join(f"{q:g}%: {np.percentile(values, q):.1e}" for q in (50, 99, 99.9))
            print(f"  order {order}: {len(pairs)} compared, worst {error:.2e} (seed {seed}), {quantiles}")
    print(f"  failed: {len(failed)}", *failed[:20], flush=True)


if __name__ == "__main__":
    main()
