"""Many small networks: `cr.Sweep` beside scikit-learn's `GridSearchCV` with its MLP, on the same grid, folds and cores.

Usage: python benchmarks/sweep.py [--side 16] [--folds 5] [--epochs 20] [--sample 32] [--jobs 2] [--json FILE]

The network is 64-64-10 on scikit-learn's digits, batch 32, Adam; the grid is `side` rates × `side` L2 penalties.
Each side is timed as a whole, compiling and starting processes included. All of the grid would take GridSearchCV
minutes, so it is given a sample of the combinations, drawn evenly, and its time is scaled; `--sample 0` gives it all.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

Grid = dict[str, list[float]]


def grid(side: int) -> Grid:
    """The learning rates and the penalties."""
    return {"lr": np.geomspace(1e-4, 3e-2, side).tolist(), "alpha": np.geomspace(1e-6, 1e-2, side).tolist()}


def ours(X: Any, y: Any, values: Grid, folds: int, epochs: int) -> dict[str, float]:
    """Seconds, and the best mean accuracy over the folds at the end of the training."""
    import chainrule as cr

    sweep = cr.Sweep(
        model=lambda: cr.nn.Sequential(cr.nn.Linear(64, 64), cr.nn.ReLU(), cr.nn.Linear(64, 10)),
        loss=cr.nn.CrossEntropyLoss(),
        optimizer=lambda lr: cr.optim.Adam(lr),
        # scikit-learn penalises α/2·‖w‖², and divides by the rows of a batch; ours is α·‖w‖².
        penalty=lambda alpha: cr.optim.L2(alpha / 64),
        grid=values,
    )
    began = time.perf_counter()
    result = sweep.fit(X, y, epochs=epochs, folds=folds, batch_size=32, progress=False)
    seconds = time.perf_counter() - began
    reached: dict[tuple[Any, ...], list[float]] = {}
    for trial in result.trials:
        reached.setdefault(tuple(trial.config.values()), []).append(trial.history.metrics["val_accuracy"][-1])
    return {"seconds": seconds, "accuracy": max(map(mean, reached.values())), "trials": len(result.trials)}


def theirs(X: Any, y: Any, values: Grid, folds: int, epochs: int, sample: int, jobs: int) -> dict[str, float]:
    """The same with GridSearchCV, scaled from a sample of the combinations."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.neural_network import MLPClassifier

    every = [{"learning_rate_init": [lr], "alpha": [alpha]} for lr in values["lr"] for alpha in values["alpha"]]
    chosen = every if not sample else [every[int(i)] for i in np.linspace(0, len(every) - 1, min(sample, len(every)))]
    model = MLPClassifier((64,), batch_size=32, max_iter=epochs, n_iter_no_change=epochs, random_state=0)
    search = GridSearchCV(model, chosen, cv=folds, n_jobs=jobs, refit=False)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(X, y)
    measured = time.perf_counter() - began
    scaled = measured * len(every) / len(chosen)
    return {"seconds": scaled, "measured": measured, "combinations": len(chosen), "accuracy": float(search.best_score_)}


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--side", type=int, default=16, help="values of each hyperparameter")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--sample", type=int, default=32, help="combinations given to GridSearchCV; 0 for all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes of GridSearchCV")
    parser.add_argument("--json", type=Path, help="write everything here")
    arguments = parser.parse_args(argv)
    if min(arguments.side, arguments.epochs, arguments.jobs) < 1 or arguments.folds < 2 or arguments.sample < 0:
        parser.error("side, epochs and jobs must be at least 1, folds at least 2, sample at least 0")
    return arguments


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    from sklearn.datasets import load_digits

    asked = _arguments(argv)
    os.environ["CHAINRULE_CACHE"] = "off"
    # What the processes of GridSearchCV warn of (that the training has not converged) is meant.
    os.environ["PYTHONWARNINGS"] = "ignore"
    X, y = load_digits(return_X_y=True)
    X, values = (X / 16).astype(np.float32), grid(asked.side)
    mine = ours(X, y, values, asked.folds, asked.epochs)
    other = theirs(X, y, values, asked.folds, asked.epochs, asked.sample, asked.jobs)
    total = asked.side**2
    print(f"{total} combinations × {asked.folds} folds of 64-64-10 on digits, {asked.epochs} epochs")
    print(f"chainrule Sweep: {mine['seconds']:.1f} s, best mean accuracy {mine['accuracy']:.4f}")
    print(
        f"scikit-learn GridSearchCV, {asked.jobs} processes: {other['seconds']:.1f} s "
        f"({other['combinations']} combinations in {other['measured']:.1f} s, scaled), "
        f"best mean accuracy {other['accuracy']:.4f}"
    )
    print(f"ratio: {other['seconds'] / mine['seconds']:.1f}")
    if asked.json:
        from chainrule import files

        files.write(asked.json, (json.dumps({"chainrule": mine, "scikit-learn": other}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
