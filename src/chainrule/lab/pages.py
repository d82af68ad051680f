"""The pages of the labs: one per lab, and one that lists them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.errors import RunError
from chainrule.explain import style
from chainrule.explain.page import is_page, render
from chainrule.explain.page import write_page as write_page
from chainrule.lab.catalogue import SECTIONS
from chainrule.lab.experiment import Lab, Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INDEX = "index"
"""The page that lists the others."""


def prepare_folder(out: str | Path, names: Iterable[str]) -> Path:
    """The folder for the pages of these names, created if necessary.

    Raises:
        RunError: it cannot be made or written to, or holds a file that is not one of our pages where one should go.
    """
    path = Path(out)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
        taken = [place for name in names if os.path.lexists(place := _place(path, name)) and not is_page(place)]
    except OSError as error:
        reason = "is not a folder" if isinstance(error, FileExistsError) else error.strerror
        raise _refused(path, reason) from None
    if taken:
        raise _refused(taken[0], "exists already, and is no page of a lab")
    return path


def _place(folder: Path, name: str) -> Path:
    return folder / f"{name}.html"


def write_lab_page(page: str, folder: Path, name: str) -> Path:
    """Write a page as NAME.html, whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    path = _place(folder, name)
    try:
        return write_page(page, path)
    except OSError as error:
        raise _refused(path, error.strerror) from None


def _refused(path: Path, reason: str | None) -> RunError:
    return RunError(f"cannot be written ({reason})", where=str(path), hint="choose another folder with --out")


def picture(lab: Lab, measured: Measured) -> Figure:
    """The lab's picture of what was measured."""
    figure = style.new_figure()
    lab.draw(figure, measured.data)
    return figure


def lab_page(name: str, lab: Lab, measured: Measured, figure: Figure) -> str:
    """Claim, verdict, picture and what to look at in it, checks, figures, and how to run it again."""
    return render(
        "lab/templates/lab.html",
        name.replace("-", " ").capitalize(),
        name=name,
        lab=lab,
        measured=measured,
        verdict=verdict(measured),
        figure=figure,
        shown=style.describe_figure(figure),
        figures=[(title, cell(value)) for title, value in measured.figures.items()],
        sections=sections(lab),
    )


def index_page(results: Iterable[tuple[str, Lab, bool]]) -> str:
    """All labs in one table: row, name, claim, and whether it holds; each links to its page."""
    rows = list(results)
    within = {letter: [row for row in rows if row[1].row.startswith(letter)] for letter in SECTIONS}
    return render(
        "lab/templates/index.html",
        "The labs",
        held=sum(holds for _, _, holds in rows),
        count=len(rows),
        sections=[(letter, SECTIONS[letter], found) for letter, found in within.items() if found],
    )


def verdict(measured: Measured) -> str:
    """The verdict as a sentence."""
    if measured.holds:
        return "The claim holds here."
    failed = sum(not true for true in measured.checks.values())
    return f"The claim does not hold here: {failed} of {len(measured.checks)} checks failed."


def sections(lab: Lab) -> str:
    """The parts of the list that a lab's rows are in."""
    return "; ".join(section for letter, section in SECTIONS.items() if letter in lab.row)


def cell(value: Any) -> Any:
    """A figure as a table shows it: lists written out, numbers left as they are."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        return value
    return ", ".join(f"{cell(entry):.4g}" if isinstance(entry, float) else str(cell(entry)) for entry in value)
