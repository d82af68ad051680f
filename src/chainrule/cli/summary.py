"""What a training came to: measured on rows it has not seen, beside what a guess would have reached."""

from __future__ import annotations

from typing import Any

import numpy as np

import chainrule as cr
from chainrule.data import Preprocessor
from chainrule.data.memory import worded

Rows = tuple[np.ndarray, np.ndarray]


def measure(trainer: cr.Trainer, preprocessor: Preprocessor, guess: float, test: Rows) -> dict[str, Any]:
    """Metrics on the test rows, and those of the baseline, which always gives the same answer.

    Args:
        trainer: after the training.
        preprocessor: of the rows.
        guess: the baseline's answer, the most frequent class or the mean of the training rows.
        test: the rows.

    Returns:
        "metrics" and "baseline", each by name and None where it cannot be said, and "guess", the baseline's answer.
    """
    if preprocessor.task == "classify":
        answers = trainer.predict(test[0]).argmax(axis=1) if len(test[0]) else np.empty(0)
        return {
            "metrics": {"accuracy": _share(answers == test[1])},
            "baseline": {"accuracy": _share(test[1] == guess)},
            "guess": (preprocessor.classes or [])[int(guess)],
        }
    truth = preprocessor.decode(test[1]) if len(test[1]) else np.empty(0)
    answers = preprocessor.decode(trainer.predict(test[0])) if len(test[0]) else np.empty(0)
    return {
        "metrics": _distance(answers, truth),
        "baseline": _distance(np.full(len(truth), guess), truth),
        "guess": guess,
    }


def _share(hits: np.ndarray) -> float | None:
    return float(hits.mean()) if hits.size else None


def _distance(answers: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    if not truth.size:
        return {"r2": None, "rmse": None}
    with np.errstate(all="ignore"):
        squares = float(((answers - truth) ** 2).sum())
    spread = float(((truth - truth.mean()) ** 2).sum())
    found = {"r2": 1 - squares / spread if spread > 0 else np.nan, "rmse": (squares / len(truth)) ** 0.5}
    return {name: float(value) if np.isfinite(value) else None for name, value in found.items()}


def show(found: dict[str, Any]) -> None:
    """Print the results for a person."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, markup=False)
    for note in found["notes"]:
        console.print(f"note: {note}", style="dim")
    rows, layers = found["rows"], "-".join(map(str, [found["features"], *found["layers"]]))
    console.print(
        f"network {layers}, {found['parameters']:,} parameters, on {rows['train']:,} rows "
        f"({rows['validation']:,} more to choose when to stop, {rows['test']:,} to test)"
    )
    console.print(_trained(found))
    console.print(_took(found))
    console.print(_table(found))
    console.print(f"run: {found['run']}", style="bold")


def _trained(found: dict[str, Any]) -> str:
    kept = f", kept epoch {found['best_epoch']}" if found["best_epoch"] else ""
    stopped = "" if found["stopped"] == "finished" else f" ({found['stopped']})"
    peak = f"{worded(found['memory'])} of memory at the peak"
    return f"{found['epochs']} epochs{stopped}{kept}, backend {found['backend']}, {peak}"


def _took(found: dict[str, Any]) -> str:
    parts = [f"traced in {found['trace_seconds']:.2f} s"]
    if found["from_cache"] is not None:
        kept = " (kept from an earlier run)" if found["from_cache"] else ""
        parts.append(f"compiled in {found['compile_seconds']:.2f} s{kept}")
    if found["verify_seconds"]:
        parts.append(f"checked in {found['verify_seconds']:.2f} s")
    return ", ".join([*parts, f"trained in {found['train_seconds']:.2f} s; {found['seconds']:.1f} s in all"])


def _table(found: dict[str, Any]) -> Any:
    from rich.table import Table

    guess = found["guess"]
    always = f"always {guess!r}" if found["task"] == "classify" else f"always the mean, {guess:.4g}"
    table = Table("", f"test ({found['rows']['test']:,} rows)", always, box=None, pad_edge=False, padding=(0, 3, 0, 0))
    names = {"accuracy": "accuracy", "r2": "R²", "rmse": f"RMSE, in units of {found['target']}"}
    for name, value in found["metrics"].items():
        table.add_row(names[name], _number(value), _number(found["baseline"][name]))
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
