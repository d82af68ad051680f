"""The sets that need no file of the user's: they lie in this package, in `sets/`, which says where they come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from chainrule.errors import DataError

if TYPE_CHECKING:
    import polars as pl

BUNDLED = ("digits", "iris", "wine", "breast_cancer", "diabetes")
"""The sets that need no file."""
_FOLDER = Path(__file__).parent / "sets"


def table(name: str) -> pl.DataFrame:
    """A set as a table: its features, and its "target", labels as text where the set has names for them.

    Raises:
        DataError: if its file is missing or damaged.

    Example:
        >>> table("iris").columns
        ['sepal length (cm)', 'sepal width (cm)', 'petal length (cm)', 'petal width (cm)', 'target']
    """
    import polars as pl

    found = _read(name)
    target = found["target"]
    if "labels" in found:
        target = found["labels"][target].tolist()
    return pl.DataFrame({**dict(zip(found["columns"].tolist(), found["data"].T, strict=True)), "target": target})


def arrays(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A set as arrays: features (rows, columns) in float64, and targets (rows,), classes as numbers from 0.

    Raises:
        DataError: if its file is missing or damaged.

    Example:
        >>> X, y = arrays("iris")
        >>> X.shape, y.shape, y.max()
        ((150, 4), (150,), np.int64(2))
    """
    found = _read(name)
    return found["data"], found["target"]


def _read(name: str) -> dict[str, Any]:
    try:
        with np.load(_FOLDER / f"{name}.npz", allow_pickle=False) as file:
            found = {key: file[key] for key in file.files}
    except (OSError, ValueError, BadZipFile) as error:
        hint = "install chainrule again"
        raise DataError("the file of this set cannot be read", where=name, got=str(error), hint=hint) from None
    # Whole numbers lie there in as few bytes as hold them.
    found["data"] = found["data"].astype(np.float64)
    if found["target"].dtype.kind == "u":
        found["target"] = found["target"].astype(np.int64)
    return found
