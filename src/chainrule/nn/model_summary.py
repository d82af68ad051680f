"""The table that `Module.summary` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule import tree
from chainrule.graph.mode import Call, setting
from chainrule.graph.random import keyed
from chainrule.graph.tensor import Tensor, constant, placeholder

if TYPE_CHECKING:
    from chainrule.nn.module import Module


class Summary(str):
    """A summary's text, with the number of all parameters."""

    total: int = 0


def summarize(model: Module, input_shape: tuple[int, ...], dtype: Any) -> Summary:
    """Run the model on a placeholder and record what each module returned."""
    calls: list[Call] = []
    with setting(calls=calls), keyed(constant([0, 0], "uint32")):
        model(placeholder(tuple(input_shape), dtype, "input"))
    total = sum(p.size for p in model.parameters())
    rows = [("module", "kind", "output shape", "parameters")]
    rows += [_row(call) for call in calls if call.path]
    rows.append(("", "total", "", f"{total:,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [f"{r[0]:<{widths[0]}}  {r[1]:<{widths[1]}}  {r[2]:<{widths[2]}}  {r[3]:>{widths[3]}}" for r in rows]
    summary = Summary("\n".join([lines[0], "─" * len(lines[0]), *lines[1:]]))
    summary.total = total
    return summary


def _row(call: Call) -> tuple[str, str, str, str]:
    shapes = ", ".join(str(leaf.shape) for leaf in tree.flatten(call.result)[0] if isinstance(leaf, Tensor))
    own = sum(p.size for name, p in call.module.named_parameters() if "." not in name)
    return call.path, type(call.module).__name__, shapes, f"{own:,}"
