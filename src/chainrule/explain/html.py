"""A worked solution as a page; formulas and matrices are MathML, which browsers set by themselves."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from chainrule.explain import mathml
from chainrule.explain.formula import SPACE, Sign
from chainrule.explain.markdown import product
from chainrule.explain.page import Page
from chainrule.explain.solution import Block, Heading, Row, Rows, Text
from chainrule.explain.typeset import shape

_STYLE = """\
<style>
body { max-width: 80rem; } math { font-size: 1.05em; } td { vertical-align: middle; }
td.said { color: #777; font-size: .85rem; } td p { margin: 0; color: #777; font-size: .85rem; }
h2 { border-top: 2px solid #8886; padding-top: 1rem; } h3 { font-size: 1.02rem; margin-bottom: 0; }
.rows td:first-child { white-space: nowrap; }
.shape { white-space: nowrap; font-size: .85rem; } .rows mtd { padding: .14em .35em; }
</style>"""
_ROWS = """\
<table class="rows"><thead><tr><th>quantity{% if below %} and {{ note }}{% endif %}</th><th>shape</th>
{%- if note and not below %}<th>{{ note }}</th>{% endif %}
{%- for column in columns %}<th>{{ column }}</th>{% endfor %}</tr></thead>
<tbody>{% for formula, shape, said, values in rows %}<tr>
<td>{{ formula }}{% if below %}<p>{{ said }}</p>{% endif %}</td><td class="shape">{{ shape }}</td>
{%- if note and not below %}<td class="said">{{ said }}</td>{% endif %}
{%- for value in values %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>"""


def page(blocks: Sequence[Block]) -> Page:
    """The blocks as a page."""
    made = Page(next(block.text for block in blocks if isinstance(block, Heading)))
    made.add(_STYLE)
    for block in blocks:
        _add(made, block)
    return made


def _add(made: Page, block: Block) -> None:
    match block:
        case Heading(1, _):
            pass
        case Heading(2, words):
            made.heading(words)
        case Heading(_, words):
            made.add("<h3>{{ words }}</h3>", words=words)
        case Text(words, verbatim):
            made.add("<pre>{{ words }}</pre>" if verbatim else "<p>{{ words }}</p>", words=words)
        case Rows(columns, rows, note):
            # Rules are long: below the formula they leave the samples' numbers their place.
            below = any(row.rule for row in rows)
            made.add(_ROWS, columns=columns, note=note, below=below, rows=[_cells(row) for row in rows])


def _cells(row: Row) -> tuple[Markup, Markup, str | Markup, list[Markup]]:
    whole = (*row.left, SPACE, Sign("="), SPACE, *row.right) if row.right else row.left
    sizes = Markup(shape(row.shape))
    if row.product is not None:
        sizes += Markup("<br>") + product(row.product)
    # The formulas and numbers are our own elements, with every text inside them escaped.
    note = Markup("{}: {}").format(row.note, Markup(mathml.formula(row.rule))) if row.rule else row.note
    return Markup(mathml.formula(whole)), sizes, note, [Markup(mathml.matrix(value)) for value in row.values]
