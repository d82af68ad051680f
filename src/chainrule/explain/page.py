"""A self-contained HTML page: headings, sentences, tables, pictures; no network, readable in print and in the dark."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from chainrule import files
from chainrule.errors import RunError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GENERATOR = '<meta name="generator" content="chainrule">'
_TEMPLATE = (
    """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
"""
    + _GENERATOR
    + """
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .25rem .8rem; text-align: left; vertical-align: top; border-bottom: 1px solid #8886; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1.5rem 0; } figure img { max-width: 100%; background: #fff; }
figcaption, .note { color: #777; font-size: .9rem; }
.yes::before { content: "✓ "; } .no::before { content: "✗ "; } .yes, .no { font-weight: 600; }
pre { overflow-x: auto; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% for part in parts %}{{ part }}
{% endfor %}
</body>
</html>
"""
)
_TABLE = """\
<table>{% if head %}<thead><tr>{% for cell in head %}<th>{{ cell }}</th>{% endfor %}</tr></thead>{% endif %}
<tbody>{% for row in rows %}<tr>
{%- for cell, number in row %}<td{% if number %} class="number"{% endif %}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table>"""
_environment = jinja2.Environment(autoescape=True)


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """Say of a file that cannot be written which one it is, and why.

    Raises:
        RunError: the block raised an OSError.
    """
    try:
        yield Path(path)
    except OSError as error:
        raise RunError(f"cannot be written ({error.strerror})", where=str(path), hint="choose another place") from None


class Page:
    """A page that is filled part by part and written in one go.

    Args:
        title: the heading, and the browser's title.

    Example:
        >>> page = Page("Variance through 50 layers")
        >>> page.paragraph("Kaiming keeps it.")
        >>> "Kaiming" in page.html()
        True
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[Any] = []

    def add(self, template: str, **values: Any) -> None:
        """A part of your own, as a Jinja template; values are escaped."""
        from markupsafe import Markup

        self._parts.append(Markup(_environment.from_string(template).render(**values)))

    def heading(self, text: str) -> None:
        """A heading below the title."""
        self.add("<h2>{{ text }}</h2>", text=text)

    def paragraph(self, text: str, kind: str = "") -> None:
        """A paragraph; `kind` is its class: "note", "yes" or "no"."""
        self.add('<p{% if kind %} class="{{ kind }}"{% endif %}>{{ text }}</p>', text=text, kind=kind)

    def table(self, rows: Iterable[Sequence[Any]], head: Sequence[str] = ()) -> None:
        """A table; numbers are set to the right."""
        self.add(_TABLE, head=head, rows=[[_cell(value) for value in row] for row in rows])

    def picture(self, figure: Figure, alt: str, caption: str = "") -> None:
        """A matplotlib figure as an embedded PNG."""
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
        data = base64.b64encode(buffer.getvalue()).decode()
        self.add(
            '<figure><img src="data:image/png;base64,{{ data }}" alt="{{ alt }}">'
            "{% if caption %}<figcaption>{{ caption }}</figcaption>{% endif %}</figure>",
            data=data, alt=alt, caption=caption,
        )  # fmt: skip

    def html(self) -> str:
        """The page as text."""
        return _environment.from_string(_TEMPLATE).render(title=self.title, parts=self._parts)

    def write(self, path: str | Path) -> Path:
        """Write the page, whole or not at all; returns the path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, self.html().encode())
        return path


def is_page(path: Path) -> bool:
    """Whether a file is a page that was written here, and no link."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return _GENERATOR.encode() in file.read(1024)


def _cell(value: Any) -> tuple[str, bool]:
    if isinstance(value, bool):
        return ("yes" if value else "no"), False
    if isinstance(value, (int, float)):
        return f"{value:,}" if isinstance(value, int) else f"{value:.6g}", True
    return str(value), False
