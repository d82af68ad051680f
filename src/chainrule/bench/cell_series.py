"""What the scripts share: series of cells, their options, and measuring cell by cell."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from chainrule.bench import PEERS, machine, report
from chainrule.bench.task import Cell
from chainrule.bench.turns import CellResult, Pace, measure_cell, to_stderr
from chainrule.bench.worker_pool import WorkerPool

Series = Mapping[str, Mapping[str, Cell]]
"""Name of a series → name → cell. A cell may be in several; it is measured once, under its first name."""

QUICK = Pace(rounds=2, seconds=0.05, steps=1, longest_check=30, longest_epoch=2)


def select_cells(series: Series, only: Sequence[str] = ()) -> dict[str, Cell]:
    """Name → cell of the series or cells of those names, all where there are none; each cell once."""
    cells: dict[str, Cell] = {}
    for title, members in series.items():
        for name, cell in members.items():
            if (not only or title in only or name in only) and cell not in cells.values():
                cells[name] = cell
    return cells


def cell_names(series: Series) -> dict[Cell, str]:
    """Cell → name."""
    return {cell: name for name, cell in select_cells(series).items()}


def by_series(series: Series, found: report.Report) -> dict[str, dict[str, CellResult]]:
    """The measured cells; a cell is in all series that it belongs to."""
    parts = {}
    for title, members in series.items():
        there = {name: found.measured(cell) for name, cell in members.items()}
        parts[title] = {name: measured for name, measured in there.items() if measured is not None}
    return {title: members for title, members in parts.items() if members}


def measure_cells(cells: Mapping[str, Cell], asked: argparse.Namespace, device: str = "cpu") -> report.Report:
    """Measure the cells that the file does not have yet, and write it after each."""
    found = report.read_report(asked.json) if asked.again else report.Report(machine.describe_machine())
    pace = QUICK if asked.quick else Pace(asked.rounds, asked.seconds)
    began = time.monotonic()
    with WorkerPool({name: PEERS[name] for name in asked.peers}, device) as pool:
        found.left_out |= pool.left_out
        found.versions = list(dict.fromkeys([*found.versions, *pool.versions]))
        for name, cell in cells.items():
            if found.measured(cell) is not None:
                continue

            def say(text: str, name: str = name) -> None:
                to_stderr(f"{time.strftime('%X')} {name}: {text}")

            found.cells.append(measure_cell(cell, pool.workers(), pool.floor, pace, say))
            found.loads.append(machine.load_average())
            if asked.json:
                report.write_report(asked.json, found)
    to_stderr(f"{len(cells)} cells in {(time.monotonic() - began) / 60:.1f} minutes")
    return found


def make_parser(description: str, series: Series, peers: Sequence[str]) -> argparse.ArgumentParser:
    """The options that all scripts have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--only", default="", help="series or cells: " + ", ".join(series) + "; --list names the cells")
    parser.add_argument("--peers", default=",".join(peers), help="of " + ", ".join(peers))
    parser.add_argument("--rounds", type=int, default=5, help="how often each takes its turn")
    parser.add_argument("--seconds", type=float, default=0.4, help="least length of a turn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here, after each cell")
    parser.add_argument("--again", action="store_true", help="go on with the cells that FILE does not have")
    parser.add_argument("--quick", action="store_true", help="two short rounds, to see that it runs")
    parser.add_argument("--list", action="store_true", help="name the cells and end")
    return parser


def parse_args(
    parser: argparse.ArgumentParser, series: Series, peers: Sequence[str], argv: list[str] | None
) -> argparse.Namespace:
    """The request, checked; names are lists."""
    asked = parser.parse_args(argv)
    asked.only, asked.peers = ([part for part in text.split(",") if part] for text in (asked.only, asked.peers))
    cells = [name for members in series.values() for name in members]
    for given, known in ((asked.only, [*series, *cells]), (asked.peers, list(peers))):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    if asked.rounds < 1 or asked.seconds <= 0:
        parser.error("rounds must be at least 1, seconds above 0")
    if asked.again and not (asked.json and asked.json.exists()):
        parser.error("--again goes on from the file that --json names, which is not there")
    return asked


def print_cells(cells: Mapping[str, Cell]) -> None:
    """Name the cells."""
    for name, cell in cells.items():
        print(f"{name:16} {cell.key}")
