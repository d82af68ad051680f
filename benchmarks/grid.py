"""Time for a training step: chainrule, its peers and the floor, from 3-8-2 to 2048 wide, batches from 1 to 4096.

    python benchmarks/grid.py [--only networks,S,width] [--peers torch,numpy] [--rounds 5] [--seconds 0.3]
        [--json FILE [--again]] [--pictures FOLDER] [--quick] [--list]

`benchmarks/README.md` says what is measured and how.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from chainrule_peers import PEERS, machine, pictures, report, table
from chainrule_peers.crew import Crew
from chainrule_peers.task import Cell
from chainrule_peers.turns import Measured, Pace, measure, to_stderr

S, M, L = (64, 64, 10), (784, 512, 256, 10), (2048, 2048, 2048, 1000)

NETWORKS = {
    "3-8-2": Cell((3, 8, 2), 16, 1600),
    "24-8-2": Cell((24, 8, 2), 200, 200),
    "S": Cell(S, 32, 1440),
    "256": Cell((256, 256, 10), 64, 6400),
    "M": Cell(M, 128, 6400),
    "1024": Cell((1024, 1024, 10), 256, 5120),
    "L": Cell(L, 512, 2048),
}
BATCHES = {1: 1440, 8: 1440, 32: 1440, 128: 1536, 512: 2048, 4096: 8192}
"""Batch → rows."""
WIDTHS = (16, 32, 64, 128, 256, 512, 1024, 2048)
ROWS = (192, 960, 4800, 20000, 100000)

SERIES: dict[str, dict[str, Cell]] = {
    "networks": NETWORKS,
    "batch": {f"batch {batch}": Cell(S, batch, rows) for batch, rows in BATCHES.items()},
    "width": {f"width {d}": Cell((d, d, 10), 128, 6400 if d < 1024 else 2560) for d in WIDTHS},
    "rows": {f"rows {rows}": Cell(S, 32, rows) for rows in ROWS},
    "bfloat16": {f"{name} bfloat16": replace(NETWORKS[name], precision="bfloat16") for name in ("S", "M", "L")},
}
"""What a picture or a part of the table is made of: name → cell. A cell in several series is measured once."""

QUICK = Pace(rounds=2, seconds=0.05, longest_check=30, longest_epoch=2)


def chosen(only: list[str]) -> dict[str, Cell]:
    """Name → cell of series or cells of those names, all where there are none; each cell once."""
    cells: dict[str, Cell] = {}
    for series, members in SERIES.items():
        for name, cell in members.items():
            if (not only or series in only or name in only) and cell not in cells.values():
                cells[name] = cell
    return cells


def run(arguments: argparse.Namespace) -> report.Report:
    """Measure what is asked for, writing the file after each cell."""
    cells = chosen(arguments.only)
    found = report.read(arguments.json) if arguments.again else report.Report(machine.about())
    pace = QUICK if arguments.quick else Pace(arguments.rounds, arguments.seconds)
    began = time.monotonic()
    with Crew({name: PEERS[name] for name in arguments.peers}) as crew:
        found.left_out |= crew.left_out
        for name, cell in cells.items():
            if found.measured(cell) is not None:
                continue
            found.versions = list(dict.fromkeys([*found.versions, *crew.versions]))
            found.cells.append(measure(cell, crew.workers(), crew.floor, pace, lambda text, name=name: say(name, text)))
            found.loads.append(machine.load())
            if arguments.json:
                report.write(arguments.json, found)
    to_stderr(f"{len(cells)} cells in {(time.monotonic() - began) / 60:.1f} minutes")
    return found


def say(name: str, text: str) -> None:
    """Progress."""
    to_stderr(f"{time.strftime('%X')} {name}: {text}")


def series_of(found: report.Report) -> dict[str, dict[str, Measured]]:
    """The measured cells by series; a cell is in all that it belongs to."""
    parts = {}
    for series, members in SERIES.items():
        there = {name: found.measured(cell) for name, cell in members.items()}
        parts[series] = {name: measured for name, measured in there.items() if measured is not None}
    return {series: members for series, members in parts.items() if members}


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="series or cells: " + ", ".join(SERIES) + "; --list names the cells")
    parser.add_argument("--peers", default=",".join(PEERS), help="of " + ", ".join(PEERS))
    parser.add_argument("--rounds", type=int, default=5, help="how often each takes its turn")
    parser.add_argument("--seconds", type=float, default=0.3, help="least length of a turn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything here, after each cell")
    parser.add_argument("--again", action="store_true", help="go on with the cells that FILE does not have")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw the series as PNG files")
    parser.add_argument("--quick", action="store_true", help="two short rounds, to see that it runs")
    parser.add_argument("--list", action="store_true", help="name the cells and end")
    return parser


def read(argv: list[str] | None) -> argparse.Namespace:
    """The request, checked."""
    options = parser()
    arguments = options.parse_args(argv)
    arguments.only, arguments.peers = (
        [part for part in text.split(",") if part] for text in (arguments.only, arguments.peers)
    )
    cells = [name for members in SERIES.values() for name in members]
    for given, known in ((arguments.only, [*SERIES, *cells]), (arguments.peers, list(PEERS))):
        if unknown := [name for name in given if name not in known]:
            options.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    if arguments.rounds < 1 or arguments.seconds <= 0:
        options.error("rounds must be at least 1, seconds above 0")
    if arguments.again and not (arguments.json and arguments.json.exists()):
        options.error("--again goes on from the file that --json names, which is not there")
    return arguments


def main(argv: list[str] | None = None) -> None:
    """Measure, print and draw."""
    arguments = read(argv)
    if arguments.list:
        for name, cell in chosen(arguments.only).items():
            print(f"{name:16} {cell.key}")
        return
    found = run(arguments)
    print(table.heading(found))
    print(table.markdown(series_of(found)))
    print(table.notes(found, {cell: name for name, cell in chosen([]).items()}))
    if arguments.pictures:
        for path in pictures.draw(series_of(found), arguments.pictures):
            to_stderr(f"drew {path}")


if __name__ == "__main__":
    main()
