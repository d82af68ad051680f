"""Gradients of random graphs against JAX's, as many as one has time for.

    python benchmarks/random_graphs.py --first 22000 --graphs 1000

Each graph is drawn by `tests/recipes.py`, differentiated define-by-run on the NumPy interpreter, and compared with what
JAX derives for an independent program (`tests/outside.py`). Every so many graphs the gradient graph is also compiled
as users' graphs are, in both precisions: in float64 it must be JAX's gradient, and the check that guards compiled
programs must find nothing. The error is the largest difference relative to the largest element of JAX's gradient, all
inputs together; where JAX's is not a number and ours is, finite differences decide. A run is a shard: its seeds are
`--first` to `--first` + `--graphs` − 1, and its last line sums it up. The test suite does the same for 2,000 graphs.
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
from chainrule import backends
from chainrule.backends.agreement import disagreement


def errors(recipe: recipes.Recipe, order: int) -> tuple[list[float], bool]:
    """The error of each order's derivative, and whether the gradient is so small that it is compared absolutely."""
    theirs = outside.reference(recipe, order)
    xs = [cr.tensor(x) for x in recipe.inputs]
    functions = [recipe.cost, recipe.slope][:order]
    ours = [[g.numpy() for g in cr.grad(f, range(len(xs)))(*xs)] for f in functions]
    small = max(float(np.abs(t).max(initial=0)) for t in theirs[0]) < outside.FLOOR
    return [outside.error(o, t) for o, t in zip(ours, theirs, strict=True)], small


def compiled_errors(recipe: recipes.Recipe) -> tuple[float, list[str]]:
    """The error of the compiled gradient in float64, and what the check says of it in both precisions."""
    [theirs], said, error = outside.reference(recipe, 1), [], 0.0
    every = range(len(recipe.inputs))
    for dtype in (np.float64, np.float32):
        points = [x.astype(dtype) for x in recipe.inputs]
        graph = cr.trace(cr.grad(recipe.cost, every), *points).simplify().verify()
        values = graph.arrays(points)
        found = backends.get("xla").run_unchecked(graph, values)
        if dtype is np.float64:
            error = outside.error(found, theirs)
        wrong = disagreement(graph, values, found)
        if wrong is not None:
            said.append(f"{np.dtype(dtype).name}: {wrong}, {wrong.times:.2g} times")
    return error, said


class Shard:
    """What became of the seeds of one run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.start = options, time.perf_counter()
        self.found: dict[int, list[tuple[float, int]]] = {1: [], 2: []}
        self.failed: list[tuple[int, str]] = []
        self.moves: collections.Counter[str] = collections.Counter()
        self.absolute = self.compiled = self.by_differences = 0

    def add(self, seed: int) -> None:
        """Compare one graph."""
        recipe, options = recipes.draw(seed), self.options
        self.moves.update(step.move for step in recipe.steps)
        by_order, small = errors(recipe, 1 if seed % options.second_order_every else 2)
        self.absolute += small
        if not np.isfinite(by_order[0]):
            # JAX makes a NaN of 0·∞ in places where the derivative is finite.
            cr.check_grad(recipe.cost, *recipe.inputs)
            self.by_differences += 1
            return
        for order, error in enumerate(by_order, 1):
            self.found[order].append((error, seed))
            self._judge(seed, f"order {order}", error)
        if options.compiled_every and (seed % options.compiled_every == 0 or recipes.Kind.of(seed).tall):
            self.compiled += 1
            error, said = compiled_errors(recipe)
            self._judge(seed, "compiled", error)
            self.failed += [(seed, f"check: {one}") for one in said]

    def _judge(self, seed: int, what: str, error: float) -> None:
        if not error <= self.options.tolerance:
            self.failed.append((seed, f"{what}: {error:.3g}"))

    def report(self, count: int) -> None:
        """Print how many, how far off, which seeds; the last line sums it up."""
        for order, pairs in self.found.items():
            if pairs:
                quantiles = np.percentile([error for error, _ in pairs], (50, 99, 99.9))
                shown = ", ".join(f"{q:g}%: {x:.1e}" for q, x in zip((50, 99, 99.9), quantiles, strict=True))
                print(
                    f"  order {order}: {len(pairs)} compared, worst {max(pairs)[0]:.2e} (seed {max(pairs)[1]}), {shown}"
                )
        print(f"  JAX's gradient was not finite, ours was that of finite differences: {self.by_differences}")
        print(f"  gradients below {outside.FLOOR:g}, compared absolutely: {self.absolute}")
        print("  failed:", *self.failed[:20])
        worst = max((pair for pairs in self.found.values() for pair in pairs), default=(0.0, 0))
        seconds, first = time.perf_counter() - self.start, self.options.first
        print(
            f"seeds {first}-{first + count - 1}: {count} graphs, {self.compiled} of them compiled, {len(self.failed)} "
            f"failures, worst error {worst[0]:.2e} (seed {worst[1]}), {1000 * seconds / count:.1f} ms a graph",
            flush=True,
        )


def main() -> None:
    """Compare, and say the worst."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--graphs", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--second-order-every", type=int, default=5, metavar="N")
    parser.add_argument("--compiled-every", type=int, default=10, metavar="N", help="0 for none; tall ones always are")
    parser.add_argument("--tolerance", type=float, default=1e-9)
    shard = Shard(parser.parse_args())
    for count in range(1, shard.options.graphs + 1):
        seed = shard.options.first + count - 1
        try:
            shard.add(seed)
        except Exception as problem:
            shard.failed.append((seed, repr(problem)))
        if count % 2000 == 0:
            # JAX keeps what it traced; without this the memory grows with the number of graphs.
            jax.clear_caches()
        if count % 2000 == 0 and count < shard.options.graphs:
            shard.report(count)
    print("steps drawn:", ", ".join(f"{name} {n}" for name, n in shard.moves.most_common()))
    shard.report(shard.options.graphs)
    sys.exit(bool(shard.failed))


if __name__ == "__main__":
    main()
