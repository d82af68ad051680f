"""A worked solution as Markdown that can be read as it is."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.explain.solution import Block, Heading, SolutionLine, SolutionLines, Text
from chainrule.explain.typeset import matrix_text, shape, text


def markdown(blocks: Sequence[Block]) -> str:
    """The blocks as Markdown."""
    return "\n\n".join(map(_block, blocks)) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(level, words):
            return f"{'#' * level} {words}"
        case Text(words, verbatim):
            return f"```\n{words}\n```" if verbatim else words
        case SolutionLines(columns, rows, note):
            head = ["quantity", "shape", *([note] if note else []), *columns]
            return _table([head, *(_cells(row, bool(note)) for row in rows)])


def _cells(row: SolutionLine, noted: bool) -> list[str]:
    formula = text(row.left) + (f" = {text(row.right)}" if row.right else "")
    sizes = shape(row.shape)
    if row.product is not None:
        sizes += f"; {product(row.product)}"
    note = f"{row.note}: {text(row.rule)}" if row.rule else row.note
    return [formula, sizes, *([note] if noted else []), *map(matrix_text, row.values)]


def product(sizes: tuple[int, int]) -> str:
    """The shapes of a row times a Jacobian: (1×N) = (1×M)(M×N)."""
    m, n = sizes
    return f"(1×{n}) = (1×{m})({m}×{n})"


def _table(rows: list[list[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*escaped, strict=True)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in escaped]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])
