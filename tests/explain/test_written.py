"""What a derivation says and how it is written: formulas, rules, Markdown, LaTeX, HTML."""

import inspect
import re
import unicodedata
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.autodiff.rules import RULES, Formula
from chainrule.explain import derive, mathml
from chainrule.explain.formula import Letter, Name, NumberLiteral, Sign, Word, parse, substitute
from chainrule.explain.notation import filled, said_by, sides, symbols
from chainrule.explain.typeset import latex, latex_matrix, matrix_text, number, text
from chainrule.graph.ops import OPS

X = np.array([[-2.0, 2.0, 2.0], [-1.0, 0.0, -1.0], [0.0, 1.0, 2.0]])
Y = np.array([[1.0], [0.0], [0.0]])


def exercise(optimizer: Any = None, steps: int = 2, loss: Any = None) -> Any:
    cr.seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.SiLU(), nn.Linear(2, 1), nn.Sigmoid())
    return derive(model, loss or nn.BCELoss(), X, Y, optimizer or optim.SGD(0.1, momentum=0.9), steps)


def lines(markdown: str) -> dict[str, str]:
    """The formulas of a derivation's first step, by what stands on the left."""
    cells = [line.split(" | ")[0][2:].strip() for line in markdown.split("## Step 2")[0].splitlines() if "|" in line]
    return dict(cell.split(" = ", 1) for cell in cells if " = " in cell)


# ---- formulas


def test_the_lines_of_the_exercise_are_those_of_the_blackboard():
    found = lines(exercise().to_markdown())
    expected = {
        "z1": "x·W1ᵀ + b1",
        "h1": "z1·σ(z1)",
        "z2": "h1·W2ᵀ + b2",
        "ŷ": "σ(z2) = 1/(1 + e^(−z2))",
        "c": "−y·ln ŷ − (1−y)·ln(1−ŷ)",
        "L": "1/3·Σ C",
        "∂C/∂C": "1",
        "∂C/∂ŷ": "∂C/∂c·(ŷ − y)/(ŷ(1−ŷ))",
        "∂C/∂z2": "∂C/∂ŷ·ŷ·σ(−z2)",
        "∂C/∂W2": "(∂C/∂z2)ᵀ·h1",
        "∂C/∂b2": "Σ ∂C/∂z2 over rows",
        "∂C/∂h1": "∂C/∂z2·W2",
        "∂C/∂z1": "∂C/∂h1·(σ(z1) + h1·σ(−z1))",
        "∂C/∂W1": "(∂C/∂z1)ᵀ·x",
        "∂C/∂x": "∂C/∂z1·W1",
        "∂L/∂W1": "1/3·Σ ∂C/∂W1",
        "velocity′[W1]": "velocity[W1]·0.9 − 0.1·∂L/∂W1",
        "W1′": "W1 + velocity′[W1]",
    }
    assert {left: found[left] for left in expected} == expected


def test_adams_update_is_read_from_its_graph():
    found = lines(exercise(optim.Adam(0.01, betas=(0.8, 0.99))).to_markdown())
    assert found["step′"] == "step + 1"
    assert found["mean′[W1]"] == "mean[W1]·0.8 + ∂L/∂W1·0.2"
    assert found["square′[W1]"] == "square[W1]·0.99 + (∂L/∂W1)²·0.01"
    assert found["W1′"] == "W1 − q1·mean′[W1]/(√square′[W1]·q2 + 1e−8)"
    assert found["q1"] == f"0.01/(−(e^(step′·({number(np.log(0.8))})) − 1))"


def test_backward_lines_pair_with_forward_lines_in_reverse_and_say_shapes():
    page = exercise(steps=1).to_markdown()
    rows = [line.split(" | ") for line in page.split("### Backward")[1].split("###")[0].splitlines() if "∂C" in line]
    order = [row[0].split(" = ")[0].removeprefix("| ∂C/∂") for row in rows]
    assert order == ["C", "c", "ŷ", "z2", "W2", "b2", "h1", "z1", "W1", "b1", "x"]
    shapes = {row[0].split(" = ")[0].removeprefix("| ∂C/∂"): row[1].strip() for row in rows}
    assert shapes["W1"] == "(2×3); (1×6) = (1×2)(2×6)"
    assert shapes["x"] == "(1×3); (1×3) = (1×2)(2×3)"
    rules = {row[0].split(" = ")[0].removeprefix("| ∂C/∂"): row[2].strip() for row in rows}
    assert rules["W1"] == "linear: W̄ = Gᵀ·X"
    assert rules["z1"].startswith("silu: x̄ = g·(σ(x)")


