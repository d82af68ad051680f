"""JAX with Optax and `lax.scan` over all steps of a call: the fastest that we know how to write with them."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from chainrule.bench.peers import jax_optax


@partial(jax.jit, donate_argnums=(0, 1), static_argnames="low")
def run(parameters: Any, state: Any, x: Any, y: Any, order: Any, low: bool) -> Any:
    """All steps as one program; compiled anew for another number of them."""

    def body(carry: Any, rows: Any) -> Any:
        parameters, state = carry
        return jax_optax.step(parameters, state, x[rows], y[rows], low), None

    return jax.lax.scan(body, (parameters, state), order)[0]


@partial(jax.jit, donate_argnums=(0, 1), static_argnames=("low", "epochs"))
def run_whole(parameters: Any, state: Any, x: Any, y: Any, epochs: int, low: bool) -> Any:
    """The same where a step takes all rows."""

    def body(carry: Any, _: None) -> Any:
        parameters, state = carry
        return jax_optax.step(parameters, state, x, y, low), None

    return jax.lax.scan(body, (parameters, state), length=epochs)[0]


class Peer(jax_optax.Peer):
    """The same update, all epochs of a call at once."""

    def train(self, epochs: int, shuffled: bool = True) -> None:
        """One call."""
        if self.cell.whole:
            done = run_whole(self.parameters, self.state, self.x, self.y, epochs, self.low)
        else:
            order = jnp.asarray(np.concatenate(list(self.orders(epochs, shuffled))))
            done = run(self.parameters, self.state, self.x, self.y, order, self.low)
        self.parameters, self.state = jax.block_until_ready(done)
