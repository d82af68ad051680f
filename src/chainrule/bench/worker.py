"""A peer in its own process, so that thread pools do not interfere and memory is its own.

    python -m chainrule.bench.worker MODULE

Requests and answers are lines of JSON: {"do": "begin", "cell": {…}} → {"answer": …} or {"refused": …}, after which the
peer waits for the next cell, or {"error": …}, after which the process ends. What a library prints goes to standard
error. A module without a `Peer` has a `Floor`.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from chainrule.bench.machine import forget_peak, peak_mb
from chainrule.bench.peer import PeerBase, Refused
from chainrule.bench.task import BenchTask, Cell


class Desk:
    """Answers requests with a peer."""

    def __init__(self, kind: type[PeerBase]) -> None:
        self.kind = kind
        self.peer: PeerBase | None = None

    def answer(self, request: dict[str, Any]) -> Any:
        """What a request asks for."""
        doing: dict[str, Callable[..., Any]] = {
            "hello": self.hello, "begin": self.begin, "check": self.check, "time": self.time, "end": self.end,
        }  # fmt: skip
        return doing[request["do"]](**{name: value for name, value in request.items() if name != "do"})

    def hello(self) -> dict[str, Any]:
        """What it is."""
        return {"version": self.kind.version(), "import_mb": peak_mb()}

    def begin(self, cell: dict[str, Any]) -> None:
        """Make the peer ready for a cell, and check that it starts from the task's weights."""
        forget_peak()
        task = BenchTask(Cell.read(cell))
        self.peer = self.kind(task)
        for found, given in zip(self.peer.weights(), task.weights(), strict=True):
            if not all(np.array_equal(a, b) for a, b in zip(found, given, strict=True)):
                raise Refused("starts from other weights")

    def check(self) -> dict[str, float]:
        """Train from the first weights for as many epochs as every other peer, and report the loss."""
        assert self.peer is not None
        seconds = self.time(self.peer.cell.check_epochs, shuffled=False)
        peak = peak_mb()
        return {"first_call_s": seconds, "peak_mb": peak, "loss": self.peer.task.loss(self.peer.weights())}

    def time(self, epochs: int, shuffled: bool = True) -> float:
        """Seconds that training on takes."""
        assert self.peer is not None
        start = time.perf_counter()
        self.peer.train(epochs, shuffled)
        return time.perf_counter() - start

    def end(self) -> None:
        """Leave the cell."""
        if self.peer is not None:
            self.peer.close()
        self.peer = None
        gc.collect()


def serve(requests: IO[str], answers: IO[str], module: str) -> None:
    """Answer until the requests end; a failure is reported in one line."""

    def say(**answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        there = importlib.import_module(module)
        desk = Desk(there.Peer) if hasattr(there, "Peer") else there.Floor()
        for line in requests:
            try:
                say(answer=desk.answer(json.loads(line)))
            except Refused as refusal:
                say(refused=str(refusal))
    except ModuleNotFoundError as error:
        say(error=f"not installed (there is no {error.name})")
    except BaseException as error:
        text = str(error).strip().splitlines() or [""]
        say(error=f"{type(error).__name__}: {text[0][:200]}".removesuffix(": "))


def main() -> None:
    """Serve on standard input and output, which libraries that print no longer reach."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers, sys.argv[1])


if __name__ == "__main__":
    main()
