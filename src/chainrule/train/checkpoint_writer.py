"""The callback that writes checkpoints while a training runs."""

from __future__ import annotations

import os
import time
import warnings
from typing import TYPE_CHECKING

from chainrule.errors import RunError
from chainrule.train import trainer_files as files
from chainrule.train.callbacks import Callback

if TYPE_CHECKING:
    from chainrule.train.trainer import Trainer

CHECKPOINT_EVERY = 10.0
"""Seconds between two checkpoints, at least."""


class CheckpointWriter(Callback):
    """Writes a checkpoint where the last one is old enough, and one after the last step.

    Args:
        path: the folder.
        resumable: whether the training can be gone on with within an epoch. Where it cannot, one is written after each.
    """

    read_only = True

    def __init__(self, path: str | os.PathLike[str], resumable: bool) -> None:
        self._path, self._resumable = path, resumable
        self._written = time.monotonic()

    def is_due(self, steps: int, epoch_end: bool) -> bool:
        """Whether the last one is old enough."""
        if not self._resumable:
            return epoch_end
        return time.monotonic() - self._written > CHECKPOINT_EVERY

    def on_step_end(self, trainer: Trainer) -> None:
        """Write one within an epoch; at its end the others' `on_epoch_end` comes first."""
        position = trainer.state.position
        if position is not None and position.record:
            self._write(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Write one."""
        self._write(trainer)

    def on_train_end(self, trainer: Trainer) -> None:
        """Write the last one, unless the training stands where none can go on from."""
        position = trainer.state.position
        if position is not None and (self._resumable or not position.record):
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        try:
            files.save_training(self._path, trainer, trainer.state)
        except RunError as error:
            # A full disk must not end a training that can still be saved elsewhere.
            note = f"the checkpoint was not written: {error}"
            if note not in trainer.history.notes:
                trainer.history.note(note)
                warnings.warn(note, RuntimeWarning, stacklevel=2)
        self._written = time.monotonic()
