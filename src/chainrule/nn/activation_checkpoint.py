"""Checkpoint: layers whose activations are recomputed in the backward pass instead of being stored."""

from __future__ import annotations

from typing import Any

from chainrule import tree
from chainrule.graph import functions as F
from chainrule.graph.mode import Checkpointed, mode, setting
from chainrule.graph.tensor import Tensor
from chainrule.nn.layers import Sequential


class Checkpoint(Sequential):
    """Modules one after another, of which the gradient keeps only what goes in and comes out: less memory, more time.

    The activations in between are computed once more when the backward pass comes to them. Gradients are the same;
    dropout draws the same numbers again, and running statistics move once. It pays off where activations take more
    memory than weights, for large batches or deep networks, and where there is something in between: put several layers
    with their activations into one Checkpoint. Inside a Checkpoint there may be others.

    It takes effect where a gradient is taken while a graph is made (by a `Trainer`, in `cr.compile`, by `Graph.reverse`
    of what `cr.trace` gave); define-by-run stores everything. A step with a Checkpoint is not run as a single kernel.

    Args:
        layers: modules, as for `Sequential`, with the same parameter names.

    Example:
        >>> import numpy as np
        >>> import chainrule as cr
        >>> X = np.zeros((4096, 64), "float32")
        >>> def temporaries(model):
        ...     return cr.Trainer(model, cr.nn.MSELoss(), cr.optim.SGD(0.1), backend="numpy").estimate(
        ...         X, batch_size=4096).temporaries
        >>> blocks = [cr.nn.Sequential(cr.nn.Linear(64, 64), cr.nn.GELU(), cr.nn.Linear(64, 64), cr.nn.GELU())
        ...           for _ in range(4)]
        >>> kept = temporaries(cr.nn.Sequential(*blocks))
        >>> temporaries(cr.nn.Sequential(*map(cr.nn.Checkpoint, blocks))) < 0.8 * kept
        True
    """

    def forward(self, x: Any) -> Any:
        """The last layer of … of the first."""
        x = tree.map(F.as_tensor, x)
        given = tuple(leaf for leaf in tree.flatten(x)[0] if isinstance(leaf, Tensor))
        with setting(region=Checkpointed(mode.region, given)):
            return super().forward(x)
