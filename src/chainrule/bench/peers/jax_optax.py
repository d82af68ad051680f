"""JAX with Optax: one jitted step, state donated, batches gathered inside, waited for once at the end."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from chainrule.bench.peer import PeerBase, Refused
from chainrule.bench.task import LEARNING_RATE, Layers

ADAM = optax.adam(LEARNING_RATE)

PRODUCTS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "highest"}
"""JAX's own name for how float32 is multiplied; on a GPU its default is TF32."""


def forward(parameters: Any, x: Any) -> Any:
    """The logits."""
    for weight, bias in parameters[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = parameters[-1]
    return x @ weight + bias


def cost(parameters: Any, x: Any, y: Any, low: bool) -> Any:
    """Mean cross-entropy of a batch; `low` computes the layers in bfloat16, from weights in float32."""
    if low:
        parameters, x = jax.tree.map(lambda array: array.astype(jnp.bfloat16), (parameters, x))
    logits = forward(parameters, x).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def step(parameters: Any, state: Any, x: Any, y: Any, low: bool) -> Any:
    """One update."""
    gradients = jax.grad(cost)(parameters, x, y, low)
    updates, state = ADAM.update(gradients, state, parameters)
    return optax.apply_updates(parameters, updates), state


@partial(jax.jit, donate_argnums=(0, 1), static_argnames="low")
def whole_step(parameters: Any, state: Any, x: Any, y: Any, low: bool) -> Any:
    """One update from all rows."""
    return step(parameters, state, x, y, low)


@partial(jax.jit, donate_argnums=(0, 1, 2), static_argnames="low")
def counted_step(parameters: Any, state: Any, count: Any, x: Any, y: Any, order: Any, low: bool) -> Any:
    """One update; the place in the epoch stays on the device, so that a call carries nothing over."""
    rows = order[count]
    parameters, state = step(parameters, state, x[rows], y[rows], low)
    return parameters, state, count + 1


class Peer(PeerBase):
    """The loop of Optax's own examples."""

    precisions: ClassVar[tuple[str, ...]] = ("float32", "bfloat16", "tf32")
    devices: ClassVar[tuple[str, ...]] = ("cpu", "gpu")

    def prepare(self) -> None:
        """Weights as (in, out), JAX's convention."""
        if jax.default_backend() != self.cell.device:
            raise Refused(f"JAX runs on the {jax.default_backend()} here")
        jax.config.update("jax_default_matmul_precision", PRODUCTS[self.cell.precision])
        x, y = self.task.data
        self.x, self.y = jnp.asarray(x), jnp.asarray(y, jnp.int32)
        self.low = self.cell.precision == "bfloat16"
        self.parameters = [(jnp.array(w.T), jnp.array(b)) for w, b in self.task.weights()]
        self.state = ADAM.init(self.parameters)

    def train(self, epochs: int, shuffled: bool = True) -> None:
        """Dispatched step by step, waited for at the end."""
        parameters, state, x, y, low = self.parameters, self.state, self.x, self.y, self.low
        if self.cell.whole:
            for _ in range(epochs):
                parameters, state = whole_step(parameters, state, x, y, low)
        else:
            for order in self.orders(epochs, shuffled):
                batches, count = jnp.asarray(order), jnp.zeros((), jnp.int32)
                for _ in range(len(order)):
                    parameters, state, count = counted_step(parameters, state, count, x, y, batches, low)
        self.parameters, self.state = jax.block_until_ready((parameters, state))

    def weights(self) -> Layers:
        """Transposed back to (out, in)."""
        return [(np.asarray(w).T, np.asarray(b)) for w, b in self.parameters]

    def close(self) -> None:
        """Forget the programs."""
        jax.clear_caches()

    @classmethod
    def version(cls) -> str:
        """Both versions."""
        return f"jax {jax.__version__}, optax {optax.__version__}"
