"""What the columns of the matrix that a network is fed mean: its layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FeatureKind = Literal["number", "indicator", "binary", "onehot", "code"]


@dataclass(frozen=True)
class Feature:
    """Some neighbouring columns of X that say one thing.

    | kind | columns of X | values |
    |---|---|---|
    | number | 1 | a number, scaled |
    | indicator | 1 | 1 where the number before it was missing, else 0 |
    | binary | 1 | −1 and 1 for the two levels, 0 where it is missing or was not seen in training |
    | onehot | one a level | 1 in one of them, all 0 where the level was not seen in training |
    | code | 1 | the number of the level, 1 to `levels`; 0 where it is missing or was not seen in training |

    Args:
        column: of the table, which it comes from.
        kind: see above.
        start: the first of its columns of X.
        width: how many there are.
        levels: of a code, how many levels were seen in training; otherwise 0.

    Example:
        >>> feature = Feature("shop", "code", start=3, width=1, levels=140)
        >>> feature.slice
        slice(3, 4, None)
    """

    column: str
    kind: FeatureKind
    start: int
    width: int = 1
    levels: int = 0

    @property
    def slice(self) -> slice:
        """Where X has it: `X[:, feature.slice]`."""
        return slice(self.start, self.start + self.width)
