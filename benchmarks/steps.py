"""Time for a training step, chainrule beside its peers, over whole epochs and in turn.

Usage: python benchmarks/steps.py [--sizes S,M,L] [--rounds 7] [--seconds 0.5] [--peers torch,jax+optax] [--json FILE]

`benchmarks/README.md` says what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from peers import FLOOR, PEERS
from peers.task import SIZES, Size
from peers.worker import PeerError, Worker

OURS = "chainrule"
PAUSE = 0.05  # thread pools spin for a while after their last job


@dataclass
class Result:
    """What was found about one peer on one network."""

    about: dict[str, Any] = field(default_factory=dict)
    check: dict[str, float] = field(default_factory=dict)
    share: int = 1
    micros: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)


def measure(name: str, peers: list[str], rounds: int, seconds: float, left_out: dict[str, str]) -> dict[str, Result]:
    """All peers on the network of that name."""
    size = SIZES[name]
    workers, results = _start(name, peers, left_out)
    try:
        for peer, worker in list(workers.items()):
            try:
                _prepare(worker, results[peer], size, seconds)
            except PeerError as error:
                left_out[f"{name}, {peer}"] = str(error)
                del workers[peer], results[peer]
        for turn in range(rounds):
            _round(workers, results, size, turn)
            print(f"{name}: round {turn + 1} of {rounds}", file=sys.stderr)
    finally:
        for worker in workers.values():
            worker.stop()
    return results


def _start(name: str, peers: list[str], left_out: dict[str, str]) -> tuple[dict[str, Worker], dict[str, Result]]:
    workers: dict[str, Worker] = {}
    for peer in peers:
        try:
            workers[peer] = Worker(peer, name)
        except PeerError as error:
            left_out[f"{name}, {peer}"] = str(error)
    return workers, {peer: Result(about=worker.about) for peer, worker in workers.items()}


def _prepare(worker: Worker, result: Result, size: Size, seconds: float) -> None:
    if worker.peer == FLOOR:
        return
    result.check = worker.ask("check")
    epoch = worker.ask("time", size.check_epochs) / size.check_epochs
    result.share = max(size.check_epochs, round(seconds / epoch))
    # A share of its own length may be a program of its own.
    worker.ask("time", result.share)


def _round(workers: dict[str, Worker], results: dict[str, Result], size: Size, turn: int) -> None:
    order = list(workers)
    start = turn % len(order)
    for peer in order[start:] + order[:start]:
        time.sleep(PAUSE)
        if peer == FLOOR:
            results[peer].micros.append(workers[peer].ask("floor") * 1e6)
        else:
            steps = results[peer].share * size.steps
            results[peer].micros.append(workers[peer].ask("time", results[peer].share) / steps * 1e6)
    if OURS in results:
        for result in results.values():
            result.ratios.append(result.micros[-1] / results[OURS].micros[-1])


def table(found: dict[str, dict[str, Result]]) -> str:
    """One Markdown table for all networks."""
    lines = [
        "| network | peer | µs a step: median (min – max) | × chainrule: median (min – max) | of the minima "
        "| first call s | loss after n steps | peak MB (import) |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, results in found.items():
        ours = min(results[OURS].micros) if OURS in results else None
        lines += [_row(name, peer, result, ours) for peer, result in results.items()]
    return "\n".join(lines)


def _row(name: str, peer: str, result: Result, ours: float | None) -> str:
    size = SIZES[name]
    network = f"{name} {'-'.join(map(str, size.widths))}, {size.batch}"
    times = f"{_number(median(result.micros))} ({_number(min(result.micros))} – {_number(max(result.micros))})"
    ratios = "–"
    if result.ratios:
        ratios = f"{median(result.ratios):.2f} ({min(result.ratios):.2f} – {max(result.ratios):.2f})"
    cells = [network, "*arithmetic alone*" if peer == FLOOR else peer, times, ratios]
    cells.append(f"{min(result.micros) / ours:.2f}" if ours else "–")
    if result.check:
        steps = size.check_epochs * size.steps
        cells += [f"{result.check['first_call_s']:.2f}", f"{result.check['loss']:.4f} after {steps}"]
        cells.append(f"{result.check['peak_mb']:.0f} ({result.about['import_mb']:.0f})")
    else:
        cells += ["–"] * 3
    return "| " + " | ".join(cells) + " |"


def _number(micros: float) -> str:
    return f"{micros:,.1f}" if micros < 100 else f"{micros:,.0f}"


def machine() -> dict[str, Any]:
    """Where it was measured."""
    model = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load_average = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"processor": model, "cores": cores, "python": platform.python_version(), "load": load_average}


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", default=",".join(SIZES), help="networks, of S, M, L")
    parser.add_argument("--peers", default=",".join(PEERS), help="of " + ", ".join(PEERS))
    parser.add_argument("--rounds", type=int, default=7, help="how often each takes its turn")
    parser.add_argument("--seconds", type=float, default=0.5, help="least length of a turn")
    parser.add_argument("--json", type=Path, help="write everything here")
    arguments = parser.parse_args(argv)
    arguments.sizes, arguments.peers = arguments.sizes.split(","), arguments.peers.split(",")
    for given, known in ((arguments.sizes, SIZES), (arguments.peers, PEERS)):
        unknown = set(given) - set(known)
        if unknown:
            parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if arguments.rounds < 1 or arguments.seconds <= 0:
        parser.error("rounds must be at least 1, seconds above 0")
    return arguments


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    arguments = _arguments(argv)
    left_out: dict[str, str] = {}
    here, found = machine(), {}
    for name in arguments.sizes:
        peers = [*arguments.peers, FLOOR]
        found[name] = measure(name, peers, arguments.rounds, arguments.seconds, left_out)
    load_after = machine()["load"]
    print(f"{here['processor']}, {here['cores']} cores, Python {here['python']}, load {here['load']} → {load_after}")
    print("\n".join(sorted({r.about["version"] for results in found.values() for r in results.values()} - {""})))
    print("\n" + table(found))
    for who, why in left_out.items():
        print(f"left out: {who}: {why}")
    if arguments.json:
        sizes = {name: {peer: vars(result) for peer, result in results.items()} for name, results in found.items()}
        report = {"machine": here | {"load_after": load_after}, "sizes": sizes, "left_out": left_out}
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
