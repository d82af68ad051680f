"""JAX with Optax: one jitted step, state donated, batches gathered inside, waited for once at the end."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from peers.task import LEARNING_RATE, Array, PeerBase


def forward(parameters: Any, x: Any) -> Any:
    """The logits."""
    for weight, bias in parameters[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = parameters[-1]
    return x @ weight + bias


def cost(parameters: Any, x: Any, y: Any) -> Any:
    """Mean cross-entropy of a batch."""
    return optax.softmax_cross_entropy_with_integer_labels(forward(parameters, x), y).mean()


ADAM = optax.adam(LEARNING_RATE)


def step(parameters: Any, state: Any, x: Any, y: Any, rows: Any) -> Any:
    """One update."""
    gradients = jax.grad(cost)(parameters, x[rows], y[rows])
    updates, state = ADAM.update(gradients, state, parameters)
    return optax.apply_updates(parameters, updates), state


@partial(jax.jit, donate_argnums=(0, 1, 2))
def counted_step(parameters: Any, state: Any, count: Any, x: Any, y: Any, order: Any) -> Any:
    """One update; the place in the epoch stays on the device, so that a call carries nothing over."""
    parameters, state = step(parameters, state, x, y, order[count])
    return parameters, state, count + 1


class Peer(PeerBase):
    """The loop that Optax's own examples write."""

    def prepare(self) -> None:
        """Weights as (in, out), which is JAX's habit."""
        x, y = self.task.data
        self.x, self.y = jnp.asarray(x), jnp.asarray(y, jnp.int32)
        self.parameters = [(jnp.array(w.T), jnp.array(b)) for w, b in self.task.weights()]
        self.state = ADAM.init(self.parameters)

    def train(self, epochs: int) -> None:
        """Dispatched step by step, waited for at the end."""
        parameters, state, x, y = self.parameters, self.state, self.x, self.y
        for order in self.orders(epochs):
            batches, count = jnp.asarray(order), jnp.zeros((), jnp.int32)
            for _ in range(len(order)):
                parameters, state, count = counted_step(parameters, state, count, x, y, batches)
        self.parameters, self.state = jax.block_until_ready((parameters, state))

    def weights(self) -> list[tuple[Array, Array]]:
        """Turned back to (out, in)."""
        return [(np.asarray(w).T, np.asarray(b)) for w, b in self.parameters]

    @classmethod
    def version(cls) -> str:
        """Both versions."""
        return f"jax {jax.__version__}, optax {optax.__version__}"
