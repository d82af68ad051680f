"""`chainrule bench`: what this machine needs for a training step, beside the estimate that backend="auto" goes by."""

from __future__ import annotations

import argparse
import itertools
import json
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

CASES = (((4, 8, 3), 16, 160, 30), ((64, 64, 10), 32, 1440, 10), ((784, 128, 10), 128, 3840, 3))
"""Layer widths, batch, rows, epochs: from where interpreting pays to where compiling does."""


@dataclass(frozen=True)
class Row:
    """One network on one backend: seconds before the first step, and microseconds a step, estimated and measured."""

    network: str
    batch: int
    backend: str
    prepare_estimated: float
    prepare_measured: float
    step_estimated: float
    step_measured: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench`."""
    parser.add_argument("--json", action="store_true", help="print one JSON object, last, on standard output")


def run(request: argparse.Namespace) -> int:
    """Measure and print."""
    rows = [_measured(*case, backend) for case in CASES for backend in ("numpy", "xla")]
    if request.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "crossover_steps": _crossovers(rows)}))
    else:
        _show(rows)
    return 0


def _measured(sizes: tuple[int, ...], batch: int, rows: int, epochs: int, backend: str) -> Row:
    from chainrule.backends.estimate import compile_seconds, seconds

    trainer, X, y = _task(sizes, rows, backend)
    first = _fit_seconds(trainer, X, y, epochs, batch)
    steady = min(_fit_seconds(trainer, X, y, epochs, batch) for _ in range(3))
    graph = trainer.step_graph(X, y, batch)
    steps = epochs * rows // batch
    return Row(
        "-".join(map(str, sizes)), batch, backend,
        compile_seconds([graph]) if backend == "xla" else 0.0, max(first - steady, 0.0),
        seconds(graph, backend) * 1e6, steady / steps * 1e6,
    )  # fmt: skip


def _task(sizes: tuple[int, ...], rows: int, backend: str) -> tuple[Any, Any, Any]:
    import chainrule as cr

    cr.seed(0)
    layers: list[Any] = []
    for wide, narrow in itertools.pairwise(sizes):
        layers += [cr.nn.Linear(wide, narrow), cr.nn.ReLU()]
    model = cr.nn.Sequential(*layers[:-1])
    random = np.random.default_rng(0)
    X, y = random.normal(size=(rows, sizes[0])).astype(np.float32), random.integers(0, sizes[-1], rows)
    return cr.Trainer(model, cr.nn.CrossEntropyLoss(), cr.optim.Adam(), backend=backend), X, y


def _fit_seconds(trainer: Any, X: Any, y: Any, epochs: int, batch: int) -> float:
    before = time.perf_counter()
    trainer.fit(X, y, epochs=epochs, batch_size=batch, progress=False)
    return time.perf_counter() - before


def _crossovers(rows: list[Row]) -> dict[str, dict[str, float]]:
    """By network: the number of steps from which compiling pays, estimated and measured."""
    found = {}
    for plain, compiled in zip(rows[::2], rows[1::2], strict=True):
        estimated = _crossover(compiled.prepare_estimated, plain.step_estimated, compiled.step_estimated)
        measured = _crossover(compiled.prepare_measured, plain.step_measured, compiled.step_measured)
        found[plain.network] = {"estimated": estimated, "measured": measured}
    return found


def _crossover(prepare: float, plain: float, compiled: float) -> float:
    return prepare / max(plain - compiled, 1e-3) * 1e6


def _show(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title='What backend="auto" goes by, and what this machine needs')
    for title in (
        "network",
        "batch",
        "backend",
        "prepare s, estimated",
        "measured",
        "µs a step, estimated",
        "measured",
    ):
        table.add_column(title, justify="left" if title in ("network", "backend") else "right")
    for row in rows:
        numbers = (
            f"{row.prepare_estimated:.2f}",
            f"{row.prepare_measured:.2f}",
            f"{row.step_estimated:.0f}",
            f"{row.step_measured:.0f}",
        )
        table.add_row(row.network, str(row.batch), row.backend, *numbers)
    console = Console()
    console.print(table)
    for network, steps in _crossovers(rows).items():
        estimated, measured = f"{steps['estimated']:,.0f}", f"{steps['measured']:,.0f}"
        console.print(f"{network}: compiling pays from {estimated} steps on (estimated), {measured} (measured)")
