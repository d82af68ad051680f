"""What a training came to, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainrule.data.memory import worded
from chainrule.errors import printable
from chainrule.tabular.scores import Score, plain_number

NAMES = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "auc": "AUC", "f1": "F1", "log_loss": "log-loss",
    "r2": "R²", "rmse": "RMSE", "mae": "mean absolute error",
}  # fmt: skip
MOST = 6
"""Columns, or pairs of classes, that are told of."""
JUDGED = {
    "out of fold": "out of fold ({train:,} rows)", "held out": "rows held out", "test": "test ({test:,} rows)",
    "none": "",
}  # fmt: skip


def show(found: Mapping[str, Any]) -> None:
    """Print the results."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    # A line of a log is looked for as a whole.
    console.soft_wrap = not console.is_terminal
    for note in found["notes"]:
        console.print(f"note: {printable(note)}", style="dim")
    console.print(_network(found))
    console.print(_trained(found))
    console.print(_took(found))
    if found["metrics"]:
        console.print(_table(found))
    for line in [*_matters(found), *_confused(found)]:
        console.print(line)
    console.print(f"run: {printable(found['run'])}", style="bold")


def _network(found: Mapping[str, Any]) -> str:
    rows, layers = found["rows"], "-".join(map(str, [found["features"], *found["layers"]]))
    networks = found["networks"]
    several = f"{networks} networks {layers}, " if networks > 1 else f"network {layers}, "
    dealt = f" in {found['folds']} folds" if found["folds"] > 1 else ""
    others = [
        f"{rows['validation']:,} more to choose when to stop" if rows["validation"] else "",
        f"{rows['test']:,} to test" if rows["test"] else "",
    ]
    more = ", ".join(filter(None, others))
    parameters = f"{found['parameters']:,} parameters, on {rows['train']:,} rows{dealt}"
    return several + parameters + (f" ({more})" if more else "")


def _trained(found: Mapping[str, Any]) -> str:
    kept = f", kept epoch {found['best_epoch']}" if found["best_epoch"] else ""
    stopped = "" if found["stopped"] == "finished" else f" ({found['stopped']})"
    peak = f"{worded(found['memory'])} of memory at the peak"
    return f"{found['epochs']} epochs{stopped}{kept}, backend {found['backend']}, {peak}"


def _took(found: Mapping[str, Any]) -> str:
    parts = [f"traced in {found['trace_seconds']:.2f} s"]
    if found["from_cache"] is not None:
        kept = " (kept from an earlier run)" if found["from_cache"] else ""
        parts.append(f"compiled in {found['compile_seconds']:.2f} s{kept}")
    if found["verify_seconds"]:
        parts.append(f"checked in {found['verify_seconds']:.2f} s")
    return ", ".join([*parts, f"trained in {found['train_seconds']:.2f} s; {found['seconds']:.1f} s in all"])


def _table(found: Mapping[str, Any]) -> Any:
    from rich.table import Table

    guess = found["guess"]
    always = f"guess: '{shown(guess)}'" if found["task"] == "classify" else f"guess: the mean, {plain_number(guess)}"
    judged = JUDGED[found["judged_by"]].format(**found["rows"])
    table = Table("", judged, always, box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for name, value in found["metrics"].items():
        judged = str(Score(value, found["errors"][name]))
        table.add_row(NAMES[name], judged, _number(found["baseline"].get(name)))
    return table


def _matters(found: Mapping[str, Any]) -> list[str]:
    """The columns that matter most: those whose gain is beyond twice its error."""
    told = [
        f"{shown(name)} {gain:.2g}"
        for name, (gain, error) in found.get("importance", {}).items()
        if error is not None and gain > 2 * error
    ]
    what = "log-loss" if found["task"] == "classify" else "R²"
    verb = "gained" if found["task"] == "classify" else "lost"
    more = f", … ({len(told) - MOST} more)" if len(told) > MOST else ""
    return [f"columns that matter ({what} {verb} when shuffled): {', '.join(told[:MOST])}{more}"] if told else []


def _confused(found: Mapping[str, Any]) -> list[str]:
    """The classes most often taken for another one."""
    classes, matrix = found["classes"], found.get("confusion")
    if matrix is None or found["judged_by"] == "test":
        return []
    pairs = [(matrix[i][j], i, j) for i in range(len(classes)) for j in range(len(classes)) if i != j and matrix[i][j]]
    told = [
        f"{shown(classes[i])} for {shown(classes[j])} {_rows(n)}×" for n, i, j in sorted(pairs, reverse=True)[:MOST]
    ]
    return [f"most often mistaken: {', '.join(told)}"] if told else []


def shown(value: object) -> str:
    """A name or a label as it may be printed: without control characters, and not too long."""
    text = printable(str(value))
    return text if len(text) <= 40 else text[:39] + "…"


def _rows(count: float) -> str:
    """So many rows; the sum of their weights, where they have such."""
    return f"{count:,}" if isinstance(count, int) else f"{count:,.1f}"


def _number(value: float | None) -> str:
    return "–" if value is None else plain_number(value)
