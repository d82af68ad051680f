"""Graph → graph: simplification, packing, lower precision."""

from chainrule.passes.precision import lowered
from chainrule.passes.simplify import simplify

__all__ = ["lowered", "simplify"]
