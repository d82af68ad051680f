"""From a table to a model: what `chainrule fit` and the estimators for tables do."""

from chainrule.tabular.model import TabularModel
from chainrule.tabular.settings import Settings

__all__ = ["Settings", "TabularModel"]
