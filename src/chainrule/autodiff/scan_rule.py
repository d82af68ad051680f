"""The rule of `scan`: the gradient of a recurrence is a recurrence that runs backwards.

With cₜ₊₁, yₜ = B(cₜ, xₜ, k) for t = 0 … T−1, the adjoints obey (c̄ₜ, x̄ₜ, k̄ₜ) = (c̄ₜ₊₁, ȳₜ)·∂B/∂(c, x, k) at
(cₜ, xₜ, k), and k̄ = Σ k̄ₜ: backpropagation through time (Werbos 1990). The body of the reversed recurrence is the
reversal of the body; it starts from the carries that the forward one stored. Being a `scan`, it can be reversed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from chainrule.graph import functions as F
from chainrule.graph.graph import Graph
from chainrule.graph.mode import setting
from chainrule.graph.ops import OperandType, parts
from chainrule.graph.tensor import Tensor, apply, constant, placeholder

Adjoints = Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], list[Tensor]]


class _Roles(NamedTuple):
    """Which inputs and outputs of the body take part, by position.

    Only results that were used send something back, and only operands that are asked for get something.
    """

    real: list[int]  # carries that have adjoints
    sent: list[int]  # results that send an adjoint
    kept: list[int]  # carries before a step that send one, which they do where a reversal is reversed
    cut: list[int]  # sequences that want an adjoint
    fixed: list[int]  # what is the same in all steps and wants one


def reversed_scan(g: dict[int, Tensor], node: Tensor, wanted: list[bool], adjoints: Adjoints) -> list[Tensor | None]:
    """The adjoints of a scan's operands from those of its parts."""
    body, count = node.attrs["body"], node.attrs["carries"]
    last, results = count + node.attrs["sequences"], len(body.outputs)
    real = [i for i in range(count) if body.inputs[i].dtype.kind == "f"]
    roles = _Roles(
        real,
        sent=[i for i in range(count, results) if i in g],
        kept=[i for i in real if results + i in g],
        cut=[i for i in range(count, last) if wanted[i]],
        fixed=[i for i in range(last, len(body.inputs)) if wanted[i]],
    )
    turned = _turned(node, roles, adjoints)
    types = parts(node.attrs)
    before = [apply("get_item", node, part=results + i) for i in range(node.attrs["kept"])]
    carried = [g[i] if i in g else _zeros(types[i]) for i in real]
    carried += [_zeros((node.inputs[i].shape, node.inputs[i].dtype)) for i in roles.fixed]
    sequences = [*before, *node.inputs[count:last], *(g[i] for i in roles.sent), *(g[results + i] for i in roles.kept)]
    back = apply(
        "scan", *carried, *sequences, *node.inputs[last:],
        # The sums over steps are only added to, so that no derivative ever asks what they were.
        body=turned, carries=len(carried), kept=len(real), sequences=len(sequences),
        length=node.attrs["length"], reverse=not node.attrs["reverse"],
    )  # fmt: skip
    back.adjoint_of = node
    places = [*real, *roles.fixed, *roles.cut]
    return [apply("get_item", back, part=places.index(i)) if want else None for i, want in enumerate(wanted)]


def _turned(node: Tensor, roles: _Roles, adjoints: Adjoints) -> Graph:
    """The body of the reversed scan: (c̄, sums; cₜ, xₜ, ȳₜ; k) → (c̄ before the step, sums; x̄ₜ)."""
    body, count = node.attrs["body"], node.attrs["carries"]
    last = count + node.attrs["sequences"]
    after = [_seed(body.outputs[i], f"g{i}") for i in roles.real]
    sums = [_seed(body.inputs[i], f"sum{i}") for i in roles.fixed]
    from_results = [_seed(body.outputs[i], f"g{i}") for i in roles.sent]
    from_kept = {i: _seed(body.inputs[i], f"kept{i}") for i in roles.kept}
    given = [*after, *sums, *body.inputs[: node.attrs["kept"]], *body.inputs[count:last]]
    given += [*from_results, *from_kept.values(), *body.inputs[last:]]
    # Whether anybody asks for derivatives of these is decided by the node that the body belongs to.
    with setting(recording=True):
        found = adjoints(
            [body.outputs[i] for i in (*roles.real, *roles.sent)],
            [*after, *from_results],
            [body.inputs[i] for i in (*roles.real, *roles.fixed, *roles.cut)],
        )
        carries, shares = found[: len(roles.real)], found[len(roles.real) :]
        before = [F.add(c, from_kept[i]) if i in from_kept else c for i, c in zip(roles.real, carries, strict=True)]
        totals = [F.add(total, share) for total, share in zip(sums, shares, strict=False)]
        return Graph(given, [*before, *totals, *shares[len(sums) :]]).simplify()


def _seed(like: Tensor, name: str) -> Tensor:
    return placeholder(like.shape, like.dtype, name)


def _zeros(signature: OperandType) -> Tensor:
    shape, dtype = signature
    return constant(np.broadcast_to(np.zeros((), dtype), shape))
