"""Time for a training step: chainrule, its peers and the floor, from 3-8-2 to 2048 wide, batches from 1 to 4096.

    python benchmarks/grid.py [--only networks,S,width] [--peers torch,numpy] [--rounds 5] [--seconds 0.3]
        [--json FILE [--again]] [--pictures FOLDER] [--quick] [--list]

`benchmarks/README.md` says what is measured and how.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from chainrule.bench import PEERS, cell_series, pictures, table
from chainrule.bench.task import Cell
from chainrule.bench.turns import to_stderr

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

SERIES: cell_series.Series = {
    "networks": NETWORKS,
    "batch": {f"batch {batch}": Cell(S, batch, rows) for batch, rows in BATCHES.items()},
    "width": {f"width {d}": Cell((d, d, 10), 128, 6400 if d < 1024 else 2560) for d in WIDTHS},
    "rows": {f"rows {rows}": Cell(S, 32, rows) for rows in ROWS},
    "bfloat16": {f"{name} bfloat16": replace(NETWORKS[name], precision="bfloat16") for name in ("S", "M", "L")},
}


def main(argv: list[str] | None = None) -> None:
    """Measure, print and draw."""
    parser = cell_series.make_parser((__doc__ or "").split("\n")[0], SERIES, list(PEERS))
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw the series as PNG files")
    asked = cell_series.parse_args(parser, SERIES, list(PEERS), argv)
    cells = cell_series.select_cells(SERIES, asked.only)
    if asked.list:
        cell_series.print_cells(cells)
        return
    found = cell_series.measure_cells(cells, asked)
    series = cell_series.by_series(SERIES, found)
    print(
        table.heading(found),
        table.markdown_table(series),
        table.notes(found, cell_series.cell_names(SERIES)),
        sep="\n\n",
    )
    if asked.pictures:
        for path in pictures.draw_series(series, asked.pictures):
            to_stderr(f"drew {path}")


if __name__ == "__main__":
    main()
