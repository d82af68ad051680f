"""Numbers come back from whichever way they were written in."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data.numerals import FORMATS, NumberFormat, find_format, signs_in


def written(value, format_, before="", behind=""):
    """A number with two decimals, as a format has it."""
    marks = {",": "\x00", ".": format_.decimal}
    text = "".join(marks.get(c, c) for c in f"{abs(value):,.2f}").replace("\x00", format_.thousands)
    return f"{'-' if value < 0 else ''}{before}{text}{behind}"


amounts = st.lists(st.integers(-(10**11), 10**11).map(lambda cents: cents / 100), min_size=1, max_size=20)
signs = st.sampled_from([("", ""), ("$", ""), ("€ ", ""), ("", " EUR"), ("US$", ""), ("", "%"), ("", " kr")])


@given(amounts, st.sampled_from(FORMATS), signs)
def test_a_format_reads_back_what_it_wrote(values, format_, sign):
    texts = pl.Series([written(value, format_, *sign) for value in values])
    assert format_.read(texts) == pytest.approx(values, rel=1e-12)


@given(amounts.filter(lambda values: max(map(abs, values)) >= 10**6), st.sampled_from(FORMATS))
def test_the_format_of_a_column_is_found(values, format_):
    texts = pl.Series(sorted({written(value, format_) for value in values}))
    found = find_format(texts, np.ones(len(texts)), decimal_comma=False)
    assert np.sort(found.values) == pytest.approx(sorted(set(values)), rel=1e-12)
    assert found.ambiguous is None


@given(st.text(max_size=12))
def test_any_text_is_a_finite_number_or_none(text):
    for format_ in FORMATS:
        value = format_.read(pl.Series([text]))[0]
        assert math.isnan(value) or math.isfinite(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(1,234.5)", -1234.5), ("−5", -5), ("- 5", -5), ("$-5", -5), ("-$5", -5), ("5.", 5), (".5", 0.5), ("+7", 7),
        ("1e5", 1e5), ("Rs. 100", 100), ("1234,567", None), ("12,34", None), ("1,23,456", None), ("(5", None),
        ("5)", None), ("", None), ("$", None), ("abc", None), ("1.2.3", None), ("5 6", None), ("1e999", None),
        ("shop5", None), ("5 apples", None), ("2023-01-01", None), ("10:30", None), ("0x10", None),
    ],
)  # fmt: skip
def test_what_is_a_number_and_what_is_none(text, value):
    found = NumberFormat(".", ",").read(pl.Series([text]))[0]
    assert math.isnan(found) if value is None else found == value


def test_what_stands_beside_digits_is_told():
    texts = pl.Series(["$1,234", "(5)", "7%", "x,y"])
    assert signs_in(texts, NumberFormat(".", ",").read(texts)) == ["$", "%", "(", ","]
