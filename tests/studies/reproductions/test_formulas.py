"""Formulas of claims: what they may hold, and that they are arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.reading.errors import InputError
from studies.reproductions.formulas import LONGEST, read_formula

NUMBERS = st.floats(0.1, 1e6)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_formula_is_the_arithmetic_it_reads_like(a, b, c):
    figures = {"full.seconds": a, "duo.kv.near_bytes": b, "share": c}
    assert read_formula("full.seconds / duo.kv.near_bytes").value(figures) == a / b
    assert read_formula("100 * (1 - share / (full.seconds + share))").value(figures) == 100 * (1 - c / (a + c))
    assert read_formula("max(full.seconds, -share) ** 2").value(figures) == max(a, -c) ** 2
    assert read_formula("(share < full.seconds) + ceil(share)").value(figures) == (c < a) + -(-c // 1)


def test_names_are_listed_once_in_order():
    assert read_formula("b.x / (a + b.x) - a").names == ("b.x", "a")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a +",
        "__import__('os')",
        "a.b()",
        "[1, 2]",
        "'x'",
        "a if b else c",
        "lambda: 1",
        "f(x=1)",
        "True",
        "a < b < c",
    ],
)
def test_nothing_but_arithmetic_is_read(text):
    with pytest.raises(InputError):
        read_formula(text)


def test_a_formula_has_a_length():
    with pytest.raises(InputError, match=str(LONGEST)):
        read_formula("1 +" * LONGEST + "1")


def test_unknown_names_and_divisions_by_zero_are_one_line():
    with pytest.raises(InputError, match=r"there is no figure 'full.second'; did you mean 'full.seconds'\?"):
        read_formula("full.second").value({"full.seconds": 1.0})
    with pytest.raises(InputError, match="division by zero"):
        read_formula("1 / a").value({"a": 0.0})
