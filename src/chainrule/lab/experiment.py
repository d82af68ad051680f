"""What a lab is: a claim, an experiment that measures it, and a picture of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scalar = int | float
MeasuredValue = Scalar | str | list[Any]


@dataclass(frozen=True)
class Measured:
    """The findings of an experiment.

    Attributes:
        figures: the numbers it measured, by a name that says the quantity (and its unit, where it has one).
        checks: the sentences that make up the claim, each with whether the figures bear it out.
        data: what the picture is drawn from.
    """

    figures: Mapping[str, MeasuredValue]
    checks: Mapping[str, bool]
    data: Any = field(default=None, repr=False)

    @property
    def holds(self) -> bool:
        """Whether every sentence of the claim was borne out."""
        return bool(self.checks) and all(self.checks.values())


@dataclass(frozen=True)
class Lab:
    """One experiment.

    Attributes:
        row: where the claim comes from: the row of the lecture's list, e.g. "C8".
        claim: the claim, in one or two sentences.
        look: two or three plain sentences: what to look at in the picture, and why it is so.
        measure: runs the experiment, the same way every time, and returns its findings.
        draw: draws `Measured.data` on an empty figure.
    """

    row: str
    claim: str
    look: str
    measure: Callable[[], Measured]
    draw: Callable[[Figure, Any], None]
