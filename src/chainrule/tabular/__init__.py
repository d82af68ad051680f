"""From a table to a model: what `chainrule fit` and the estimators for tables do."""
