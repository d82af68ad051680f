"""A worked solution as a LaTeX document."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.explain.solution import Block, Heading, SolutionLine, SolutionLines, Text
from chainrule.explain.typeset import latex, latex_matrix, latex_text

_HEAD = r"""\documentclass{article}
\usepackage{amsmath}
\setcounter{MaxMatrixCols}{20}
\allowdisplaybreaks
\begin{document}
"""
_SECTIONS = {1: r"\section*", 2: r"\subsection*", 3: r"\subsubsection*"}
_PER_LINE = 3
"""Values that stand beside each other."""


def document(blocks: Sequence[Block]) -> str:
    """The blocks as a document."""
    return _HEAD + "\n\n".join(map(_block, blocks)) + "\n\\end{document}\n"


def _block(block: Block) -> str:
    match block:
        case Heading(level, words):
            return f"{_SECTIONS[level]}{{{latex_text(words)}}}"
        case Text(words, verbatim):
            lines = [latex_text(line).replace("  ", r"\quad ") for line in words.split("\n")]
            return r" \\ ".join(rf"\texttt{{{line}}}" for line in lines) if verbatim else lines[0]
        case SolutionLines(columns, rows, _):
            body = " \\\\\n".join(line for row in rows for line in _lines(row, columns))
            return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"


def _lines(row: SolutionLine, columns: Sequence[str]) -> list[str]:
    shape = r"\times ".join(map(str, row.shape or ())) or "1"
    right = f"= {latex(row.right)}" if row.right else ""
    note = rf" && \text{{{latex_text(row.note)}}}" if row.note else ""
    note += rf":\; {latex(row.rule)}" if row.rule else ""
    if row.product is not None:
        m, n = row.product
        shape += rf";\; (1\times {n}) = (1\times {m})({m}\times {n})"
    lines = [f"{latex(row.left)} &{right} \\quad ({shape}){note}"]
    named = [
        (rf"\text{{{latex_text(column)}: }}" if len(columns) > 1 else "= ") + latex_matrix(value)
        for column, value in zip(columns, row.values, strict=True)
    ]
    return [*lines, *("&\\quad " + r",\quad ".join(named[i : i + _PER_LINE]) for i in range(0, len(named), _PER_LINE))]
