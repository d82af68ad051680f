"""scikit-learn's MLPClassifier, warm-started so that each call trains on from the weights it has."""

from __future__ import annotations

import warnings
from typing import ClassVar

import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from peers.task import LEARNING_RATE, Array, PeerBase


class Peer(PeerBase):
    """Adam without penalty and without stopping early. Its moments start anew with each call."""

    sizes: ClassVar[tuple[str, ...]] = ("S", "M")
    shuffles: ClassVar[str] = "own"

    def prepare(self) -> None:
        """One epoch makes the arrays, which the task's weights then overwrite."""
        self.x, self.y = self.task.data
        self.model = MLPClassifier(
            self.task.size.widths[1:-1],
            solver="adam",
            alpha=0.0,
            batch_size=self.task.size.batch,
            learning_rate_init=LEARNING_RATE,
            warm_start=True,
            tol=0.0,
            n_iter_no_change=10**9,
            random_state=0,
        )
        self.train(1)
        self.epoch = 0
        for position, (weight, bias) in enumerate(self.task.weights()):
            self.model.coefs_[position][...] = weight.T
            self.model.intercepts_[position][...] = bias

    def train(self, epochs: int) -> None:
        """That many passes over the rows."""
        self.epoch += epochs
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model.set_params(max_iter=epochs).fit(self.x, self.y)

    def weights(self) -> list[tuple[Array, Array]]:
        """Turned back to (out, in)."""
        return [(w.T, b) for w, b in zip(self.model.coefs_, self.model.intercepts_, strict=True)]

    @classmethod
    def version(cls) -> str:
        """The version."""
        return f"scikit-learn {sklearn.__version__}"
