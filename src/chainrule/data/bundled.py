"""The sets that need no file of the user's: scikit-learn's own, read from its files.

The files lie in its package and hold the numbers; the names of the columns are in its code, hence here. Importing
scikit-learn, and SciPy with it, takes longer than training on these sets does.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

_CELLS = ("radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave points",
          "symmetry", "fractal dimension")  # fmt: skip

COLUMNS: dict[str, tuple[str, ...]] = {
    "digits": tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8)),
    "iris": ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"),
    "wine": ("alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids",
             "nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue", "od280/od315_of_diluted_wines",
             "proline"),
    "breast_cancer": (*(f"mean {c}" for c in _CELLS), *(f"{c} error" for c in _CELLS), *(f"worst {c}" for c in _CELLS)),
    "diabetes": ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"),
}  # fmt: skip
"""The features of each set, in order."""


def table(name: str) -> pl.DataFrame:
    """A set as a table: its features, and its "target", labels as text where the set has names for them.

    Raises:
        DataError: if scikit-learn's file is not where it should be.

    Example:
        >>> table("iris").columns
        ['sepal length (cm)', 'sepal width (cm)', 'petal length (cm)', 'petal width (cm)', 'target']
    """
    import polars as pl

    try:
        data, target = _read(name)
    except OSError as error:
        hint = "install scikit-learn again"
        raise DataError(
            "scikit-learn's file of this set cannot be read", where=name, got=str(error), hint=hint
        ) from None
    return pl.DataFrame({**dict(zip(COLUMNS[name], data.T, strict=True)), "target": target})


def _read(name: str) -> tuple[np.ndarray, Any]:
    # Found without being imported.
    package = importlib.util.find_spec("sklearn")
    folder = Path((package and package.origin) or "sklearn").parent / "datasets" / "data"
    if name == "digits":
        data = np.loadtxt(folder / "digits.csv.gz", delimiter=",")
        return data[:, :-1], data[:, -1].astype(int)
    if name == "diabetes":
        data = np.loadtxt(folder / "diabetes_data_raw.csv.gz")
        # In scikit-learn's order of rounding, so that the numbers are the same to the bit.
        data = (data - np.nanmean(data, axis=0)) / np.nanstd(data, axis=0) / len(data) ** 0.5
        return data, np.loadtxt(folder / "diabetes_target.csv.gz")
    path = folder / {"iris": "iris.csv", "wine": "wine_data.csv", "breast_cancer": "breast_cancer.csv"}[name]
    with path.open(encoding="utf-8") as file:
        labels = np.asarray(file.readline().strip().split(",")[2:])
        data = np.loadtxt(file, delimiter=",")
    return data[:, :-1], labels[data[:, -1].astype(int)].tolist()
