"""The table that `Module.summary` gives."""

from __future__ import annotations

from typing import Any

from chainrule import tree
from chainrule.graph.tensor import Tensor, constant, placeholder
from chainrule.nn.module import Module, Summary, _Paths
from chainrule.nn.random import keyed


def summarize(model: Module, input_shape: tuple[int, ...], dtype: Any) -> Summary:
    """Run the model on a placeholder and write down what each module gave."""
    calls: list[tuple[str, Module, Any]] = []
    _Paths.calls = calls
    try:
        with keyed(constant([0, 0], "uint32")):
            model(placeholder(tuple(input_shape), dtype, "input"))
    finally:
        _Paths.calls = None
    total = sum(p.size for p in model.parameters())
    rows = [("module", "kind", "output shape", "parameters")]
    rows += [_row(path, module, result) for path, module, result in calls if path]
    rows.append(("", "total", "", f"{total:,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [f"{r[0]:<{widths[0]}}  {r[1]:<{widths[1]}}  {r[2]:<{widths[2]}}  {r[3]:>{widths[3]}}" for r in rows]
    summary = Summary("\n".join([lines[0], "─" * len(lines[0]), *lines[1:]]))
    summary.total = total
    return summary


def _row(path: str, module: Module, result: Any) -> tuple[str, str, str, str]:
    shapes = ", ".join(str(leaf.shape) for leaf in tree.flatten(result)[0] if isinstance(leaf, Tensor))
    own = sum(p.size for name, p in module.named_parameters() if "." not in name)
    return path, type(module).__name__, shapes, f"{own:,}"
