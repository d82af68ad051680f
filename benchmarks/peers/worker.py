"""Each peer in a process of its own, so that thread pools do not meet and memory is its own."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from peers import load
from peers.task import SIZES, PeerBase, Task

_CONTEXT = multiprocessing.get_context("spawn")


class PeerError(Exception):
    """A peer that cannot take part, and why."""


class Worker:
    """A peer, training one network, as seen from the process that holds the watch.

    Raises:
        PeerError: it is not installed or fails.
    """

    def __init__(self, peer: str, size: str) -> None:
        self.peer = peer
        self._connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, peer, size))
        self._process.start()
        theirs.close()
        self.about = self._answer()

    def ask(self, what: str, *arguments: Any) -> Any:
        """The answer of the function of that name below."""
        self._connection.send((what, arguments))
        return self._answer()

    def _answer(self) -> Any:
        try:
            kind, value = self._connection.recv()
        except EOFError:
            kind, value = "error", "its process died"
        if kind == "error":
            self.stop()
            raise PeerError(value)
        return value

    def stop(self) -> None:
        """End its process."""
        self._connection.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.terminate()


def _serve(connection: Connection, name: str, size: str) -> None:
    try:
        peer_class = load(name)
        if size not in peer_class.sizes:
            raise PeerError("not meant for this network")
        about = {"version": peer_class.version(), "shuffles": peer_class.shuffles, "import_mb": _peak_mb()}
        peer = peer_class(Task(SIZES[size]))
        connection.send(("answer", about))
        while True:
            what, arguments = connection.recv()
            connection.send(("answer", _ANSWERS[what](peer, *arguments)))
    except EOFError:
        return
    except Exception as error:
        text = str(error).strip().splitlines() or [""]
        kind = "" if isinstance(error, PeerError) else f"{type(error).__name__}: "
        connection.send(("error", kind + text[0][:200]))


def _check(peer: PeerBase) -> dict[str, float]:
    """Train from the first weights for as many epochs as every other peer, and tell the loss."""
    for found, given in zip(peer.weights(), peer.task.weights(), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(found, given, strict=True)), "it starts from other weights"
    seconds = _time(peer, peer.task.size.check_epochs)
    peak = _peak_mb()
    return {"first_call_s": seconds, "peak_mb": peak, "loss": peer.task.loss(peer.weights())}


def _time(peer: PeerBase, epochs: int) -> float:
    start = time.perf_counter()
    peer.train(epochs)
    return time.perf_counter() - start


def _floor(peer: Any) -> float:
    seconds: float = peer.seconds_a_step()
    return seconds


def _peak_mb() -> float:
    """The most memory ever resident, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage tells was inherited from the process that started this one.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


_ANSWERS = {"check": _check, "time": _time, "floor": _floor}
