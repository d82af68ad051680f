"""A process killed at every call to the system, one after the other: what is on the disk then?"""

import builtins
import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CALLS = ("open", "fsync", "replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir", "chmod", "scandir")
"""Of the module os, with Python's own `open` and `shutil.rmtree` beside them: whatever changes a folder."""


class Killed(BaseException):
    """Stands for the end of the process: from here on no call comes through, so that nothing can be cleaned up."""


def kills(base: Path, prepare: Callable[[Path], Any], act: Callable[[Path], Any], mode: str = "kill") -> Iterator[Path]:
    """The folder as it is left when `act` is killed at its n-th call, for every n; at last, as it is when whole.

    With mode "fail" only the n-th call fails, as on a full disk, and the process goes on.
    """
    at = 0
    while True:
        folder = base / str(at)
        folder.mkdir()
        prepare(folder)
        made = _killed(at, mode == "kill", lambda folder=folder: act(folder))
        yield folder
        if made <= at:
            return
        at += 1


def _killed(at: int, for_good: bool, act: Callable[[], Any]) -> int:
    made = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **named: Any) -> Any:
            nonlocal made
            made += 1
            if made > at if for_good else made == at + 1:
                raise Killed if for_good else OSError(28, "No space left on device")
            return call(*given, **named)

        return run

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(builtins, "open", counted(builtins.open))
        patch.setattr(shutil, "rmtree", counted(shutil.rmtree))
        with contextlib.suppress(Killed, OSError):
            act()
    return made
