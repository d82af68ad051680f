"""Where graphs are computed: NumPy's interpreter and XLA's compiled programs."""

from __future__ import annotations

from types import ModuleType

from chainrule.backends import numpy
from chainrule.errors import check_choice


def get(name: str) -> ModuleType:
    """The backend of this name; JAX is imported only where "xla" is asked for."""
    check_choice("backend", name, ("numpy", "xla"))
    if name == "xla":
        from chainrule.backends import xla

        return xla
    return numpy
