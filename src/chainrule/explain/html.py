"""A worked solution as a page; formulas and matrices are MathML, which browsers render natively."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from chainrule.explain.formula import SPACE, Sign
from chainrule.explain.markdown import product
from chainrule.explain.mathml import formula, matrix
from chainrule.explain.page import render
from chainrule.explain.solution import Block, Heading, SolutionLine
from chainrule.explain.typeset import shape


def page(blocks: Sequence[Block]) -> str:
    """The blocks as a page."""
    return render(
        "explain/templates/solution.html",
        next(block.text for block in blocks if isinstance(block, Heading)),
        blocks=[(type(block).__name__, block) for block in blocks],
        equation=_equation, formula=formula, matrix=matrix, product=product, shape=shape,
    )  # fmt: skip


def _equation(row: SolutionLine) -> Markup:
    return formula((*row.left, SPACE, Sign("="), SPACE, *row.right) if row.right else row.left)
