"""Explanations: derivations with formulas, shapes and numbers; paths of optimizers; pages."""

from chainrule.explain.derive import Derivation, derive
from chainrule.explain.paths import Paths, paths

__all__ = ["Derivation", "Paths", "derive", "paths"]
