"""Where compiling begins to pay: what a step costs on either backend, measured, beside what backend="auto" expects.

Usage: python benchmarks/crossover.py [--rounds 3] [--only 64-64-10] [--fit] [--json FILE]

For each network: microseconds a step, interpreted and compiled; seconds before the first compiled step (importing JAX
and compiling, in a process of its own); the number of steps from which compiling pays. `--fit` prints the constants for
`chainrule/backends/cost.py` that describe the measurements best: least squares of the relative errors.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

BACKENDS = ("numpy", "xla")


@dataclass(frozen=True)
class Case:
    """A network: widths, rows a step, rows, the optimizer's name, and what stands between the layers."""

    widths: tuple[int, ...]
    batch: int
    rows: int
    optimizer: str = "Adam"
    dropout: float = 0.0
    norm: bool = False

    @property
    def name(self) -> str:
        """As `--only` takes it."""
        more = "".join(f" {word}" for word, has in (("dropout", self.dropout), ("norm", self.norm)) if has)
        return f"{'-'.join(map(str, self.widths))}, {self.batch}, {self.optimizer}{more}"


CASES = (
    Case((4, 8, 3), 16, 160),
    Case((4, 128, 64, 3), 32, 96),
    Case((13, 128, 64, 3), 32, 128, dropout=0.1),
    Case((30, 32, 2), 32, 416, "SGD"),
    Case((24, 8, 2), 200, 200, "SGD"),
    Case((64, 64, 10), 32, 1440),
    Case((64, 128, 64, 10), 32, 1440),
    Case((64, 128, 64, 10), 32, 1440, dropout=0.2, norm=True),
    Case((256, 128, 10), 64, 1280),
    Case((784, 128, 10), 128, 2560),
    Case((784, 512, 256, 10), 128, 2560),
    Case((1024, 1024, 10), 128, 1280),
)


def trainer(case: Case, backend: str) -> tuple[Any, Any, Any]:
    """The trainer of a case, and its data."""
    import chainrule as cr

    cr.seed(0)
    layers: list[Any] = []
    for wide, narrow in pairwise(case.widths):
        layers += [cr.nn.Linear(wide, narrow), cr.nn.ReLU()]
        layers += [cr.nn.LayerNorm(narrow)] if case.norm else []
        layers += [cr.nn.Dropout(case.dropout)] if case.dropout else []
    model = cr.nn.Sequential(*layers[: layers.index(next(x for x in layers[::-1] if isinstance(x, cr.nn.Linear))) + 1])
    random = np.random.default_rng(0)
    X = random.normal(size=(case.rows, case.widths[0])).astype(np.float32)
    y = random.integers(0, case.widths[-1], case.rows)
    optimizer = getattr(cr.optim, case.optimizer)(1e-3)
    return cr.Trainer(model, cr.nn.CrossEntropyLoss(), optimizer, backend=backend), X, y


