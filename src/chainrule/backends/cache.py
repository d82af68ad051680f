"""Where chainrule keeps, from one process to the next, what it has compiled and measured on this machine."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

from chainrule import resources

CACHE_VARIABLE = "CHAINRULE_CACHE"
"""The environment variable that names another folder, or switches keeping off."""
_OFF = ("off", "no", "false", "0")


def cache_folder() -> Path | None:
    """The cache folder, which need not exist yet; None if it is switched off or the user has no home.

    `$CHAINRULE_CACHE`, or "chainrule" in the system's cache folder: `$XDG_CACHE_HOME` or `~/.cache` on Linux,
    `~/Library/Caches` on macOS, `%LOCALAPPDATA%` on Windows.
    """
    chosen = os.environ.get(CACHE_VARIABLE, "").strip()
    if chosen.lower() in _OFF:
        return None
    try:
        if chosen:
            return Path(chosen).expanduser()
        from platformdirs import user_cache_path

        return user_cache_path("chainrule", appauthor=False, opinion=False)
    except RuntimeError:  # no home folder
        return None


@functools.cache
def machine_digest() -> str:
    """A short name for this kind of processor and the number of available cores: one home may serve many machines."""
    import hashlib

    told = "\n".join([platform.machine(), str(resources.cores()), *_processor()])
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _processor() -> list[str]:
    """What Linux says of the first processor and keeps to over time; elsewhere what the system calls it."""
    wanted = ("vendor_id", "model name", "flags", "Features", "CPU implementer", "CPU part")
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            # The file has a paragraph a core, which is slow to make for many cores.
            lines = list(iter(file.readline, "\n"))[:100]
    except OSError:
        return [os.environ.get("PROCESSOR_IDENTIFIER", platform.release())]
    return [line.strip() for line in lines if line.startswith(wanted)]
