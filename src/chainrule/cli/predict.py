"""`chainrule predict`: a run and a table in, a prediction a row out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chainrule import files
from chainrule.cli import runs
from chainrule.cli.options import Predict
from chainrule.cli.streamed import must_stream
from chainrule.data import Preprocessor, load, memory
from chainrule.data.batches import is_table, tables
from chainrule.errors import ArgumentError, DataError, RunError, printable

if TYPE_CHECKING:
    import polars as pl

    import chainrule as cr

ENDINGS = (".csv", ".parquet")
_NOTES = 24
"""Notes that are printed."""


def run(request: Predict) -> int:
    """Run the command."""
    out = _checked(request.out, bool(request.overwrite))
    trainer, preprocessor, _ = runs.read(request.run)
    if request.proba and preprocessor.classes is None:
        raise ArgumentError("a number has no classes", where="--proba", hint="leave it out for regression")
    notes: list[str] = []
    outputs = _outputs(trainer, preprocessor, request.table, notes)
    frame = _frame(outputs, preprocessor, bool(request.proba))
    _say(notes)
    if out is None:
        text = frame.write_csv()
        # A terminal would obey control characters in labels; a file or a program gets what stands in the table.
        sys.stdout.write("\n".join(map(printable, text.split("\n"))) if sys.stdout.isatty() else text)
    else:
        _write(frame, out, bool(request.overwrite))
    return 0


def _outputs(trainer: cr.Trainer, preprocessor: Preprocessor, table: str, notes: list[str]) -> np.ndarray:
    """What the network says of each row of a table, which is read in batches where it does not fit into memory."""
    if not must_stream(table):
        return trainer.predict(preprocessor.transform(load(table), notes=notes))
    if not is_table(table):
        raise memory.too_large(table)
    batches = tables(table)
    found = []
    for first, batch in batches.batches():
        if batch.rows:
            found.append(trainer.predict(preprocessor.transform(batch, notes=notes, first=first)))
    if not found:
        raise DataError("the table is empty", where=table, expected="at least one row")
    notes[:0] = batches.notes
    return np.concatenate(found)


def _say(notes: list[str]) -> None:
    """Print the notes, not more than a screen of them: every batch of a large table may have some."""
    for note in notes[:_NOTES]:
        print(f"chainrule: note: {note}", file=sys.stderr)
    if len(notes) > _NOTES:
        print(f"chainrule: note: {len(notes) - _NOTES:,} more notes of this kind", file=sys.stderr)


def _checked(out: str | None, overwrite: bool) -> Path | None:
    if out is None:
        return None
    path = Path(out)
    if path.suffix.lower() not in ENDINGS:
        raise ArgumentError("unknown kind of file", where="--out", expected=" or ".join(ENDINGS), got=repr(out))
    if os.path.lexists(path) and (not overwrite or path.is_symlink() or not path.is_file()):
        raise ArgumentError("exists already", where=out, hint="--overwrite replaces a file, but no link or folder")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ArgumentError("no folder that can be written to", where=str(path.parent))
    return path


def _frame(outputs: np.ndarray, preprocessor: Preprocessor, proba: bool) -> pl.DataFrame:
    import polars as pl

    if not proba:
        return pl.DataFrame({preprocessor.target: preprocessor.predicted(outputs)})
    scores = np.exp(outputs - outputs.max(axis=1, keepdims=True), dtype=np.float64)
    chances = scores / scores.sum(axis=1, keepdims=True)
    return pl.DataFrame({str(label): chances[:, i] for i, label in enumerate(preprocessor.classes or [])})


def _write(frame: pl.DataFrame, path: Path, overwrite: bool) -> None:
    try:
        with files.replacing(path, new=not overwrite) as file:
            if path.suffix.lower() == ".parquet":
                frame.write_parquet(file)
            else:
                frame.write_csv(file)
    except OSError as error:
        raise RunError(f"cannot be written ({error.strerror or error})", where=str(path)) from None
