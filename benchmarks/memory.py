"""The memory that a training takes, as it was stated before and as it was then measured.

    python benchmarks/memory.py

Each case is trained for two epochs in a process of its own. *stated* is `Trainer.estimate(X, …).peak`, *measured* the
most that was ever resident in that process (`VmHWM`, so on Linux only). What the training is said to add to what was
there before it is compared with what it added. Prints one Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    """A network by its widths, with the rows and the settings of its training."""

    widths: list[int]
    batch: int
    rows: int
    settings: dict[str, Any] = {}  # noqa: RUF012  # read only
    checkpointed: bool = False


CASES = {
    "M 784-512-256-10, batch 128": Case([784, 512, 256, 10], 128, 12_800),
    "L 2048-2048-2048-1000, batch 512": Case([2048, 2048, 2048, 1000], 512, 4096),
    "deep 20×1024, batch 256": Case([1024] * 21, 256, 4096),
    "batch 2048, 12×512, GELU": Case([512] * 13, 2048, 8192),
    "batch 2048, 12×512, GELU, every three in a Checkpoint": Case([512] * 13, 2048, 8192, checkpointed=True),
    "L, rows split and standardised": Case(
        [2048, 2048, 2048, 1000], 512, 16_384, {"validation": 0.2, "early_stopping": 5, "normalize": "feature"}
    ),
}
BACKENDS = ("numpy", "xla")


def model(case: Case) -> Any:
    """The network of a case."""
    from chainrule import nn

    pairs = list(zip(case.widths, case.widths[1:], strict=False))
    layers: list[Any] = [nn.Sequential(nn.Linear(*pair), nn.GELU()) for pair in pairs[:-1]]
    if case.checkpointed:
        layers = [nn.Checkpoint(*layers[i : i + 3]) for i in range(0, len(layers), 3)]
    return nn.Sequential(*layers, nn.Linear(*pairs[-1]))


def train(name: str, backend: str) -> dict[str, float]:
    """One case: stated and measured, in MB."""
    import chainrule as cr

    case = CASES[name]
    cr.seed(0)
    settings = dict(case.settings)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((case.rows, case.widths[0]), dtype=np.float32)
    y = rng.integers(0, case.widths[-1], case.rows).astype(np.int32)
    trainer = cr.Trainer(
        model(case), cr.nn.CrossEntropyLoss(), cr.optim.Adam(1e-3), backend=backend,
        normalize=settings.pop("normalize", None),
    )  # fmt: skip
    estimate = trainer.estimate(X, y, epochs=2, batch_size=case.batch, **settings)
    trainer.fit(X, y, epochs=2, batch_size=case.batch, progress=False, **settings)
    lines = Path("/proc/self/status").read_text().splitlines()
    most = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
    return {
        "stated": estimate.peak / 1e6,
        "measured": most / 1e6,
        "added, stated": estimate.training / 1e6,
        "added, measured": (most - estimate.before) / 1e6,
    }


def main() -> None:
    """Run every case, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--case", help="one case, in this process")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--backend", choices=BACKENDS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(train(options.case, options.backend)))
        return
    print("| network | backend | stated MB | measured MB | added by the training: stated | measured |")
    print("|---|---|---:|---:|---:|---:|")
    for name in (name for name in CASES if options.only in name):
        for backend in BACKENDS if options.backend is None else [options.backend]:
            command = [sys.executable, __file__, "--case", name, "--backend", backend]
            done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            print(
                f"| {name} | {backend} | {found['stated']:.0f} | {found['measured']:.0f} |"
                f" {found['added, stated']:.0f} | {found['added, measured']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
