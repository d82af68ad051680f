import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import errors
from chainrule.errors import ArgumentError, ChainruleError, check_choice, check_number, nearest


def test_a_message_says_where_what_expected_got_and_what_to_do():
    error = ChainruleError("it does not fit", where="fc1", expected="3", got="4", hint="make it 3")
    assert str(error) == "fc1: it does not fit: expected 3, got 4; make it 3"
    assert str(ChainruleError("it does not fit")) == "it does not fit"
    assert str(ChainruleError("nothing found", got=0)) == "nothing found: got 0"


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.ArgumentError, ValueError),
        (errors.ShapeError, ValueError),
        (errors.DataError, ValueError),
        (errors.RunError, OSError),
        (errors.TraceError, TypeError),
        (errors.DerivativeError, TypeError),
        (errors.GraphError, ValueError),
        (errors.GradientMismatch, ArithmeticError),
        (errors.NotFiniteError, ArithmeticError),
    ],
)
def test_every_error_is_ours_and_the_builtin_kind_that_one_would_catch(kind, builtin):
    assert issubclass(kind, ChainruleError)
    assert issubclass(kind, builtin)


def test_the_nearest_name_comes_first_whatever_its_case():
    assert nearest("Activaton", ["width", "activation", "action"])[0] == "activation"
    assert sorted(nearest("x", ["b", "a"])) == ["a", "b"]


def test_an_unknown_choice_is_refused_with_the_choices_nearest_first():
    assert check_choice("backend", "xla", ("numpy", "xla")) == "xla"
    with pytest.raises(ArgumentError, match=r"backend: unknown value: expected one of 'numpy', .*got 'nunpy'"):
        check_choice("backend", "nunpy", ("auto", "xla", "numpy"))


@given(st.floats(0, 1))
def test_a_number_in_range_is_given_back(p):
    assert check_number("p", p, low=0, high=1) == p


@pytest.mark.parametrize("bad", [-0.1, 1.5, math.nan, math.inf, "much", None, True, [0.5]])
def test_a_number_out_of_range_or_no_number_is_refused_with_the_range(bad):
    with pytest.raises(ArgumentError, match=r"p: .*\[0, 1\]"):
        check_number("p", bad, low=0, high=1)


def test_open_ends_and_whole_numbers_are_held():
    with pytest.raises(ArgumentError, match="above 0"):
        check_number("lr", 0.0, low=0, low_open=True)
    with pytest.raises(ArgumentError, match=r"\[0, 1\)"):
        check_number("beta", 1, low=0, high=1, high_open=True)
    with pytest.raises(ArgumentError, match="an integer of at least 1"):
        check_number("epochs", 2.5, low=1, integer=True)
    assert check_number("epochs", 3.0, low=1, integer=True) == 3


def test_a_large_bound_is_said_to_its_last_digit() -> None:
    with pytest.raises(ArgumentError, match=r"an integer in \[0, 4294967295\], got -1"):
        check_number("seed", -1, low=0, high=2**32 - 1, integer=True)
