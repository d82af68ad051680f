"""Self-contained HTML pages from templates: no network, readable in print and in dark mode."""

from __future__ import annotations

import base64
import contextlib
import functools
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainrule import files
from chainrule.errors import RunError

if TYPE_CHECKING:
    import jinja2
    from matplotlib.figure import Figure

_GENERATOR = "chainrule"
"""What the head of a page says that it was made by."""


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[Path]:
    """Say of a file that cannot be written which one it is, and why.

    Raises:
        RunError: the block raised an OSError.
    """
    try:
        yield Path(path)
    except OSError as error:
        raise RunError(
            f"cannot be written ({error.strerror})", where=str(path), hint="choose another location"
        ) from None


def render(template: str, title: str, **values: Any) -> str:
    """A page from a template that extends `explain/templates/page.html`; all values are escaped.

    Args:
        template: its path below the package.
        title: the heading, and the browser's title.
        values: what the template names.
    """
    return _environment().get_template(template).render(title=title, generator=_GENERATOR, **values)


def write_page(page: str, path: Path) -> Path:
    """Write a page, whole or not at all, with the folders that lead to it; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, page.encode())
    return path


def is_page(path: Path) -> bool:
    """Whether a file is a page that was written here, and not a link."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return f'<meta name="generator" content="{_GENERATOR}">'.encode() in file.read(1024)


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parents[1]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"printed": _printed, "embedded": _embedded}
    environment.tests["numeric"] = _is_numeric
    return environment


def _is_numeric(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _printed(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _embedded(figure: Figure) -> str:
    """The address of a picture that stands in the page itself."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
