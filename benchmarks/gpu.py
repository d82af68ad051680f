"""Time for a training step on an NVIDIA GPU: chainrule beside PyTorch and JAX with Optax, from 64 to 8192 wide.

    python benchmarks/gpu.py [--only tf32,L] [--peers torch,jax-optax] [--rounds 5] [--json FILE [--again]] [--quick]

In float32, in TF32 and in bfloat16 (both: what the operands of matrix products are rounded to), beside the rate of a
large matrix product in that precision. Without a GPU it says so and ends with status 2.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from chainrule import backends
from chainrule.bench import cell_series, table
from chainrule.bench.task import Cell
from chainrule.errors import ChainruleError

ON_GPU = ("chainrule", "torch", "torch-compile", "jax-optax", "jax-optax-scan")

NETWORKS = {
    "S": Cell((64, 64, 10), 32, 1440, device="gpu"),
    "M": Cell((784, 512, 256, 10), 128, 6400, device="gpu"),
    "L": Cell((2048, 2048, 2048, 1000), 512, 8192, device="gpu"),
    "XL": Cell((8192, 8192, 8192, 1000), 1024, 8192, device="gpu"),
}

SERIES: cell_series.Series = {
    precision: {f"{name} {precision}": replace(cell, precision=precision) for name, cell in NETWORKS.items()}
    for precision in ("float32", "tf32", "bfloat16")
}


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    asked = cell_series.parse_args(
        cell_series.make_parser((__doc__ or "").split("\n")[0], SERIES, ON_GPU), SERIES, ON_GPU, argv
    )
    cells = cell_series.select_cells(SERIES, asked.only)
    if asked.list:
        cell_series.print_cells(cells)
        return 0
    try:
        backends.get("xla").find_device("gpu")
    except ChainruleError as error:
        print("gpu.py: error: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    found = cell_series.measure_cells(cells, asked, device="gpu")
    series = cell_series.by_series(SERIES, found)
    print(
        table.heading(found),
        table.markdown_table(series),
        table.notes(found, cell_series.cell_names(SERIES)),
        sep="\n\n",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
