"""`chainrule predict`: a run and a table in, a prediction a row out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule import files
from chainrule.cli import runs
from chainrule.cli.options import Predict
from chainrule.data import Source, load
from chainrule.errors import ArgumentError, RunError, printable
from chainrule.tabular import TabularModel

if TYPE_CHECKING:
    import polars as pl

ENDINGS = (".csv", ".parquet")


def run(request: Predict) -> int:
    """Run the command."""
    out = _checked(request.out, bool(request.overwrite))
    model, _ = runs.read(request.run)
    if request.proba and model.preprocessor.classes is None:
        raise ArgumentError("a number has no classes", where="--proba", hint="leave it out for regression")
    notes: list[str] = []
    frame = _frame(model, load(request.table), bool(request.proba), notes)
    for note in notes:
        print(f"chainrule: note: {note}", file=sys.stderr)
    if out is None:
        text = frame.write_csv()
        # A terminal would obey control characters in labels; a file or a program gets what stands in the table.
        sys.stdout.write("\n".join(map(printable, text.split("\n"))) if sys.stdout.isatty() else text)
    else:
        _write(frame, out, bool(request.overwrite))
    return 0


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


def _frame(model: TabularModel, source: Source, proba: bool, notes: list[str]) -> pl.DataFrame:
    import polars as pl

    if not proba:
        return pl.DataFrame({model.preprocessor.target: model.predict(source, notes)})
    chances = model.predict_proba(source, notes)
    classes = model.preprocessor.classes or []
    return pl.DataFrame({str(label): chances[:, i] for i, label in enumerate(classes)})


def _write(frame: pl.DataFrame, path: Path, overwrite: bool) -> None:
    try:
        with files.replacing(path, new=not overwrite) as file:
            if path.suffix.lower() == ".parquet":
                frame.write_parquet(file)
            else:
                frame.write_csv(file)
    except OSError as error:
        raise RunError(f"cannot be written ({error.strerror or error})", where=str(path)) from None
