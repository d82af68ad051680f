"""The machine that a run was measured on."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

from chainrule.resources import cores


def load_average() -> float | None:
    """The load average over the last minute: how many processes were runnable."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def describe_machine() -> dict[str, Any]:
    """Processor, cores, Python."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {"processor": model, "cores": cores(), "python": platform.python_version(), "load": load_average()}


def forget_peak() -> None:
    """Reset `peak_mb`, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_mb() -> float:
    """The most memory resident since `forget_peak`, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage tells was inherited from the process that started this one.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