def test_a_fan_out_shows_each_share_and_their_sum():
    model = nn.Sequential(nn.Lambda(lambda x: x + cr.tanh(x)), nn.Linear(3, 1))
    page = derive(model, nn.MSELoss(), X, Y).to_markdown()
    found = lines(page + "## Step 2")
    assert found["∂C/∂x through h2"] == "∂C/∂h2"
    numbers = {row[0].split(" = ")[0]: row[3:] for row in (line[2:].split(" | ") for line in page.splitlines())}
    assert numbers["∂C/∂x through h2"] == numbers["∂C/∂h2"]
    assert numbers["∂C/∂x through h"] != numbers["∂C/∂h2"]
    assert found["∂C/∂x through h"] == "∂C/∂h·(1 − h²)"
    assert found["∂C/∂x"] == "∂C/∂x through h2 + ∂C/∂x through h"


def test_a_formula_leaves_out_the_operand_that_is_not_there():
    found = lines(derive(nn.Linear(3, 1, bias=False), nn.MSELoss(), X, Y).to_markdown() + "## Step 2")
    assert found["z1"] == "x·W1ᵀ"


def test_dropouts_mask_is_a_line():
    model = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5), nn.Linear(2, 1))
    found = lines(derive(model, nn.MSELoss(), X, Y).to_markdown() + "## Step 2")
    assert found["m"] == "u ≥ 0.5"
    assert found["h1.2"] == "h1 where m, else 0" or found["h1"] == "h1.2 where m, else 0"


def formulas() -> list[str]:
    return [name for name in OPS if name not in ("input", "constant")]


@pytest.mark.parametrize("name", [n for n in formulas() if isinstance(RULES[n], Formula)])
def test_the_letters_of_a_rule_are_those_of_the_operations_formula(name: str):
    """So that a derivation can put names in their place; what it cannot name it would show as op(operands)."""
    letters = [letter for letter, _, _ in sides(name)]
    if any(character in unicodedata.normalize("NFD", RULES[name].text).split("=")[0] for character in "ᵢ"):
        pytest.skip("a rule for any number of operands")
    assert set(letters) <= said_by(name), name


@pytest.mark.parametrize("name", formulas())
def test_every_operation_can_be_written_in_all_three_ways(name: str):
    positional = [
        p for p in inspect.signature(OPS[name].infer).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    operands = [(Name("z", str(i)),) for i in range(1, len(positional) + 1)]
    rule = parse(getattr(RULES[name], "text", ""))
    for formula in [rule, *(filled(name, operands[:count]) for count in range(1, len(operands) + 1))]:
        assert latex(formula).isascii()
        assert "?" not in latex(formula)
        assert latex(formula).count("{") == latex(formula).count("}")
        ElementTree.fromstring(mathml.formula(formula))
        assert text(formula) is not None


def test_the_operands_of_every_rule_have_letters():
    assert symbols("linear", 3) == ("X", "W", "b")
    assert symbols("binary_cross_entropy", 2) == ("p", "t")
    assert symbols("where", 3) == ("condition", "a", "b")
    assert symbols("cross_entropy", 2) == ("x", "label")
    assert symbols("concatenate", 2) == (None, None)


@pytest.mark.parametrize(
    ("host", "given", "expected"),
    [
        ("x·y", "a + b", "(a + b)·y"),
        ("y − x", "a + b", "y − (a + b)"),
        ("x + y", "a + b", "a + b + y"),
        ("y/x", "a·b", "y/(a·b)"),
        ("x/y", "a·b", "a·b/y"),
        ("x²", "a·b", "(a·b)²"),
        ("√x", "a·b", "√(a·b)"),
        ("ln x", "a + b", "ln (a + b)"),
        ("max(x, y)", "a + b", "max(a + b, y)"),
    ],
)
def test_formulas_are_put_into_each_other_with_the_brackets_that_are_needed(host: str, given: str, expected: str):
    assert text(substitute(parse(host), {("x", ""): parse(given)})) == expected


def test_a_text_becomes_atoms():
    assert parse("−x̄ᵢ")[:2] == (Sign("−"), Letter("x", "bar"))
    assert text(parse("e^(−t²) + x_label")) == "e^(−t²) + x_label"
    assert latex(parse("Xᵀ·√(2π)")) == r"X^{T} \cdot \sqrt{2\pi }"


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("x² + b", "<msup><mi>x</mi><mrow><mn>2</mn></mrow></msup><mo>+</mo><mi>b</mi>"),
        ("exp x", '<mo form="prefix" rspace="0.17em">exp</mo><mi>x</mi>'),
        ("√γ ≤ 1", "<msqrt><mrow><mi>γ</mi></mrow></msqrt><mo>≤</mo><mn>1</mn>"),
        ("a where b", "<mi>a</mi><mtext>\xa0where\xa0</mtext><mi>b</mi>"),
        ("a < b", "<mi>a</mi><mo>&lt;</mo><mi>b</mi>"),
    ],
)
def test_mathml_has_signs_where_latex_has_commands(formula: str, expected: str):
    assert mathml.formula(parse(formula)) == f"<math><mrow>{expected}</mrow></math>"


