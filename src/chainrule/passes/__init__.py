"""Graph → graph: simplification, packing, lower precision."""

from chainrule.passes.lower_precision import lower_precision
from chainrule.passes.simplify import simplify

__all__ = ["lower_precision", "simplify"]
