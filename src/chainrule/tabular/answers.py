"""From the outputs of networks side by side to one answer a row, in the user's units; and the targets they train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chainrule.data.scale import moments

Array = np.ndarray[Any, Any]
MANY = 10_000
"""Rows from which only one scale is tried."""


@dataclass(frozen=True)
class Scale:
    """What members predict in place of a number y: (y − mean)/sigma, or the same of ln y."""

    log: bool
    mean: float
    sigma: float

    @classmethod
    def fit(cls, y: Array, log: bool) -> Scale:
        """Mean 0 and variance 1 for these numbers, which are positive where their logarithm is taken."""
        return cls(log, *_moments(np.log(y) if log else y))

    def to_network(self, y: Array) -> Array:
        """What is predicted."""
        return ((np.log(y) if self.log else y) - self.mean) / self.sigma

    def from_network(self, output: Array) -> Array:
        """The number that a prediction stands for."""
        values = output * self.sigma + self.mean
        with np.errstate(over="ignore"):
            return np.exp(values) if self.log else values


def _moments(values: Array) -> tuple[float, float]:
    """Mean and deviation; 1 where that is only the rounding noise of one value."""
    mean, sigma = moments(values)
    return mean, sigma if sigma > 1e-13 * abs(mean) else 1.0


def scales(y: Array) -> list[Scale]:
    """How numbers may be predicted: as they are, and where all are positive and skewed less in logarithms, so too.

    Where there are many rows only the less skewed way is tried: both take twice as long.
    """
    plain = Scale.fit(y, log=False)
    if y.min() <= 0 or abs(_skewness(np.log(y))) >= abs(_skewness(y)):
        return [plain]
    logarithms = Scale.fit(y, log=True)
    return [plain, logarithms] if len(y) < MANY else [logarithms]


def _skewness(values: Array) -> float:
    mean, sigma = _moments(values)
    return float((((values - mean) / sigma) ** 3).mean())


@dataclass(frozen=True)
class Answers:
    """How the outputs of members become answers.

    Attributes:
        task: "classify" or "regress".
        scales: of numbers, in turn, as the members of a group have them; empty for classes.
        used: by scale, whether its members are asked.
        low, high: what a predicted number is held within: the range of training.
        members: of each scale, in each group.
    """

    task: str
    members: int = 1
    scales: Sequence[Scale] = ()
    used: Sequence[bool] = ()
    low: float = -np.inf
    high: float = np.inf

    @classmethod
    def of_numbers(cls, y: Array, members: int) -> Answers:
        """For numbers to learn from."""
        found = scales(y)
        return cls("regress", members, found, [True] * len(found), float(y.min()), float(y.max()))

    @property
    def group(self) -> int:
        """Members that hold out the same rows."""
        return self.members * max(1, len(self.scales))

    def targets(self, y: Array, groups: int) -> Array:
        """(n, count) what each member is to predict: for each group all members of the first scale, of the next, …"""
        if self.task == "classify":
            return np.repeat(y.astype(np.float32)[:, None], groups * self.members, axis=1)
        one = np.concatenate([np.repeat(s.to_network(y)[:, None], self.members, axis=1) for s in self.scales], axis=1)
        return np.tile(one, (1, groups)).astype(np.float32)

    def of_members(self, outputs: Array) -> Array:
        """Outputs (n, members, K) as each member's answers: (n, members, K) probabilities, or (n, members) numbers."""
        if self.task == "classify":
            logits = outputs.astype(np.float64)
            logits -= logits.max(axis=-1, keepdims=True)
            chances = np.exp(logits)
            return chances / chances.sum(axis=-1, keepdims=True)
        numbers = outputs[..., 0].astype(np.float64)
        found = [self._scale(member).from_network(numbers[:, member]) for member in range(numbers.shape[1])]
        return np.clip(np.stack(found, axis=1), self.low, self.high)

    def _scale(self, member: int) -> Scale:
        return self.scales[member % self.group // self.members]

    def asked(self, count: int) -> Array:
        """(count,) whether each member is asked."""
        if not self.scales:
            return np.ones(count, bool)
        return np.array([self.used[member % self.group // self.members] for member in range(count)])

    def mean(self, answers: Array, counted: Array | None = None) -> Array:
        """The mean over the members that are asked.

        Args:
            answers: as `of_members` gives them.
            counted: (n, members) whether a member is asked about a row; None for all.
        """
        weight = np.broadcast_to(self.asked(answers.shape[1]), answers.shape[:2]).astype(np.float64)
        if counted is not None:
            weight = weight * counted
        weight = weight / weight.sum(axis=1, keepdims=True)
        mean: Array = np.einsum("nm,nm...->n...", weight, answers)
        return mean

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        saved = asdict(self)
        return saved | {"low": _plain(self.low), "high": _plain(self.high)}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Answers:
        """What `to_dict` wrote."""
        low, high = saved["low"], saved["high"]
        bounds = {"low": -np.inf if low is None else low, "high": np.inf if high is None else high}
        return cls(**{**saved, **bounds, "scales": [Scale(**scale) for scale in saved["scales"]]})


def _plain(value: float) -> float | None:
    return value if np.isfinite(value) else None
