"""Regions: parts of a computation whose interior the gradient recomputes instead of storing it.

When the reversal comes to a region, it makes copies of the nodes inside, and the derivative rules read those. What the
region was given is wrapped in `depends_on(x, g)`, which is x once the adjoint g is known: so the copies differ from
the originals, and nothing can compute them before the backward pass gets there. The originals are then used in the
forward pass only, and are freed. What is used outside a region is kept as it is. Chen, Xu, Zhang and Guestrin (2016),
"Training deep nets with sublinear memory cost".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from chainrule.graph.graph import annotate
from chainrule.graph.mode import Checkpointed
from chainrule.graph.tensor import Tensor, apply


class Rematerializer:
    """The copies of the nodes inside regions, made when the reversal comes to them.

    Args:
        nodes: all nodes of the computation, in order. Those that have a value exist already and are not copied.
        outputs: its outputs.
    """

    def __init__(self, nodes: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        self._inside: dict[Checkpointed, list[Tensor]] = {}
        self._used_outside: dict[Checkpointed, set[int]] = {}
        self._copies: dict[Checkpointed, dict[int, Tensor]] = {}
        for node in nodes:
            if node.value is None and node.inputs:
                for region in _around(node.region):
                    self._inside.setdefault(region, []).append(node)
        if self._inside:
            for node in nodes:
                for x in node.inputs:
                    self._note_use(x, set(_around(node.region)))
            for output in outputs:
                self._note_use(output, set())

    def _note_use(self, x: Tensor, there: set[Checkpointed]) -> None:
        for region in _around(x.region):
            if region not in there:
                self._used_outside.setdefault(region, set()).add(x.id)

    def of(self, x: Tensor, region: Checkpointed | None) -> Tensor:
        """The stand-in for x in the backward pass of a region: its copy, if there is one."""
        for around in _around(region):
            copy = self._copies.get(around, {}).get(x.id)
            if copy is not None:
                return copy
        return x

    def stand_ins(self, node: Tensor, g: Any) -> tuple[Tensor, list[Tensor]]:
        """The stand-ins for a node inside a region and its operands, once its adjoint g is known."""
        self.enter(node.region, g)
        return self.of(node, node.region), [self.of(x, node.region) for x in node.inputs]

    def enter(self, region: Checkpointed | None, g: Any) -> None:
        """Make the copies of a region, and of those around it, where that has not been done; g is what to wait for."""
        if region is None or region not in self._inside or region in self._copies:
            return
        self.enter(region.parent, g)
        found = next(iter(g.values())) if isinstance(g, dict) else g
        given = {x.id for x in region.given}
        made: dict[int, Tensor] = {}
        waiting: dict[int, Tensor] = {}

        def operand(x: Tensor, of: Tensor) -> Tensor:
            if x.id in made:
                return made[x.id]
            outer = self.of(x, region.parent)
            # Random numbers are drawn again too; all else that comes from outside is weights.
            if x.id not in given and not of.op.startswith("random_"):
                return outer
            if x.id not in waiting:
                waiting[x.id] = apply("depends_on", outer, found)
            return waiting[x.id]

        for node in self._inside[region]:
            if node.id not in self._used_outside.get(region, ()):
                copy = apply(node.op, *(operand(x, node) for x in node.inputs), **node.attrs)
                made[node.id] = annotate(copy, node)
        self._copies[region] = made


def _around(region: Checkpointed | None) -> Iterator[Checkpointed]:
    """A region and those around it, from the inside out."""
    while region is not None:
        yield region
        region = region.parent
