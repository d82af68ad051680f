"""`chainrule bench`: a training step on this machine, beside the peers that are installed, in under a minute."""

from __future__ import annotations

import json
from statistics import median
from typing import TYPE_CHECKING, Any

from chainrule.cli.options import Bench

if TYPE_CHECKING:
    from chainrule.bench.report import Report
    from chainrule.bench.turns import CellResult

CELLS = {
    "3-8-2": ((3, 8, 2), 16, 1600),
    "S": ((64, 64, 10), 32, 1440),
    "M": ((784, 512, 256, 10), 128, 2560),
}
"""Name → widths, batch, rows."""

TOO_LONG = dict.fromkeys(("torch-compile", "tinygrad"), "compiles for too long; benchmarks/grid.py has it")

SLOW = ("torch", "keras")
"""Made ready last: one compiles for long, and one crawls where other work goes on; the others should have had time."""

TURN = 0.1
"""Seconds."""

SECONDS = 45.0
"""For all cells; what a peer has begun by then it ends."""


def run(request: Bench) -> int:
    """Measure and print."""
    report = _measured()
    if request.json:
        print(json.dumps(_summary(report)))
    else:
        _show(report)
    return 0


def _measured() -> Report:
    import time

    from rich.console import Console

    from chainrule.bench import PEERS, machine
    from chainrule.bench.report import Report
    from chainrule.bench.task import Cell
    from chainrule.bench.turns import Pace, measure_cell
    from chainrule.bench.worker_pool import WorkerPool

    began = time.monotonic()
    report = Report(machine.describe_machine())
    peers = {name: PEERS[name] for name in sorted(PEERS, key=SLOW.__contains__) if name not in TOO_LONG}
    with Console(stderr=True).status("starting the peers") as status, WorkerPool(peers) as pool:
        report.left_out, report.versions = {**pool.left_out, **TOO_LONG}, pool.versions
        for done, (name, cell) in enumerate(CELLS.items()):
            left = SECONDS - (time.monotonic() - began)
            pace = Pace(3, TURN, longest_check=8.0, longest_epoch=1.0, longest_cell=left / (len(CELLS) - done))

            def say(text: str, name: str = name) -> None:
                status.update(f"{name}: {text}")

            report.cells.append(measure_cell(Cell(*cell), pool.workers(), pool.floor, pace, say))
    return report


def _summary(report: Report) -> dict[str, Any]:
    cells = [_cell(name, measured) for name, measured in zip(CELLS, report.cells, strict=True)]
    return {"machine": report.machine, "versions": report.versions, "cells": cells, "left_out": report.left_out}


def _cell(name: str, measured: CellResult) -> dict[str, Any]:
    from chainrule.bench.table import floor_us

    peers = {
        peer: {
            "us": median(found.us),
            "us_min": min(found.us),
            "us_max": max(found.us),
            "ratio": median(found.ratios) if found.ratios else None,
            "same_loss": found.same_loss,
        }
        for peer, found in measured.peers.items()
    }
    widths, batch, rows = CELLS[name]
    shape = {"name": name, "widths": widths, "batch": batch, "rows": rows}
    return {**shape, "floor_us": floor_us(measured), "peers": peers, "left_out": measured.left_out}


def _show(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    from chainrule.bench import table as words

    console = Console()
    shown = Table(title="µs a training step: median ± half the range, × chainrule; fastest bold")
    shown.add_column("peer")
    for name, (widths, batch, _) in CELLS.items():
        network = "-".join(map(str, widths))
        shown.add_column(f"{network if name == network else f'{name} {network}'}\nbatch {batch}", justify="right")
    for peer in words.columns(report.cells):
        shown.add_row(peer, *(_entry(measured, peer) for measured in report.cells))
    shown.add_row("floor", *(words.format_micros(words.floor_us(measured)) for measured in report.cells), style="dim")
    console.print(shown)
    here = report.machine
    console.print(f"{here['processor']}, {here['cores']} cores; {'; '.join(report.versions)}", highlight=False)
    names = {measured.cell: name for name, measured in zip(CELLS, report.cells, strict=True)}
    for line in words.notes(report, names).splitlines():
        console.print(line, highlight=False, markup=False)


def _entry(measured: CellResult, peer: str) -> str:
    from chainrule.bench.table import OTHER_LOSS, fastest, format_micros

    if peer not in measured.peers:
        return "–"
    found = measured.peers[peer]
    middle = median(found.us)
    text = format_micros(middle)
    text = f"[bold]{text}[/bold]" if peer == fastest(measured) else text
    text += f" ±{50 * (max(found.us) - min(found.us)) / middle:.0f}%"
    text += f" {median(found.ratios):.1f}×" if found.ratios else ""
    return text if found.same_loss else f"{text} {OTHER_LOSS}"
