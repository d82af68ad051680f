"""Run a lab: measure, judge, draw, write its page."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.errors import TrainingWarning
from chainrule.graph.random import seed
from chainrule.lab import pages
from chainrule.lab.catalogue import load
from chainrule.lab.experiment import Lab, Measured


@dataclass(frozen=True)
class Result:
    """The result of running a lab.

    Attributes:
        name: the lab's name.
        lab: the lab.
        measured: the figures, and which sentences of the claim they bear out.
        seconds: how long measuring took.
        page: where the page was written, or None.
    """

    name: str
    lab: Lab
    measured: Measured
    seconds: float
    page: Path | None = None

    @property
    def holds(self) -> bool:
        """Whether the claim holds by the measurements."""
        return self.measured.holds

    def json(self) -> dict[str, Any]:
        """The name, the claim, the figures and whether it holds, as plain values; what is not finite is None."""
        figures = {name: _plain(value) for name, value in self.measured.figures.items()}
        return {"name": self.name, "claim": self.lab.claim, "figures": figures, "holds": self.holds}


def run(name: str, out: str | Path | None = None) -> Result:
    """Run the lab of that name; with `out`, write its page into that folder as NAME.html.

    Raises:
        ArgumentError: there is no such lab.
        RunError: the page cannot be written, or would replace a file that is not one.

    Example:
        >>> result = run("fan-out")
        >>> result.holds, sorted(result.json())
        (True, ['claim', 'figures', 'holds', 'name'])
    """
    lab = load(name)
    folder = None if out is None else pages.prepare_folder(out, [name])
    # A lab seeds what it draws; this makes what it forgot to seed the same, whatever ran before it.
    seed(0)
    began = time.perf_counter()
    with _interruptible(), warnings.catch_warnings():
        # Some labs make on purpose the mistakes that a training warns of.
        warnings.simplefilter("ignore", TrainingWarning)
        measured = lab.measure()
    seconds = time.perf_counter() - began
    if folder is None:
        return Result(name, lab, measured, seconds)
    figure = pages.picture(lab, measured)
    return Result(
        name, lab, measured, seconds, pages.write_lab_page(pages.lab_page(name, lab, measured, figure), folder, name)
    )


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C break off the lab, where it would only end a training early and the lab judge half of it."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(entry) for entry in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
