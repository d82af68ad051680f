"""Graph → graph: simplification, packing."""

from chainrule.passes.simplify import simplify

__all__ = ["simplify"]
