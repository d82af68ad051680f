"""The default on real tables, beside what scikit-learn gives with its defaults.

    python benchmarks/tables.py FOLDER [--sets german,auto] [--splits 3] [--out FILE.json]

FOLDER holds `meta.json`, {set: [target, "c" for classes or "r" for numbers]}, and SET/SPLIT/train.csv and test.csv.
Each of ours is `chainrule fit` with no option but the target, and `chainrule predict`, as processes of their own;
seconds are those of `fit`, whole. The others are fitted to the same rows, numbers standardised and categories one-hot
(the trees get categories as they are), in processes of their own too. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from chainrule import files

MISSING = ["", "?", "NA", "null", "None", "nan", "NaN", "N/A"]
PEERS = ("linear", "mlp", "hgb")
TINY = 1e-15
Array = np.ndarray[Any, Any]


def ours(folder: Path, target: str, task: str) -> dict[str, float]:
    """What `chainrule fit` and `predict` give, and what `fit` itself says."""
    with tempfile.TemporaryDirectory() as work:
        run = Path(work) / "run"
        command = [sys.executable, "-m", "chainrule"]
        kind = {"c": "classify", "r": "regress"}[task]
        began = time.perf_counter()
        fitted = subprocess.run(
            [*command, "fit", folder / "train.csv", "--target", target, "--task", kind, "--out", run, "--json"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        said = json.loads(fitted.stdout.splitlines()[-1])
        out = Path(work) / "out.csv"
        more = ["--proba"] if task == "c" else []
        subprocess.run(
            [*command, "predict", run, folder / "test.csv", "--out", out, *more], capture_output=True, check=True
        )
        answers = pl.read_csv(out, infer_schema_length=None)
        truth = labels(folder / "test.csv", target)
    name = "log_loss" if task == "c" else "r2"
    value = said["metrics"][name], said["errors"][name]
    found = figures_of_classes(truth, answers) if task == "c" else figures_of_numbers(truth, answers.to_series())
    return {**found, "seconds": seconds, "estimate": value[0], "error": value[1]}


def labels(path: Path, target: str) -> pl.Series:
    """The target as it stands in a file."""
    return pl.read_csv(path, infer_schema=False)[target]


def figures_of_classes(truth: pl.Series, chances: pl.DataFrame) -> dict[str, float]:
    """Accuracy, log-loss, and for two classes how much is expected of the rarer one for each that comes."""
    place = {name: i for i, name in enumerate(chances.columns)}
    numbers = np.array([place[label] for label in truth])
    return scored(numbers, chances.to_numpy())


def scored(truth: Array, chances: Array) -> dict[str, float]:
    """The same of class numbers."""
    own = np.maximum(chances[np.arange(len(truth)), truth], TINY)
    found = {"accuracy": float((chances.argmax(1) == truth).mean()), "log_loss": float(-np.log(own).mean())}
    if chances.shape[1] == 2:
        rare = int(np.bincount(truth, minlength=2).argmin())
        came = int((truth == rare).sum())
        found["expected_of_rare"] = float(chances[:, rare].sum() / max(came, 1))
    return found


def figures_of_numbers(truth: pl.Series, found: pl.Series) -> dict[str, float]:
    """R²."""
    return {"r2": r_squared(as_numbers(truth), found.to_numpy().astype(float))}


def as_numbers(text: pl.Series) -> Array:
    """Numbers that may have a currency sign and thousands separators."""
    return text.str.replace_all(r"[$,]", "").cast(pl.Float64).to_numpy()


def r_squared(truth: Array, found: Array) -> float:
    """1 − Σ(y − ŷ)²/Σ(y − ȳ)²."""
    return float(1 - ((truth - found) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


# ---- the others


def peer(name: str, folder: Path, target: str, task: str) -> dict[str, float]:
    """What one of scikit-learn's gives; called in a process of its own."""
    import warnings

    warnings.simplefilter("ignore")
    train, test = (pl.read_csv(folder / f"{part}.csv", infer_schema=False) for part in ("train", "test"))
    numbers, words = _columns(train.drop(target))
    y, classes = train[target], sorted(train[target].unique().to_list())
    model = _model(name, task, numbers, words, train)
    began = time.perf_counter()
    fitted = model.fit(_matrix(train, numbers, words), y.to_numpy() if task == "c" else as_numbers(y))
    seconds = time.perf_counter() - began
    X = _matrix(test, numbers, words)
    if task == "r":
        return {"r2": r_squared(as_numbers(test[target]), fitted.predict(X)), "seconds": seconds}
    place = {label: i for i, label in enumerate(classes)}
    truth = np.array([place[label] for label in test[target]])
    return scored(truth, fitted.predict_proba(X)) | {"seconds": seconds}


