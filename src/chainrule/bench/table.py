"""The table: one row per cell, one column per peer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median

from chainrule.bench import OURS, PEERS
from chainrule.bench.report import Report
from chainrule.bench.task import Cell
from chainrule.bench.turns import CellResult, PeerResult

OTHER_LOSS = "other loss"


def heading(report: Report) -> str:
    """Where and what was measured."""
    here = report.machine
    loads = [load for load in report.loads if load is not None]
    load = f", load {min(loads)} – {max(loads)}" if loads else ""
    where = f"{here['processor']}, {here['cores']} cores, Python {here['python']}{load}"
    return "\n".join([where, "; ".join(report.versions), ceilings(report)])


def ceilings(report: Report) -> str:
    """The rates behind the floors: the best product in each precision, the slowest and the fastest copy."""
    rates: dict[str, list[float]] = {}
    for measured in report.cells:
        rates.setdefault(measured.cell.precision, []).extend(floor["operations_per_s"] for floor in measured.floor)
    copies = [floor["bytes_per_s"] for measured in report.cells for floor in measured.floor]
    if not copies:
        return "no floor was measured"
    products = ", ".join(
        f"{precision} {max(found, default=0) / 1e9:,.0f} GFLOP/s" for precision, found in rates.items()
    )
    return f"matrix product: {products}; memory: {min(copies) / 1e9:,.0f} – {max(copies) / 1e9:,.0f} GB/s"


def markdown_table(series: Mapping[str, Mapping[str, CellResult]]) -> str:
    """µs a step, median (min – max) and × chainrule, the fastest bold. A cell in several series has one row."""
    cells: dict[str, tuple[str, CellResult]] = {}
    for members in series.values():
        for name, measured in members.items():
            cells.setdefault(measured.cell.key, (name, measured))
    peers = columns(measured for _, measured in cells.values())
    lines = [
        "µs a step: median (min – max) over rounds, × chainrule round by round; **fastest**",
        "",
        "| cell | network | batch | rows | floor | " + " | ".join(peers) + " |",
        "|---|---|" + "---:|" * (3 + len(peers)),
    ]
    return "\n".join([*lines, *(_row(name, measured, peers) for name, measured in cells.values())])


def columns(cells: Iterable[CellResult]) -> list[str]:
    """The peers that are in any of the cells, in their usual order."""
    there = {peer for measured in cells for peer in measured.peers}
    return [peer for peer in PEERS if peer in there] + sorted(there - set(PEERS))


def _row(name: str, measured: CellResult, peers: list[str]) -> str:
    cell = measured.cell
    first = fastest(measured)
    entries = [
        entry(measured.peers[peer], peer, bold=peer == first) if peer in measured.peers else "–" for peer in peers
    ]
    network = "-".join(map(str, cell.widths)) + ("" if cell.precision == "float32" else f", {cell.precision}")
    parts = [name, network, str(cell.batch), f"{cell.rows:,}", format_micros(floor_us(measured)), *entries]
    return "| " + " | ".join(parts) + " |"


def entry(found: PeerResult, peer: str, bold: bool) -> str:
    """The time, its range, and the ratio."""
    middle = format_micros(median(found.us))
    text = f"{f'**{middle}**' if bold else middle} ({format_micros(min(found.us))} – {format_micros(max(found.us))})"
    if found.ratios and peer != OURS:
        text += f" {median(found.ratios):.2f}×"
    return text if found.same_loss else f"{text} {OTHER_LOSS}"


def fastest(measured: CellResult) -> str:
    """The peer with the lowest median among those that reach the same loss; or nothing."""
    medians = {peer: median(found.us) for peer, found in measured.peers.items() if found.same_loss}
    return min(medians, key=medians.__getitem__, default="")


def floor_us(measured: CellResult) -> float:
    """The floor's median; not a number where there is none."""
    return median(floor["us"] for floor in measured.floor) if measured.floor else math.nan


def format_micros(micros: float) -> str:
    """Three digits at least."""
    if math.isnan(micros):
        return "–"
    return f"{micros:.2f}" if micros < 10 else f"{micros:,.1f}" if micros < 100 else f"{micros:,.0f}"


def notes(report: Report, names: Mapping[Cell, str]) -> str:
    """The notes below the table: who was left out where, whose loss differs, and which cells are lost."""
    lines = [f"left out: {peer}: {why}" for peer, why in report.left_out.items()]
    where: dict[str, list[str]] = {}
    for measured in report.cells:
        name = names[measured.cell]
        for peer, why in measured.left_out.items():
            where.setdefault(f"left out: {peer}: {why}", []).append(name)
        for peer, found in measured.peers.items():
            if not found.same_loss:
                where.setdefault(f"{OTHER_LOSS}: {peer}: {found.loss:.4f} for {measured.loss:.4f}", []).append(name)
        if loss := lost(measured):
            where.setdefault(f"lost to {loss}", []).append(name)
    return "\n".join([*lines, *(f"{what} ({', '.join(cells)})" for what, cells in where.items())])


def lost(measured: CellResult) -> str:
    """Who is faster than chainrule, and by how much; or nothing."""
    faster = [
        f"{peer} {median(found.ratios):.2f}×"
        for peer, found in measured.peers.items()
        if found.same_loss and found.ratios and median(found.ratios) < 1
    ]
    return ", ".join(faster)
