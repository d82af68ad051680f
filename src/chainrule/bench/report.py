"""Everything that a run found, as one JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chainrule import files
from chainrule.bench.task import Cell
from chainrule.bench.turns import CellResult, from_json


@dataclass
class Report:
    """A run.

    Attributes:
        machine: where.
        versions: of the peers.
        cells: what was measured.
        loads: the machine's load after each cell.
        left_out: peers that took part in none, and why.
    """

    machine: dict[str, Any]
    versions: list[str] = field(default_factory=list)
    cells: list[CellResult] = field(default_factory=list)
    loads: list[float | None] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def measured(self, cell: Cell) -> CellResult | None:
        """What was found about a cell."""
        return next((measured for measured in self.cells if measured.cell == cell), None)


def write_report(path: Path, report: Report) -> None:
    """Write the whole file, so that an interruption loses nothing."""
    files.write(path, (json.dumps(asdict(report), indent=1) + "\n").encode())


def read_report(path: Path) -> Report:
    """What `write_report` wrote."""
    given = json.loads(path.read_text())
    return Report(**{**given, "cells": [from_json(cell) for cell in given["cells"]]})