def _columns(frame: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Those that hold numbers alone, and the others, of which free text is left out."""
    numbers, words = [], []
    for column in frame.iter_columns():
        text = column.str.strip_chars().replace(MISSING, [None] * len(MISSING)).drop_nulls()
        if text.cast(pl.Float64, strict=False).null_count() == 0:
            numbers.append(column.name)
        elif text.n_unique() <= len(text) / 2:
            words.append(column.name)
    return numbers, words


def _matrix(frame: pl.DataFrame, numbers: list[str], words: list[str]) -> Array:
    missing = dict.fromkeys(MISSING)
    stripped = frame.select(pl.all().str.strip_chars().replace(missing))
    values = stripped.select(pl.col(numbers).cast(pl.Float64, strict=False)).to_numpy()
    text = stripped.select(pl.col(words).fill_null("")).to_numpy()
    # Of no columns there are no rows either.
    parts = [part.astype(object) for part, chosen in ((values, numbers), (text, words)) if chosen]
    return np.hstack(parts)


def _model(name: str, task: str, numbers: list[str], words: list[str], frame: pl.DataFrame) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    places = list(range(len(numbers))), list(range(len(numbers), len(numbers) + len(words)))
    if name == "hgb":
        levels = [frame[word].n_unique() for word in words]
        mask = [False] * len(numbers) + [count <= 250 for count in levels]
        encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
        kind = HistGradientBoostingClassifier if task == "c" else HistGradientBoostingRegressor
        model = kind(random_state=0, categorical_features=mask if any(mask) else None)
        return make_pipeline(make_column_transformer(("passthrough", places[0]), (encoder, places[1])), model)
    scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    onehot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    kinds: dict[tuple[str, str], Any] = {
        ("linear", "c"): LogisticRegression(max_iter=1000), ("linear", "r"): RidgeCV(np.logspace(-2, 3, 11)),
        ("mlp", "c"): MLPClassifier(random_state=0), ("mlp", "r"): MLPRegressor(random_state=0),
    }  # fmt: skip
    model = kinds[name, task]
    if (name, task) == ("mlp", "r"):
        from sklearn.compose import TransformedTargetRegressor

        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    return make_pipeline(make_column_transformer((scaled, places[0]), (onehot, places[1])), model)


# ---- the table


def measured(folder: Path, name: str, target: str, task: str, split: int) -> dict[str, dict[str, float]]:
    """Ours and the others on a split of a set."""
    place = folder / name / str(split)
    found = {"chainrule": ours(place, target, task)}
    for other in PEERS:
        asked = [sys.executable, __file__, "--peer", other, str(place), target, task]
        said = subprocess.run(asked, capture_output=True, text=True, check=True)
        found[other] = json.loads(said.stdout.splitlines()[-1])
    return found


def row(name: str, task: str, splits: list[dict[str, dict[str, float]]]) -> str:
    """A line of the table: means over the splits."""
    figure = "log_loss" if task == "c" else "r2"
    cells = [name]
    for model in ("chainrule", *PEERS):
        values = [split[model][figure] for split in splits]
        more = f" ({statistics.mean(split[model]['accuracy'] for split in splits):.3f})" if task == "c" else ""
        cells.append(f"{statistics.mean(values):.3f}{more}")
    seconds = [f"{statistics.mean(split[model]['seconds'] for split in splits):.1f}" for model in ("chainrule", "mlp")]
    return f"| {' | '.join([*cells, ' / '.join(seconds)])} |"


def closing(found: dict[str, list[dict[str, dict[str, float]]]], tasks: dict[str, str]) -> list[str]:
    """Mean ranks, means over the sets, and how honest the estimates are."""
    models = ("chainrule", *PEERS)
    ranks: dict[str, list[float]] = {model: [] for model in models}
    means: dict[str, dict[str, list[float]]] = {"c": {m: [] for m in models}, "r": {m: [] for m in models}}
    inside: list[bool] = []
    for name, splits in found.items():
        figure, sign = ("log_loss", 1) if tasks[name] == "c" else ("r2", -1)
        mean = {model: statistics.mean(split[model][figure] for split in splits) for model in models}
        order = sorted(models, key=lambda model: sign * mean[model])
        for model in models:
            ranks[model].append(order.index(model) + 1)
            means[tasks[name]][model].append(mean[model])
        for split in splits:
            own = split["chainrule"]
            inside.append(abs(own["estimate"] - own[figure]) <= own["error"])
    lines = [f"mean rank: {', '.join(f'{model} {statistics.mean(ranks[model]):.2f}' for model in models)}"]
    for task, word in (("c", "mean log-loss"), ("r", "mean R²")):
        if means[task]["chainrule"]:
            lines.append(f"{word}: {', '.join(f'{m} {statistics.mean(means[task][m]):.4f}' for m in models)}")
    lines.append(f"estimate within one standard error of the test figure: {sum(inside)} of {len(inside)}")
    return lines


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--peer"]:
        print(json.dumps(peer(sys.argv[2], Path(sys.argv[3]), *sys.argv[4:6])))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    meta = json.loads((asked.folder / "meta.json").read_text())
    chosen = asked.sets.split(",") if asked.sets else list(meta)
    found: dict[str, list[dict[str, dict[str, float]]]] = {}
    print("log-loss (accuracy), or R²; seconds of chainrule, whole process, and of the MLP's fit")
    print(f"| set | chainrule | {' | '.join(PEERS)} | seconds |\n|---|---|---|---|---|---|")
    for name in chosen:
        target, task = meta[name]
        found[name] = [measured(asked.folder, name, target, task, split) for split in range(asked.splits)]
        print(row(name, task, found[name]), flush=True)
        if asked.out:
            files.write(asked.out, json.dumps(found).encode())
    print("\n".join(closing(found, {name: meta[name][1] for name in chosen})))


if __name__ == "__main__":
    main()