def step_seconds(case: Case, backend: str, rounds: int) -> float:
    """The least time of a step over some calls of `fit`, each of about a fifth of a second."""
    made, X, y = trainer(case, backend)
    steps = -(-case.rows // case.batch)
    asked = {"batch_size": case.batch, "progress": False}
    made.fit(X, y, epochs=2, **asked)
    began = time.perf_counter()
    made.fit(X, y, epochs=8, **asked)
    epochs = max(8, int(0.2 / (time.perf_counter() - began) * 8))
    found = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        made.fit(X, y, epochs=epochs, **asked)
        found.append(time.perf_counter() - began)
    # The first of them may have compiled for calls of another length.
    return min(found[1:]) / epochs / steps


def prepare_seconds(position: int) -> float:
    """What a first epoch takes longer compiled than a second one, in a new process."""
    made, X, y = trainer(CASES[position], "xla")
    asked = {"epochs": 1, "batch_size": CASES[position].batch, "progress": False}
    took = []
    for _ in range(2):
        began = time.perf_counter()
        made.fit(X, y, **asked)
        took.append(time.perf_counter() - began)
    return took[0] - took[1]


def measured(position: int, rounds: int) -> dict[str, Any]:
    """A case, measured and estimated; times in seconds."""
    from chainrule.backends import cost

    case = CASES[position]
    made, X, y = trainer(case, "numpy")
    step = made.step("numpy")
    graph = step.training(step.state(), [X, y.astype(np.int32)], case.batch)
    again = [sys.executable, __file__, "--prepare", str(position)]
    prepare = float(subprocess.run(again, capture_output=True, text=True, check=True).stdout)
    return {
        "case": case.name,
        "step": {backend: step_seconds(case, backend, rounds) for backend in BACKENDS},
        "estimated": {backend: cost.seconds(graph, backend) for backend in BACKENDS},
        "kind": {backend: cost.cost_kind(graph, backend) for backend in BACKENDS},
        "counts": list(cost.counts(graph)),
        "nodes": len(graph),
        "prepare": prepare,
        "prepare_estimated": cost.compile_seconds([graph]),
    }


def crossover(row: dict[str, Any], step: str, prepare: str) -> float:
    """The number of steps from which compiling pays."""
    saved = row[step]["numpy"] - row[step]["xla"]
    return row[prepare] / saved if saved > 0 else float("inf")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A Markdown table."""
    lines = [
        "| network, batch, optimizer | interpreted µs (expected) | compiled µs (expected) | prepare s (expected) "
        "| pays from step (expected) |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        times = [f"{row['step'][b] * 1e6:,.1f} ({row['estimated'][b] * 1e6:,.1f})" for b in BACKENDS]
        pays = [f"{crossover(row, *names):,.0f}" for names in (("step", "prepare"), ("estimated", "prepare_estimated"))]
        prepare = f"{row['prepare']:.2f} ({row['prepare_estimated']:.2f})"
        lines.append(f"| {row['case']} | {times[0]} | {times[1]} | {prepare} | {pays[0]} ({pays[1]}) |")
    return "\n".join(lines)


def fitted(rows: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """By kind the costs that describe the measurements best; and those of preparing: the fixed part, and one a node."""
    from scipy.optimize import nnls

    found: dict[str, list[float]] = {}
    for kind in sorted({kind for row in rows for kind in row["kind"].values()}):
        of_kind = [(row["counts"], row["step"][b]) for row in rows for b in BACKENDS if row["kind"][b] == kind]
        relative = np.array([np.array(counts) / seconds for counts, seconds in of_kind])
        # Columns of one size, or the smallest costs would be lost to rounding.
        scale = np.abs(relative).max(axis=0)
        found[kind] = (nnls(relative / scale, np.ones(len(of_kind)))[0] / scale).tolist()
    known = np.array([[1.0, row["nodes"]] for row in rows]) / np.array([[row["prepare"]] for row in rows])
    found["prepare"] = nnls(known, np.ones(len(rows)))[0].tolist()
    return found


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each is timed")
    parser.add_argument("--only", default="", help="the networks whose name begins so")
    parser.add_argument("--fit", action="store_true", help="print the constants that describe the measurements best")
    parser.add_argument("--json", type=Path, help="write everything here")
    parser.add_argument("--prepare", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    asked = _arguments(argv)
    os.environ["CHAINRULE_CACHE"] = "off"
    if asked.prepare is not None:
        print(prepare_seconds(asked.prepare))
        return
    chosen = [i for i, case in enumerate(CASES) if case.name.startswith(asked.only)]
    if not chosen:
        raise SystemExit(f"no network begins with {asked.only}; there are {'; '.join(case.name for case in CASES)}")
    rows = []
    for position in chosen:
        rows.append(measured(position, asked.rounds))
        print(rows[-1]["case"], file=sys.stderr)
    print(table(rows))
    if asked.fit:
        for kind, costs in fitted(rows).items():
            print(f"{kind}: " + ", ".join(f"{cost:.3g}" for cost in costs))
    if asked.json:
        from chainrule import files

        files.write(asked.json, (json.dumps(rows, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