def test_a_word_from_outside_is_escaped_in_mathml():
    made = mathml.formula((Word("<b>&_#"), Name("<i>&_")))
    assert "&lt;b&gt;&amp;_#" in made
    assert "<b>" not in made
    assert "<i>" not in made
    ElementTree.fromstring(made)


# ---- numbers


def test_numbers_have_four_digits_and_matrices_are_elided():
    assert [number(x) for x in (0.0, -0.0, 1 / 3, -12345.678, 1e-12, np.inf, np.nan, True)] == [
        "0", "0", "0.3333", "−1.235e4", "1e−12", "∞", "NaN", "1",
    ]  # fmt: skip
    assert matrix_text(np.arange(100.0).reshape(10, 10)).count(";") == 7
    assert matrix_text(np.zeros((2, 1, 2))) == "[[0, 0], [0, 0]]"
    assert latex_matrix([[1.0, -2e-7]]) == r"\begin{bmatrix} 1 & -2 \cdot 10^{-7} \end{bmatrix}"
    assert text((Name("W", "1", slope="C"), Sign("·"), NumberLiteral(2.0))) == "∂C/∂W1·2"


# ---- documents


def test_markdown_tables_are_complete():
    for table in re.findall(r"(?:^\|.*\n)+", exercise().to_markdown(), re.MULTILINE):
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1


def test_latex_is_ascii_and_closed():
    class Residual(nn.Module):
        def __init__(self) -> None:
            self.inner_part = nn.Linear(3, 3)
            self.norm = nn.BatchNorm(3)

        def forward(self, x: Any) -> Any:
            return self.norm(x + cr.concatenate([self.inner_part(x)], axis=1))

    for made in (exercise(), derive(Residual(), nn.CrossEntropyLoss(), X, [0, 1, 2], optim.Adam())):
        page = made.to_latex()
        assert page.isascii()
        assert not re.search(r"(?<!\\)[_^]{2}|(?<!\\)#|(?<!\\)%", page)
        bare = page.replace(r"\{", "").replace(r"\}", "")
        depth = np.cumsum([{"{": 1, "}": -1}.get(character, 0) for character in bare])
        assert depth.min() == 0
        assert depth[-1] == 0
        open_ones: list[str] = []
        for kind, name in re.findall(r"\\(begin|end)\{([a-z*]+)\}", page):
            if kind == "begin":
                open_ones.append(name)
            else:
                assert open_ones.pop() == name
        assert not open_ones
        # Outside mathematics an underscore must be written with a backslash.
        for words in re.findall(r"\\text\{([^{}]*)\}", page):
            assert "_" not in words.replace(r"\_", "")


def test_html_is_one_file_with_mathematics_that_browsers_set(tmp_path: Any):
    path = exercise().to_html(tmp_path / "deep" / "worked.html")
    page = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|<script|src=(?!\"data:)", page.replace("http://www.w3.org", ""))
    formulas = re.findall(r"<math>.*?</math>", page)
    assert len(formulas) > 100
    for formula in formulas:
        ElementTree.fromstring(formula)
    for words in ("Step 1", "Step 2", "Forward", "Backward", "averaged over the samples", "Update", "0.weight"):
        assert words in page


def test_names_from_outside_are_escaped(tmp_path: Any):
    class Odd(nn.Module):
        def __init__(self) -> None:
            setattr(self, "<b>&", nn.Linear(3, 1))

        def forward(self, x: Any) -> Any:
            return getattr(self, "<b>&")(x)

    derivation = derive(Odd(), nn.MSELoss(), X, Y, optim.SGD(0.1))
    page = derivation.to_html(tmp_path / "odd.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;" in page
    assert r"\&" in derivation.to_latex()
