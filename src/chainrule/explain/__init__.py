"""Explanations: derivations with formulas, shapes and numbers; paths of optimizers; pages."""
