"""Formulas and numbers as plain text, as LaTeX and as MathML, which browsers show without any library."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.explain.formula import Atom, Expression, Letter, Lowered, Name, NumberLiteral, Raised, Root, Sign, Word

Array = np.ndarray[Any, Any]
HAT = "\u0302"
DIGITS = 4
"""Significant digits of a printed number."""
LARGEST = 8
"""Rows and columns of a printed matrix; of a larger one the first few and the last are shown."""
_TO_SUPER = str.maketrans("T−+-0123456789", "ᵀ⁻⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
FUNCTIONS = {"ln", "exp", "sin", "cos", "tanh", "max", "min"}
_LATEX_SIGNS = {
    "−": "-", "·": r" \cdot ", "≤": r" \le ", "≥": r" \ge ", "≠": r" \ne ", "Σ": r"\sum ", "∫": r"\int ",
    "…": r"\dots ", "∂": r"\partial ", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "×": r" \times ", "~": r" \sim ", "′": "'",
    "∞": r"\infty ",
    " ": " ", "⊙": r" \odot ", "⟨": r"\langle ", "⟩": r"\rangle ", "±": r" \pm ", "{": r"\{", "}": r"\}", "#": r"\#",
    "_": r"\_", "%": r"\%", "&": r"\&", "$": r"\$", "^": r"\hat{}", "\\": r"\backslash ", "←": r" \leftarrow ",
}  # fmt: skip


# ---- numbers


def number(value: float) -> str:
    """A number with four significant digits, its minus sign as long as a plus.

    Example:
        >>> number(-0.123456), number(12.0), number(1.5e-7)
        ('−0.1235', '12', '1.5e−7')
    """
    if isinstance(value, (bool, np.bool_)):
        return "1" if value else "0"
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else ("∞" if value > 0 else "−∞")
    digits = f"{float(value) + 0.0:.{DIGITS}g}"  # no −0
    mantissa, _, exponent = digits.partition("e")
    return (f"{mantissa}e{int(exponent)}" if exponent else mantissa).replace("-", "−")


def shape(sizes: Sequence[int] | None) -> str:
    """A shape in mathematical notation: (1×2), "number" for no axes, nothing for several results at once."""
    if sizes is None:
        return ""
    return "(" + "×".join(map(str, sizes)) + ")" if sizes else "number"


def elide_rows(values: Any) -> list[list[str]]:
    """An array of at most two axes as rows of printed numbers, elided in the middle where it is large."""
    array = np.asarray(values)
    array = array.reshape(1, -1) if array.ndim < 2 else array
    rows = _chosen(array.shape[0])
    columns = _chosen(array.shape[1])
    return [["…" if i is None or j is None else number(array[i, j]) for j in columns] for i in rows]


def _chosen(size: int) -> list[int | None]:
    return list(range(size)) if size <= LARGEST else [*range(LARGEST - 2), None, size - 1]


def slices(values: Any) -> list[Array] | None:
    """The leading slices of an array of more than two axes."""
    array = np.asarray(values)
    return [array[i] for i in range(min(len(array), LARGEST))] if array.ndim > 2 else None


# ---- plain text


def text(expression: Expression) -> str:
    """The formula as plain text.

    Example:
        >>> from chainrule.explain.formula import parse
        >>> text(parse("Y = X·Wᵀ + b")), text(parse("yᵢ = eˣⁱ/Σⱼ eˣʲ"))
        ('Y = X·Wᵀ + b', 'yᵢ = e^xᵢ/Σⱼ e^xⱼ')
    """
    return "".join(map(_text_atom, expression))


def _text_atom(atom: Atom) -> str:
    match atom:
        case Name():
            return name_text(atom)
        case Letter(letter, mark):
            return unicodedata.normalize("NFC", letter + {"bar": "\u0304", "hat": "\u0302"}.get(mark, ""))
        case NumberLiteral(value):
            return number(value)
        case Raised(inside):
            raised = text(inside)
            small = raised.translate(_TO_SUPER)
            if small != raised and len(raised) < 3 and all(unicodedata.decomposition(c) for c in small):
                return small
            return f"^({raised})" if any(isinstance(part, Sign) for part in inside) else f"^{raised}"
        case Lowered(inside):
            return _lowered_text(inside)
        case Root(inside):
            return f"√{text(inside)}" if len(inside) == 1 else f"√({text(inside)})"
        case _:
            return atom.text


_TO_SUB = str.maketrans("0123456789ijntγ+", "₀₁₂₃₄₅₆₇₈₉ᵢⱼₙₜᵧ₊")


def _lowered_text(inside: Expression) -> str:
    lowered = text(inside)
    small = lowered.translate(_TO_SUB)
    return small if all(unicodedata.decomposition(c).startswith("<sub>") for c in small) else f"_{lowered}"


def name_text(name: Name) -> str:
    """A name as plain text: z1, W1′, ∂C/∂z1, velocity[W1]."""
    own = unicodedata.normalize("NFC", name.letter) + name.index + ("′" if name.prime else "")
    own += f"[{name_text(name.of)}]" if name.of else ""
    return f"∂{name.slope}/∂{own}" if name.slope else own


def key(name: Name) -> str:
    """A name as typed: z1, yhat, dC/dz1."""
    own = "".join("hat" if c == HAT else c for c in unicodedata.normalize("NFD", name.letter)) + name.index
    own += f"[{key(name.of)}]" if name.of else ""
    return f"d{name.slope}/d{own}" if name.slope else own


def matrix_text(values: Any) -> str:
    """An array on one line: a number, [a, b], [a, b; c, d]; nothing for several results at once."""
    if values is None:
        return ""
    parts = slices(values)
    if parts is not None:
        return "[" + ", ".join(matrix_text(part) for part in parts) + (", …]" if len(values) > LARGEST else "]")
    rows = elide_rows(values)
    return rows[0][0] if np.ndim(values) == 0 else "[" + "; ".join(", ".join(row) for row in rows) + "]"


# ---- LaTeX


def latex(expression: Expression) -> str:
    r"""The formula as LaTeX, all of it ASCII.

    Example:
        >>> from chainrule.explain.formula import parse
        >>> latex(parse("y = γ·√(x² + 1) where x̄ > 0"))
        'y = \\gamma  \\cdot \\sqrt{x^{2} + 1} \\text{ where } \\bar{x} > 0'
    """
    return "".join(map(_latex_atom, expression)).replace(r" } \text{ ", " ")


def _latex_atom(atom: Atom) -> str:
    match atom:
        case Name():
            return latex_name(atom)
        case Letter(letter, mark):
            return rf"\{mark}{{{latex_letter(letter).strip()}}}" if mark else latex_letter(letter)
        case NumberLiteral(value):
            return latex_number(number(value))
        case Raised(inside):
            return f"^{{{latex(inside)}}}"
        case Lowered(inside):
            return f"_{{{latex(inside)}}}"
        case Root(inside):
            return rf"\sqrt{{{latex(inside)}}}"
        case Word(word):
            return rf"\{word} " if word in FUNCTIONS else rf"\text{{ {latex_text(word)} }}"
        case _:
            return _LATEX_SIGNS.get(atom.text) or latex_letter(atom.text)


def latex_number(printed: str) -> str:
    """A printed number: 1.5e−7 becomes 1.5 times a power of ten."""
    mantissa, _, exponent = printed.replace("−", "-").partition("e")
    plain = {"NaN": r"\text{NaN}", "∞": r"\infty", "-∞": r"-\infty", "…": r"\cdots"}
    return plain.get(mantissa, mantissa) + (rf" \cdot 10^{{{exponent}}}" if exponent else "")


def latex_letter(letter: str) -> str:
    r"""A letter or a word: γ is \gamma, ŷ is \hat{y}, more letters are set upright."""
    plain = unicodedata.normalize("NFD", letter)
    if plain.endswith(HAT):
        return rf"\hat{{{plain[:-1]}}}"
    if len(plain) > 1:
        return rf"\mathrm{{{latex_text(plain)}}}"
    if plain.isascii():
        return _LATEX_SIGNS.get(plain, plain)
    kind, _, word = unicodedata.name(plain, "").rpartition(" LETTER ")
    if kind.startswith("GREEK"):
        return rf"\{word.lower() if 'SMALL' in kind else word.title()} "
    return _LATEX_SIGNS.get(plain) or rf"\text{{{latex_text(plain)}}}"


def latex_text(words: str) -> str:
    """Words for a place where LaTeX expects text."""
    made = []
    for character in unicodedata.normalize("NFC", words):
        if unicodedata.normalize("NFD", character)[-1] == HAT:
            made.append(f"${latex_letter(character)}$")
        elif character.isascii():
            made.append(_LATEX_SIGNS.get(character, character) if character in "{}#_%&$^\\~" else character)
        elif character in _LATEX_SIGNS or unicodedata.name(character, "").startswith("GREEK"):
            made.append(f"${(_LATEX_SIGNS.get(character) or latex_letter(character)).strip()}$")
        else:
            made.append(unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?")
    return "".join(made)


def latex_name(name: Name) -> str:
    r"""A name: z_{1}, \frac{\partial C}{\partial z_{1}}."""
    below = name.index + (latex_name(name.of) if name.of else "")
    own = latex_letter(name.letter).strip() + ("'" if name.prime else "") + (f"_{{{below}}}" if below else "")
    # The braces keep a further index or power apart from the name's own.
    return rf"\frac{{\partial {name.slope}}}{{\partial {own}}}" if name.slope else f"{{{own}}}"


def latex_matrix(values: Any) -> str:
    """An array as a number or a bmatrix; nothing for several results at once."""
    if values is None:
        return ""
    parts = slices(values)
    if parts is not None:
        return r"\left[" + r",\; ".join(latex_matrix(part) for part in parts) + r"\right]"
    rows = [[latex_number(entry) for entry in row] for row in elide_rows(values)]
    if np.ndim(values) == 0:
        return rows[0][0]
    return r"\begin{bmatrix} " + r" \\ ".join(" & ".join(row) for row in rows) + r" \end{bmatrix}"
