"""`chainrule lab`: each claim of the lecture, measured on this machine, with a page that shows it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule.cli.options import Lab
from chainrule.errors import ArgumentError, ChainruleError

if TYPE_CHECKING:
    from chainrule.lab import Result


def run(request: Lab) -> int:
    """Run the command: 0 where the claims hold, 1 where one does not."""
    _check(request)
    if request.name is None and not request.all:
        _list(bool(request.json))
        return 0
    try:
        return _run_one(request.name, request) if request.name is not None else _run_all(request)
    except ChainruleError as error:
        # The request was right: a lab that cannot be measured, or a disk that became full, is a job that failed.
        print(f"chainrule: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _check(request: Lab) -> None:
    """Refuse what cannot be done, before anything is measured."""
    from chainrule.lab import load, names
    from chainrule.lab.pages import INDEX, prepare_folder

    if request.all and request.name is not None:
        raise ArgumentError("cannot be used together", where="NAME and --all", hint="give one of them")
    if request.name is not None:
        load(request.name)
    elif not request.all:
        if request.out is not None:
            raise ArgumentError("there is nothing to write", where="--out", hint="name a lab, or give --all")
        return
    prepare_folder(request.folder, [*names(), INDEX] if request.name is None else [request.name])


def _run_one(name: str, request: Lab) -> int:
    result = _run(name, request)
    if request.json:
        _print_json(result.json())
    else:
        _show(result)
    return 0 if result.holds else 1


def _run_all(request: Lab) -> int:
    from chainrule.lab import names
    from chainrule.lab.pages import INDEX, index_page, write_lab_page

    results = []
    for name in names():
        results.append(_run(name, request))
        if not request.json:
            _show_line(results[-1])
    page = index_page((result.name, result.lab, result.holds) for result in results)
    index = write_lab_page(page, Path(request.folder), INDEX)
    held = sum(result.holds for result in results)
    if request.json:
        _print_json({"labs": [result.json() for result in results], "holds": held == len(results)})
    else:
        _console().print(f"{held} of {len(results)} claims hold.\npage: {index}", style="bold")
    return 0 if held == len(results) else 1


def _run(name: str, request: Lab) -> Result:
    from chainrule.lab import run

    if request.json or not request.all:
        print(f"running {name}", file=sys.stderr, flush=True)
    return run(name, request.folder)


def _print_json(found: dict[str, Any]) -> None:
    print(json.dumps(found, allow_nan=False, ensure_ascii=False))


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, markup=False)


def _list(as_json: bool) -> None:
    from rich.table import Table

    from chainrule.lab import load, names

    labs = {name: load(name) for name in names()}
    if as_json:
        _print_json({"labs": [{"name": name, "row": lab.row, "claim": lab.claim} for name, lab in labs.items()]})
        return
    table = Table("row", "lab", "claim", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for name, lab in labs.items():
        table.add_row(lab.row, name, lab.claim)
    console = _console()
    console.print(table)
    console.print("chainrule lab NAME runs one, chainrule lab --all runs all of them", style="dim")


def _show(result: Result) -> None:
    """Print a lab's claim, its checks and its figures for a person."""
    from rich.table import Table

    from chainrule.lab.pages import cell, verdict

    console = _console()
    console.print(f"{result.lab.row}  {result.lab.claim}")
    for sentence, true in result.measured.checks.items():
        console.print(f"{_mark(true)} {sentence}", style="green" if true else "red")
    table = Table("figure", "value", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.columns[1].justify = "right"
    for name, value in result.measured.figures.items():
        table.add_row(name, f"{value:.6g}" if isinstance(value, float) else str(cell(value)))
    console.print(table)
    console.print(f"{verdict(result.measured)} ({result.seconds:.1f} s)", style="bold")
    console.print(f"page: {result.page}")


def _show_line(result: Result) -> None:
    """Print whether a lab's claim holds, and the sentences that do not."""
    console = _console()
    line = f"{_mark(result.holds)} {result.lab.row:12} {result.name} ({result.seconds:.1f} s)"
    console.print(line, style="green" if result.holds else "red")
    for sentence, true in result.measured.checks.items():
        if not true:
            console.print(f"    {_mark(true)} {sentence}")


def _mark(true: bool) -> str:
    return "✓" if true else "✗"
