"""The peers' processes, seen from the one that measures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Protocol

from chainrule.bench import FLOOR
from chainrule.bench.peer import Refused

START_LIMIT = 120.0
"""Seconds within which a peer must be imported; many start at once."""

ENVIRONMENT = {
    "CHAINRULE_CACHE": "off",
    "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
    "KERAS_BACKEND": "jax",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
"""Nothing is kept from earlier runs, and peers on a GPU share its memory."""

ON_CPU = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1", "DEV": "CPU"}


class PeerError(Exception):
    """A peer's process failed, and why."""


class Respondent(Protocol):
    """Something that answers requests; raises `Refused` or `PeerError`."""

    def ask(self, do: str, limit: float | None = None, **arguments: Any) -> Any:
        """The answer to a request."""


class Worker:
    """A peer's process.

    Args:
        module: with the class `Peer`.
        device: "cpu" hides GPUs from it.
    """

    def __init__(self, module: str, device: str = "cpu") -> None:
        self.about: dict[str, Any] = {}
        environment = {**os.environ, **ENVIRONMENT, **(ON_CPU if device == "cpu" else {})}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "chainrule.bench.worker", module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
        )  # fmt: skip
        self._answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._send({"do": "hello"})

    def greet(self) -> None:
        """Wait until it is ready.

        Raises:
            PeerError: it cannot be imported.
        """
        self.about = self._receive(START_LIMIT)

    def ask(self, do: str, limit: float | None = None, **arguments: Any) -> Any:
        """The answer to a request, within `limit` seconds."""
        if not self.about:
            self.greet()
        self._send({"do": do, **arguments})
        return self._receive(limit)

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def _send(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError:
            return  # it has ended, and its last words are to be read

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(json.loads(line))
        self._answers.put({"error": f"its process ended with status {self._process.wait()}"})

    def _receive(self, limit: float | None) -> Any:
        try:
            answer = self._answers.get(timeout=limit)
        except Empty:
            self.stop()
            raise PeerError(f"took more than {limit:.0f} s") from None
        if "error" in answer:
            self.stop()
            raise PeerError(answer["error"])
        if "refused" in answer:
            raise Refused(answer["refused"])
        return answer["answer"]


class WorkerPool:
    """All peers' processes, started side by side; one that has ended is restarted when it is next needed.

    Args:
        peers: name → module.
        device: "cpu" or "gpu".

    Attributes:
        left_out: peers that cannot take part, and why.
        versions: what the peers are.
    """

    def __init__(self, peers: Mapping[str, str], device: str = "cpu") -> None:
        self._peers, self._device = peers, device
        self.left_out: dict[str, str] = {}
        started = {name: self._start(name) for name in peers}
        self._floor = Worker(FLOOR, device)
        self._workers: dict[str, Worker] = {}
        for name, worker in started.items():
            self._greet(name, worker)

    @property
    def versions(self) -> list[str]:
        """What the peers are, each once."""
        return list(dict.fromkeys(worker.about["version"] for worker in self._workers.values()))

    def workers(self) -> dict[str, Worker]:
        """The workers that can take part."""
        for name, worker in list(self._workers.items()):
            if not worker.alive:
                self._greet(name, self._start(name))
        return dict(self._workers)

    @property
    def floor(self) -> Worker:
        """The worker that measures the floor."""
        if not self._floor.alive:
            self._floor = Worker(FLOOR, self._device)
        return self._floor

    def _start(self, name: str) -> Worker:
        return Worker(self._peers[name], self._device)

    def _greet(self, name: str, worker: Worker) -> None:
        try:
            worker.greet()
            self._workers[name] = worker
        except PeerError as error:
            self.left_out[name] = str(error)
            self._workers.pop(name, None)

    def stop(self) -> None:
        """End all processes."""
        for worker in (*self._workers.values(), self._floor):
            worker.stop()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
