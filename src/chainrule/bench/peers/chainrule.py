"""chainrule as its users call it: `Trainer.fit`, the call's own costs included."""

from __future__ import annotations

from importlib.metadata import version
from itertools import pairwise
from typing import ClassVar

import numpy as np

from chainrule import nn, optim
from chainrule.bench.peer import PeerBase
from chainrule.bench.task import LEARNING_RATE, Array, Layers
from chainrule.train import Trainer


class Peer(PeerBase):
    """Whole epochs as compiled programs."""

    precisions: ClassVar[tuple[str, ...]] = ("float32", "bfloat16", "tf32")
    devices: ClassVar[tuple[str, ...]] = ("cpu", "gpu")
    backend: ClassVar[str] = "xla"

    def prepare(self) -> None:
        """A Sequential of Linear and ReLU; no metrics, since the others compute none."""
        layers: list[nn.Module] = []
        for i, o in pairwise(self.cell.widths):
            layers += [nn.Linear(i, o), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])
        state: dict[str, Array] = {}
        for position, (weight, bias) in enumerate(self.task.weights()):
            state |= {f"{2 * position}.weight": weight, f"{2 * position}.bias": bias}
        self.model.load_state_dict(state)
        self.trainer = Trainer(
            self.model,
            nn.CrossEntropyLoss(),
            optim.Adam(lr=LEARNING_RATE),
            metrics=(),
            backend=self.backend,
            precision=self.cell.precision,
            device=self.cell.device,
        )
        self.x, self.y = self.task.data

    def train(self, epochs: int, shuffled: bool = True) -> None:
        """One call of `fit`."""
        shuffle = "epoch" if shuffled else "never"
        self.trainer.fit(self.x, self.y, epochs=epochs, batch_size=self.cell.batch, shuffle=shuffle, progress=False)

    def weights(self) -> Layers:
        """From the model, where `fit` puts them back."""
        state = {name: np.asarray(value) for name, value in self.model.state_dict().items()}
        layers = range(len(self.cell.widths) - 1)
        return [(state[f"{2 * i}.weight"], state[f"{2 * i}.bias"]) for i in layers]

    @classmethod
    def version(cls) -> str:
        """The version."""
        return f"chainrule {version('chainrule')}"
