"""All parameters as one vector: the optimizer's update is then one long loop, not one for each tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.graph import functions as F
from chainrule.graph.ops import Shape
from chainrule.graph.tensor import Tensor


@dataclass(frozen=True)
class Layout:
    """Which named tensor lies where in a vector."""

    shapes: tuple[tuple[str, Shape], ...]

    @classmethod
    def of(cls, named: Mapping[str, Any]) -> Layout:
        """The layout of these tensors, one after another."""
        return cls(tuple((name, tuple(np.shape(value))) for name, value in named.items()))

    def pack(self, named: Mapping[str, Tensor]) -> Tensor:
        """The tensors as one vector."""
        return F.concatenate([F.reshape(named[name], -1) for name, _ in self.shapes])

    def unpack(self, vector: Any) -> dict[str, Tensor]:
        """The tensors that lie in a vector."""
        found, start = {}, 0
        for name, shape in self.shapes:
            stop = start + int(np.prod(shape, dtype=np.int64))
            found[name] = F.reshape(F.as_tensor(vector)[start:stop], shape)
            start = stop
        return found
