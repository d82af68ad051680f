"""scikit-learn's MLPClassifier, warm-started so that each call trains on from the weights it has."""

from __future__ import annotations

import warnings

import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from chainrule.bench.peer import PeerBase, Refused
from chainrule.bench.task import LEARNING_RATE, Layers


class Peer(PeerBase):
    """Adam without penalty and without stopping early. Its moments restart with each call."""

    def prepare(self) -> None:
        """One epoch allocates the arrays, which the task's weights then overwrite."""
        if self.cell.widths[-1] == 2:
            raise Refused("trains one output where there are two classes")
        self.x, self.y = self.task.data
        self.model = MLPClassifier(
            self.cell.widths[1:-1],
            solver="adam",
            alpha=0.0,
            batch_size=self.cell.batch,
            learning_rate_init=LEARNING_RATE,
            warm_start=True,
            tol=0.0,
            n_iter_no_change=10**9,
            random_state=0,
        )
        self.train(1)
        for position, (weight, bias) in enumerate(self.task.weights()):
            self.model.coefs_[position][...] = weight.T
            self.model.intercepts_[position][...] = bias

    def train(self, epochs: int, shuffled: bool = True) -> None:
        """One pass over the rows per epoch."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model.set_params(max_iter=epochs, shuffle=shuffled).fit(self.x, self.y)

    def weights(self) -> Layers:
        """Transposed back to (out, in)."""
        return [(w.T, b) for w, b in zip(self.model.coefs_, self.model.intercepts_, strict=True)]

    @classmethod
    def version(cls) -> str:
        """The version."""
        return f"scikit-learn {sklearn.__version__}"
