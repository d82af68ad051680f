"""How labs and the peers of `bench` are found: each is a file in a folder, and nothing else lists it."""

from __future__ import annotations

import pkgutil
from types import ModuleType


def modules(package: ModuleType) -> dict[str, str]:
    """The modules of a package by the names that users type, which are those of the files with dashes, in their order.

    None of them is imported, so that one whose library is missing is found too.

    Example:
        >>> from chainrule.lab import claims
        >>> modules(claims)["fan-out"]
        'chainrule.lab.claims.fan_out'
    """
    return {
        module.name.replace("_", "-"): f"{package.__name__}.{module.name}"
        for module in pkgutil.iter_modules(package.__path__)
    }
