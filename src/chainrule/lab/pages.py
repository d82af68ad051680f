"""The pages of the labs: one a lab, and one that lists them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.errors import RunError
from chainrule.explain.page import Page, is_page
from chainrule.lab import style
from chainrule.lab.catalogue import SECTIONS
from chainrule.lab.experiment import Lab, Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INDEX = """\
<table><thead><tr><th>row</th><th>lab</th><th>claim</th><th>here</th></tr></thead>
<tbody>{% for name, lab, holds in rows %}<tr><td>{{ lab.row }}</td><td><a href="{{ name }}.html">{{ name }}</a></td>
<td>{{ lab.claim }}</td><td class="{{ 'yes' if holds else 'no' }}">{{ 'holds' if holds else 'does not hold' }}</td></tr>
{% endfor %}</tbody></table>"""
_CHECKS = """\
<ul style="list-style: none; padding-left: 0">{% for sentence, held in checks %}
<li><span class="{{ 'yes' if held else 'no' }}"></span>{{ sentence }}</li>{% endfor %}
</ul>"""


INDEX = "index"
"""The page that lists the others."""


def folder(out: str | Path, names: Iterable[str]) -> Path:
    """The folder for the pages of these names, made if need be.

    Raises:
        RunError: it cannot be made or written to, or holds a file that is no page of ours where one is to go.
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


def write(page: Page, folder: Path, name: str) -> Path:
    """Write a page as NAME.html, whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    path = _place(folder, name)
    try:
        return page.write(path)
    except OSError as error:
        raise _refused(path, error.strerror) from None


def _refused(path: Path, reason: str | None) -> RunError:
    return RunError(f"cannot be written ({reason})", where=str(path), hint="choose another folder with --out")


def picture(lab: Lab, measured: Measured) -> Figure:
    """The lab's picture of what was measured."""
    figure = style.blank()
    lab.draw(figure, measured.data)
    return figure


def lab_page(name: str, lab: Lab, measured: Measured, figure: Figure) -> Page:
    """Claim, verdict, picture and what to look at in it, checks, figures, and how to run it again."""
    page = Page(name.replace("-", " ").capitalize())
    page.paragraph(lab.claim)
    page.paragraph(*verdict(measured))
    page.heading("What to look at")
    page.paragraph(lab.look)
    shown = style.described(figure)
    page.picture(figure, f"{page.title}. {shown}", shown)
    page.heading("What was checked")
    page.add(_CHECKS, checks=measured.checks.items())
    page.heading("What was measured")
    page.table([(figure_name, cell(value)) for figure_name, value in measured.figures.items()], ("figure", "value"))
    page.paragraph(f"Row {lab.row} of the lecture's list ({sections(lab)}). Run again: chainrule lab {name}", "note")
    return page


def index_page(results: Iterable[tuple[str, Lab, bool]]) -> Page:
    """All labs in one table: row, name, claim, and whether it holds; each links to its page."""
    rows = list(results)
    held = sum(holds for _, _, holds in rows)
    page = Page("The labs")
    page.paragraph(f"{held} of {len(rows)} claims hold on this machine.", "yes" if held == len(rows) else "no")
    for letter, section in SECTIONS.items():
        within = [row for row in rows if row[1].row.startswith(letter)]
        if within:
            page.heading(f"{letter}. {section}")
            page.add(_INDEX, rows=within)
    page.paragraph("Run them again: chainrule lab --all", "note")
    return page


def verdict(measured: Measured) -> tuple[str, str]:
    """The verdict as a sentence, and its class on a page."""
    if measured.holds:
        return "The claim holds here.", "yes"
    failed = sum(not true for true in measured.checks.values())
    return f"The claim does not hold here: {failed} of {len(measured.checks)} checks failed.", "no"


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
