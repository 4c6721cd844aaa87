"""Error metrics on hand-worked cases and the number formats against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.truth import dtypes, metrics, oracle


def test_metrics_on_a_case_worked_by_hand():
    got, want = [3.0, 4.0, 1.0], [3.0, 4.0, 0.0]
    assert metrics.relative_l2(got, want) == pytest.approx(1 / 5)
    assert metrics.max_abs(got, want) == 1.0
    assert metrics.mean_abs(got, want) == pytest.approx(1 / 3)
    assert metrics.cosine(got, want) == pytest.approx(25 / (math.sqrt(26) * 5))


def test_metrics_of_zeros_and_infinities():
    assert metrics.relative_l2([1.0], [0.0]) == 1.0
    assert metrics.cosine([0.0], [0.0]) == 1.0 and metrics.cosine([1.0], [0.0]) == 0.0
    assert metrics.max_abs([-np.inf, 1.0], [-np.inf, 1.0]) == 0.0
    assert metrics.max_abs([-np.inf], [0.0]) == np.inf
    assert math.isnan(metrics.max_abs([np.nan], [0.0]))
    assert math.isnan(metrics.relative_l2([np.nan, 1.0], [0.0, 1.0]))
    assert metrics.mean_abs([], []) == 0.0 and metrics.max_abs([], []) == 0.0


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shapes differ"):
        metrics.max_abs([1.0, 2.0], [[1.0, 2.0]])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rounding_of_ieee_formats_is_numpys(dtype):
    values = np.random.default_rng(0).standard_normal(1000)
    np.testing.assert_array_equal(dtypes.round_to(values, dtype), values.astype(dtype).astype(np.float64))


def test_bfloat16_rounds_to_the_nearest_neighbour_and_ties_to_even():
    # 1 + 2^-8 lies half-way between 1 and 1 + 2^-7; 1 + 3 * 2^-8 half-way between the next two.
    assert dtypes.round_to(1 + 2.0**-8, "bfloat16") == 1.0
    assert dtypes.round_to(1 + 3 * 2.0**-8, "bfloat16") == 1 + 2.0**-6
    assert dtypes.round_to(1 + 2.0**-8 + 2.0**-40, "bfloat16") == 1 + 2.0**-7
    assert dtypes.round_to(3.5e38, "bfloat16") == np.inf
    assert dtypes.round_to(-3.5e38, "bfloat16") == -np.inf
    assert dtypes.round_to(2.0**-133, "bfloat16") == 2.0**-133
    assert dtypes.round_to(2.0**-134, "bfloat16") == 0.0
    assert dtypes.round_to(2.0**-140, "bfloat16") == 0.0
    assert np.isnan(dtypes.round_to(np.nan, "bfloat16"))


@settings(max_examples=200)
@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_bfloat16_is_the_closest_of_all_representable_values(value):
    rounded = float(dtypes.round_to(value, "bfloat16"))
    bits = int(dtypes.bfloat16_bits(value))
    assert float(dtypes.bfloat16_values(np.array(bits, dtype=np.uint16))) == rounded
    if not math.isfinite(rounded):
        assert abs(value) >= (2 - 2**-8) * 2.0**127
        return
    magnitude = bits & 0x7FFF
    around = np.array([max(magnitude - 1, 0), magnitude, min(magnitude + 1, 0x7F7F)], dtype=np.uint16)
    distances = np.abs(dtypes.bfloat16_values(around) - abs(value))
    assert distances[1] == distances.min()


def test_bfloat16_round_trips_every_finite_value():
    bits = np.arange(2**16, dtype=np.uint16)
    finite = bits[(bits & 0x7F80) != 0x7F80]
    np.testing.assert_array_equal(dtypes.bfloat16_bits(dtypes.bfloat16_values(finite)), finite)


def test_unknown_formats_are_refused():
    with pytest.raises(ValueError, match="unknown dtype 'int3'"):
        dtypes.round_to(1.0, "int3")


def test_the_tolerances_admit_the_format_and_refuse_a_coarser_one():
    """Exact attention rounded to the format passes; rounded to seven bits fewer it fails."""
    rng = np.random.default_rng(1)
    for dtype, bits in (("float32", 24), ("float16", 11), ("bfloat16", 8)):
        q, k, v = (dtypes.round_to(rng.standard_normal((2, 64, 32)), dtype) for _ in range(3))
        out, _ = oracle.attention(q, k, v)
        tolerance = metrics.TOLERANCES[dtype].relative_l2
        assert metrics.relative_l2(dtypes.round_to(out, dtype), out) < tolerance
        fraction, exponent = np.frexp(out)
        coarse = np.ldexp(np.rint(np.ldexp(fraction, bits - 7)), exponent - bits + 7)
        assert metrics.relative_l2(coarse, out) > tolerance
