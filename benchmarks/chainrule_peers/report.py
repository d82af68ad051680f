"""Everything that a run found, as one JSON file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chainrule_peers.task import Cell
from chainrule_peers.turns import Measured, from_json


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
    cells: list[Measured] = field(default_factory=list)
    loads: list[float | None] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def measured(self, cell: Cell) -> Measured | None:
        """What was found about a cell."""
        return next((measured for measured in self.cells if measured.cell == cell), None)


def write(path: Path, report: Report) -> None:
    """Write beside the file and move it there, so that breaking off loses nothing."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(asdict(report), indent=1) + "\n")
    os.replace(beside, path)


def read(path: Path) -> Report:
    """What `write` wrote."""
    given = json.loads(path.read_text())
    return Report(**{**given, "cells": [from_json(cell) for cell in given["cells"]]})
