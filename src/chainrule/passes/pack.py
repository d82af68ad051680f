"""All parameters as one vector: the optimizer's update is then one long loop, not one for each tensor."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.graph import functions as F
from chainrule.graph.ops import Shape
from chainrule.graph.tensor import Tensor


@dataclass(frozen=True)
class PackedLayout:
    """Which named tensor lies where in a vector."""

    shapes: tuple[tuple[str, Shape], ...]

    @classmethod
    def of(cls, named: Mapping[str, Any]) -> PackedLayout:
        """The layout of these tensors, one after another."""
        return cls(tuple((name, tuple(np.shape(value))) for name, value in named.items()))

    def pack(self, named: Mapping[str, Tensor]) -> Tensor:
        """The tensors as one vector."""
        return F.concatenate([F.reshape(named[name], -1) for name, _ in self.shapes])

    def unpack(self, vector: Tensor) -> dict[str, Tensor]:
        """The tensors that lie in a vector."""
        return {name: F.reshape(vector[part], shape) for name, shape, part in self._parts()}

    def arrays(self, vector: Any) -> dict[str, Any]:
        """The same for an array: copies, by name."""
        vector = np.asarray(vector)
        return {name: vector[part].reshape(shape).copy() for name, shape, part in self._parts()}

    def _parts(self) -> Iterator[tuple[str, Shape, slice]]:
        start = 0
        for name, shape in self.shapes:
            stop = start + math.prod(shape)
            yield name, shape, slice(start, stop)
            start = stop
