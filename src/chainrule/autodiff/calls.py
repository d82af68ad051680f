"""The rule of `call`: the gradient of a program is another program.

A call of the body B gives y = B(x). Its adjoints are x̄ = ȳ·∂B/∂x: the reversal of the body, closed to a graph of its
own that takes x and the adjoints of those results that were used. It recomputes what it needs of the forward pass,
so a call keeps only its operands. Being a call, it can be reversed again.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

from chainrule.graph.graph import Graph
from chainrule.graph.mode import setting
from chainrule.graph.tensor import Tensor, apply, placeholder

Adjoints = Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], list[Tensor]]
_reversed: weakref.WeakKeyDictionary[Graph, dict[tuple[tuple[int, ...], tuple[int, ...]], Graph]] = (
    weakref.WeakKeyDictionary()
)


def reversed_call(g: dict[int, Tensor], node: Tensor, wanted: list[bool], adjoints: Adjoints) -> list[Tensor | None]:
    """The adjoints of a call's operands from those of its results."""
    used, asked = tuple(sorted(g)), tuple(i for i, want in enumerate(wanted) if want)
    made = _reversed.setdefault(node.attrs["body"], {})
    if (used, asked) not in made:
        made[used, asked] = _reversal(node.attrs["body"], used, asked, adjoints)
    back = apply("call", *node.inputs, *(g[i] for i in used), **{**node.attrs, "body": made[used, asked]})
    back.adjoint_of = node
    return [apply("get_item", back, part=asked.index(i)) if want else None for i, want in enumerate(wanted)]


def _reversal(body: Graph, used: Sequence[int], asked: Sequence[int], adjoints: Adjoints) -> Graph:
    outputs = [body.outputs[i] for i in used]
    seeds = [placeholder(y.shape, y.dtype, f"g{i}") for i, y in zip(used, outputs, strict=True)]
    # Whether anybody asks for derivatives of these is decided by the node that the body belongs to.
    with setting(recording=True, tracing=True, module=""):
        return Graph([*body.inputs, *seeds], adjoints(outputs, seeds, [body.inputs[i] for i in asked])).simplify()
