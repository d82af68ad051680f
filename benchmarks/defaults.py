"""Are the defaults good? `chainrule fit` with no options beside scikit-learn's MLP, on the bundled sets.

Both see the same standardised tables and are judged on the same test rows, five splits each. scikit-learn's network
has no need of validation rows and trains on them too; its target is standardised as well in a regression, without which
it does far worse. Accuracy, or R² for diabetes, mean ± standard deviation.

    python benchmarks/defaults.py [--seeds N]
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from chainrule.cli import build, summary
from chainrule.cli.fit import Prepared, fit_arguments, outputs, prepare
from chainrule.cli.options import Options
from chainrule.data import BUNDLED, load


def ours(prepared: Prepared, seed: int) -> float:
    """What `fit` reaches on the test rows."""
    task = prepared.preprocessor.task
    options = Options(seed=seed).complete(task, len(prepared.parts.train))
    trainer = build.trainer(options, prepared.X.shape[1], outputs(prepared.preprocessor))
    trainer.fit(**fit_arguments(prepared, options), progress=False)
    metrics = summary.measure(trainer, prepared.preprocessor, prepared.guess, prepared.rows("test"))["metrics"]
    return float(metrics["accuracy" if task == "classify" else "r2"])


def theirs(prepared: Prepared, seed: int, **settings: Any) -> float:
    """What scikit-learn's network reaches on the same rows."""
    (X, y), (more_X, more_y), (test_X, test_y) = (prepared.rows(part) for part in ("train", "validation", "test"))
    kind = MLPClassifier if prepared.preprocessor.task == "classify" else MLPRegressor
    model = kind(random_state=seed, **settings)
    model.fit(np.concatenate([X, more_X]), np.concatenate([y, more_y]).ravel())
    return float(model.score(test_X, test_y.ravel()))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.seeds)
    warnings.simplefilter("ignore", ConvergenceWarning)
    peers: dict[str, Callable[[Prepared, int], float]] = {
        "chainrule": ours,
        "scikit-learn": theirs,
        "scikit-learn, layers and steps as ours": lambda p, s: theirs(
            p, s, hidden_layer_sizes=(128, 64), max_iter=200, batch_size=32
        ),
    }
    print("| set | metric | " + " | ".join(peers) + " |")
    print("|---|---|" + "---|" * len(peers))
    for name in BUNDLED:
        prepared = [prepare(load(name), Options(seed=seed)) for seed in seeds]
        metric = "accuracy" if prepared[0].preprocessor.task == "classify" else "R²"
        scores = [[peer(p, seed) for p, seed in zip(prepared, seeds, strict=True)] for peer in peers.values()]
        cells = [f"{np.mean(score):.3f} ± {np.std(score, ddof=1):.3f}" for score in scores]
        print(f"| {name} | {metric} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
