"""One cell of the table: every peer is checked, then all take turns."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from statistics import median
from typing import Any

from chainrule.bench import OURS
from chainrule.bench.peer import Refused
from chainrule.bench.peers.numpy import Peer as PlainNumpy
from chainrule.bench.task import BenchTask, Cell
from chainrule.bench.worker_pool import PeerError, Respondent

PAUSE = 0.05  # thread pools spin for a while after their last job

READY = 0.7

SAME_LOSS = {"float32": 1e-3, "bfloat16": 1e-2, "tf32": 2e-3}
"""How far a loss may be from plain NumPy's in float32, as a part of how far that fell. Rounding alone makes up to
0.0004 in networks of two hidden layers, where ReLU units switch, and 0.000004 in those of one.
"""


@dataclass(frozen=True)
class Pace:
    """How long to measure.

    Attributes:
        rounds: how often each peer takes its turn.
        seconds: least length of a turn.
        steps: least number of steps in a turn, so that what a call costs once does not count for much.
        longest_check: seconds for compiling and the steps of the check; a peer that needs more is left out.
        longest_epoch: likewise for one epoch.
        longest_cell: seconds for all peers; after `READY` of them no further peer is started, and rounds end with them.
    """

    rounds: int = 5
    seconds: float = 0.4
    steps: int = 12
    longest_check: float = 60.0
    longest_epoch: float = 3.0
    longest_cell: float = math.inf


@dataclass
class PeerResult:
    """What was found about one peer in one cell; `us` and `ratios` (to chainrule) have one number per round."""

    loss: float
    same_loss: bool
    first_call_s: float
    peak_mb: float
    epochs: int = 1
    us: list[float] = field(default_factory=list)
    call_s: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)


@dataclass
class CellResult:
    """One cell: a `PeerResult` for each peer, the floor in each round, and who was left out and why.

    Attributes:
        first_loss: with the first weights.
        loss: after the check's steps, by plain NumPy in float32.
    """

    cell: Cell
    first_loss: float
    loss: float
    peers: dict[str, PeerResult] = field(default_factory=dict)
    floor: list[dict[str, float]] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def fixed_s(self, peer: str) -> float | None:
        """Seconds of a call that do not grow with the epochs, where a turn had several."""
        found = self.peers[peer]
        if found.epochs == 1:
            return None
        epoch = median(found.us) * self.cell.steps / 1e6
        return (median(found.call_s) - epoch) * found.epochs / (found.epochs - 1)


def measure_cell(
    cell: Cell, workers: Mapping[str, Respondent], floor: Respondent, pace: Pace, say: Callable[[str], None]
) -> CellResult:
    """All peers on one cell."""
    measured = CellResult(cell, *reference_losses(cell))
    began = time.monotonic()
    for name, worker in workers.items():
        say(name)
        if time.monotonic() - began > pace.longest_cell * READY:
            measured.left_out[name] = "no time was left"
        else:
            _attempt(measured, name, _prepare, worker, pace)
    for turn in range(pace.rounds):
        if turn and time.monotonic() - began > pace.longest_cell:
            break
        say(f"round {turn + 1} of {pace.rounds}")
        _round(measured, workers, floor, turn, pace)
    for name in list(measured.peers):
        _attempt(measured, name, _end, workers[name], pace)
    return measured


def reference_losses(cell: Cell) -> tuple[float, float]:
    """The loss before and after plain NumPy's steps in float32, in this process, on the rows as they lie."""
    return _plain_losses(Cell(cell.widths, cell.batch, cell.rows))


@cache
def _plain_losses(cell: Cell) -> tuple[float, float]:
    task = BenchTask(cell)
    peer = PlainNumpy(task)
    peer.train(cell.check_epochs, shuffled=False)
    return task.loss(task.weights()), task.loss(peer.weights())


def _attempt(
    measured: CellResult,
    name: str,
    step: Callable[[CellResult, str, Respondent, Pace], None],
    worker: Respondent,
    pace: Pace,
) -> None:
    try:
        step(measured, name, worker, pace)
    except (Refused, PeerError) as error:
        measured.left_out[name] = str(error)
        measured.peers.pop(name, None)


def _prepare(measured: CellResult, name: str, worker: Respondent, pace: Pace) -> None:
    cell = measured.cell
    limit = pace.longest_check
    worker.ask("begin", limit=limit, cell=asdict(cell))
    checked = worker.ask("check", limit=limit)
    # Said so that a loss which is not a number is not the same.
    same = abs(checked["loss"] - measured.loss) <= SAME_LOSS[cell.precision] * (measured.first_loss - measured.loss)
    # The second call is without compiling, also where a program is made for a number of epochs.
    epoch = min(worker.ask("time", epochs=1, limit=limit) for _ in range(2))
    if epoch > pace.longest_epoch:
        _end(measured, name, worker, pace)
        raise Refused(f"one epoch takes {epoch:.0f} s")
    found = PeerResult(checked["loss"], same, checked["first_call_s"], checked["peak_mb"])
    found.epochs = _epochs(worker, epoch, pace, -(-pace.steps // cell.steps))
    measured.peers[name] = found


def _epochs(worker: Respondent, epoch: float, pace: Pace, least: int) -> int:
    """So many that a turn is long enough; fixed costs of a call make the first guess too small."""
    epochs = max(least, round(pace.seconds / epoch))
    if epochs == 1:
        return 1
    worker.ask("time", epochs=epochs, limit=pace.longest_check)
    taken = worker.ask("time", epochs=epochs, limit=pace.longest_check)
    if taken > 0.7 * pace.seconds:
        return epochs
    epochs = max(epochs, round(epochs * pace.seconds / taken))
    worker.ask("time", epochs=epochs, limit=pace.longest_check)
    return epochs


def _round(measured: CellResult, workers: Mapping[str, Respondent], floor: Respondent, turn: int, pace: Pace) -> None:
    order = list(measured.peers)
    start = turn % max(len(order), 1)
    for name in order[start:] + order[:start]:
        time.sleep(PAUSE)
        _attempt(measured, name, _turn, workers[name], pace)
    time.sleep(PAUSE)
    try:
        measured.floor.append(floor.ask("floor", limit=pace.longest_check, cell=asdict(measured.cell)))
    except PeerError as error:
        measured.left_out["floor"] = str(error)
    if OURS in measured.peers:
        for found in measured.peers.values():
            found.ratios.append(found.us[-1] / measured.peers[OURS].us[-1])


def _turn(measured: CellResult, name: str, worker: Respondent, pace: Pace) -> None:
    found = measured.peers[name]
    limit = 10 * pace.longest_check
    if found.epochs > 1:
        found.call_s.append(min(worker.ask("time", epochs=1, limit=limit) for _ in range(2)))
    seconds = worker.ask("time", epochs=found.epochs, limit=limit)
    found.us.append(seconds / (found.epochs * measured.cell.steps) * 1e6)
    if found.epochs == 1:
        found.call_s.append(seconds)


def _end(measured: CellResult, name: str, worker: Respondent, pace: Pace) -> None:
    worker.ask("end", limit=pace.longest_check)


def to_stderr(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def from_json(given: dict[str, Any]) -> CellResult:
    """From what `asdict` gave."""
    peers = {name: PeerResult(**found) for name, found in given["peers"].items()}
    return CellResult(**{**given, "cell": Cell.read(given["cell"]), "peers": peers})
