"""chainrule as its users call it: `Trainer.fit`, the call's own costs included."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import numpy as np

import chainrule as cr
from peers.task import LEARNING_RATE, Array, PeerBase


class Peer(PeerBase):
    """Whole epochs as compiled programs."""

    shuffles: ClassVar[str] = "own"
    backend: ClassVar[str] = "xla"

    def prepare(self) -> None:
        """A Sequential of Linear and ReLU."""
        layers: list[cr.nn.Module] = []
        for i, o in pairwise(self.task.size.widths):
            layers += [cr.nn.Linear(i, o), cr.nn.ReLU()]
        self.model = cr.nn.Sequential(*layers[:-1])
        state = {}
        for position, (weight, bias) in enumerate(self.task.weights()):
            state |= {f"{2 * position}.weight": weight, f"{2 * position}.bias": bias}
        self.model.load_state_dict(state)
        self.trainer = cr.Trainer(
            self.model, cr.nn.CrossEntropyLoss(), cr.optim.Adam(lr=LEARNING_RATE), backend=self.backend
        )
        self.x, self.y = self.task.data

    def train(self, epochs: int) -> None:
        """One call of `fit`."""
        self.epoch += epochs
        self.trainer.fit(self.x, self.y, epochs=epochs, batch_size=self.task.size.batch, progress=False)

    def weights(self) -> list[tuple[Array, Array]]:
        """From the model, where `fit` puts them back."""
        state = {name: np.asarray(value) for name, value in self.model.state_dict().items()}
        layers = range(len(self.task.size.widths) - 1)
        return [(state[f"{2 * i}.weight"], state[f"{2 * i}.bias"]) for i in layers]

    @classmethod
    def version(cls) -> str:
        """The version."""
        return f"chainrule {cr.__version__}"
