"""Explanations: derivations with formulas, shapes and numbers; paths of optimizers; pages."""

from chainrule.explain.derive import Derivation, derive

__all__ = ["Derivation", "derive"]
