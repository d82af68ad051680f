"""Keras 3 on JAX: `compile` and `fit` with arrays, as its guides do."""

from __future__ import annotations

import os
from typing import ClassVar

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np

from chainrule.bench.peer import PeerBase
from chainrule.bench.task import LEARNING_RATE, Layers

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


class Peer(PeerBase):
    """Steps are compiled; callbacks and logs are left to the end of an epoch (`steps_per_execution`)."""

    precisions: ClassVar[tuple[str, ...]] = tuple(POLICIES)

    def prepare(self) -> None:
        """A Sequential of Dense."""
        self.x, self.y = self.task.data
        keras.config.set_dtype_policy(POLICIES[self.cell.precision])
        *hidden, last = self.cell.widths[1:]
        self.model = keras.Sequential(
            [
                keras.Input((self.cell.widths[0],)),
                *(keras.layers.Dense(width, activation="relu") for width in hidden),
                keras.layers.Dense(last),
            ]
        )
        self.model.set_weights([part for weight, bias in self.task.weights() for part in (weight.T, bias)])
        self.model.compile(
            keras.optimizers.Adam(LEARNING_RATE, epsilon=1e-8),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=True,
            steps_per_execution=self.cell.steps,
        )

    def train(self, epochs: int, shuffled: bool = True) -> None:
        """One call of `fit`."""
        self.model.fit(self.x, self.y, batch_size=self.cell.batch, epochs=epochs, shuffle=shuffled, verbose=0)

    def weights(self) -> Layers:
        """Transposed back to (out, in)."""
        parts = [np.asarray(part) for part in self.model.get_weights()]
        return [(weight.T, bias) for weight, bias in zip(parts[::2], parts[1::2], strict=True)]

    def close(self) -> None:
        """Forget the model and its programs."""
        keras.backend.clear_session()
        jax.clear_caches()

    @classmethod
    def version(cls) -> str:
        """Both versions."""
        return f"keras {keras.__version__} on jax {jax.__version__}"
