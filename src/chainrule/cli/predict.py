"""`chainrule predict`: a run and a table in, a prediction a row out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import files
from chainrule.cli import runs
from chainrule.cli.options import Predict
from chainrule.cli.streamed import must_stream
from chainrule.data import Source, load, memory
from chainrule.data.batches import is_table, tables
from chainrule.errors import ArgumentError, DataError, RunError, nearest, printable
from chainrule.tabular.model import TabularModel

if TYPE_CHECKING:
    import polars as pl

ENDINGS = (".csv", ".parquet")
_NOTES = 24
"""Notes that are printed."""
_ANSWER = "an answer is called as the target, or as its class: rename the column of the table, or leave it out"
_DIGITS = 9
"""As many digits tell any two float32 numbers apart."""


def run(request: Predict) -> int:
    """Run the command."""
    out = _checked(request.out, bool(request.overwrite))
    model, _ = runs.read(request.run)
    if request.proba and model.preprocessor.classes is None:
        raise ArgumentError("a number has no classes", where="--proba", hint="leave it out for regression")
    notes: list[str] = []
    frame = _answers(model, request, notes)
    _say(notes)
    if out is None:
        text = frame.write_csv()
        # A terminal would obey control characters in labels; a file or a program gets what stands in the table.
        sys.stdout.write("\n".join(map(printable, text.split("\n"))) if sys.stdout.isatty() else text)
    else:
        _write(frame, out, bool(request.overwrite))
    return 0


def _answers(model: TabularModel, request: Predict, notes: list[str]) -> pl.DataFrame:
    """What the model says of each row of a table, which is read in batches where it does not fit into memory."""
    import polars as pl

    if not must_stream(request.table):
        return _frame(model, load(request.table), request, notes)
    if not is_table(request.table):
        raise memory.too_large(request.table)
    batches = tables(request.table)
    found = [_frame(model, batch, request, notes, first) for first, batch in batches.batches() if batch.rows]
    if not found:
        raise DataError("the table is empty", where=request.table, expected="at least one row")
    notes[:0] = batches.notes
    return pl.concat(found)


def _frame(model: TabularModel, source: Source, request: Predict, notes: list[str], first: int = 0) -> pl.DataFrame:
    """The columns to keep, and the answers, for rows of which the first one has this number."""
    import polars as pl

    kept = [_kept(source, name) for name in request.keep or []]
    found = model.answer(model.preprocessor.transform(source, notes=notes, first=first))
    classes = model.preprocessor.classes
    if classes is None:
        columns = [pl.Series(model.preprocessor.target, _digits(found, model))]
    elif request.proba:
        columns = [pl.Series(str(label), _digits(found[:, i], model)) for i, label in enumerate(classes)]
    else:
        columns = [pl.Series(model.preprocessor.target, model.labels(found))]
    names = [column.name for column in (*kept, *columns)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ArgumentError("would stand in the answer twice", where="--keep", got=repr(twice[0]), hint=_ANSWER)
    return pl.DataFrame([*kept, *columns])


def _digits(numbers: np.ndarray[Any, Any], model: TabularModel) -> list[float]:
    """Numbers with the digits that the networks' precision has: further ones would only look like knowledge."""
    if model.settings.precision == "float64":
        return numbers.tolist()
    return [float(f"{number:.{_DIGITS}g}") for number in numbers.tolist()]


def _kept(source: Source, name: str) -> pl.Series:
    if not source.is_table or name not in source.columns:
        near = ", ".join(map(repr, nearest(name, source.columns)[:3])) if source.is_table else "a table"
        raise ArgumentError("no such column", where="--keep", expected=f"one of {near}", got=repr(name))
    return source.column(name)


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
    if not os.path.isdir(path.parent) or not os.access(path.parent, os.W_OK):
        raise ArgumentError("no folder that can be written to", where=str(path.parent))
    return path


def _write(frame: pl.DataFrame, path: Path, overwrite: bool) -> None:
    try:
        with files.replacing(path, new=not overwrite) as file:
            if path.suffix.lower() == ".parquet":
                frame.write_parquet(file)
            else:
                frame.write_csv(file)
    except OSError as error:
        raise RunError(f"cannot be written ({error.strerror or error})", where=str(path)) from None
