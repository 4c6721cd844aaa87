import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from hwmodels.reading.quantity import UNIT_NAMES, Bytes, Hertz, format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("3.35 TB/s", "B/s", 3.35e12),
        ("64 KiB", "B", 65536),
        ("80GiB", "B", 80 * 2**30),
        ("1.755 GHz", "Hz", 1755000000.0),
        ("512 bit", "B", 64),
        ("2 B", "bit", 16),
        ("900 Gbit/s", "B/s", 112.5e9),
        ("30 ns", "s", 30e-9),
        ("0.1 us", "s", 1e-7),
        ("0.1 µs", "s", 1e-7),
        ("3.9 pJ/bit", "J/bit", 3.9e-12),
        ("8 pJ/B", "J/bit", 1e-12),
        ("12 pJ", "J", 12e-12),
        ("700 W", "W", 700),
        ("814 mm2", "mm2", 814),
        ("814 mm^2", "mm2", 814),
        ("814 mm²", "mm2", 814),
        ("2500 um2", "mm2", 0.0025),
        ("989 TFLOP/s", "FLOP/s", 989e12),
        ("989 TFLOPS", "FLOP/s", 989e12),
        ("1e9 Hz", "Hz", 1e9),
        (".5 GHz", "Hz", 5e8),
        ("-3 W", "W", -3),
        ("128", "B", 128),
        (128, "B", 128),
        (1.5e9, "Hz", 1.5e9),
    ],
)
def test_quantities_are_read_to_base_units(text, unit, value):
    assert parse_quantity(text, unit) == value


@pytest.mark.parametrize(
    ("text", "unit", "words"),
    [
        ("64 KB", "B", ["64 kB", "64 KiB"]),
        ("64 Kbit", "bit", ["64 kbit", "64 Kibit"]),
        ("10 Gb/s", "B/s", ["10 Gbit/s", "10 GB/s"]),
        ("10 Gbps", "B/s", ["10 Gbit/s", "10 GB/s"]),
        ("1.7 GHZ", "Hz", ["did you mean '1.7 GHz'?"]),
        ("100 m", "s", ["did you mean '100 ms'?"]),
        ("51.2 GB", "B/s", ["did you mean '51.2 GB/s'?"]),
        ("3 TB/s", "Hz", ["a quantity in Hz", "got '3 TB/s'"]),
        ("3 TB", "B/s", ["a quantity in B/s"]),
        ("3 kmm2", "mm2", ["a quantity in mm2"]),
        ("4 GiHz", "Hz", ["a quantity in Hz"]),
        ("fast", "Hz", ["got 'fast'"]),
        ("", "B", ["a quantity in B"]),
        ("1_000 B", "B", ["got '1_000 B'"]),
        ("٣ B", "B", ["a quantity in B"]),
        ("nan", "B", ["a quantity in B"]),
        ("1e999 B", "B", ["must be finite"]),
        ("1e999999999999 B", "B", ["a quantity in B"]),
        ("9" * 5000, "B", ["a quantity in B"]),
        (math.inf, "B", ["must be finite"]),
        (10**400, "B", ["must be finite"]),
        (True, "B", ["got bool"]),
        (None, "B", ["got NoneType"]),
    ],
)
def test_bad_quantities_say_what_was_expected(text, unit, words):
    with pytest.raises(ValueError, match=r"^must be ") as caught:
        parse_quantity(text, unit)
    message = str(caught.value)
    assert len(message) < 500
    assert "\n" not in message
    for word in words:
        assert word in message


@given(st.floats(min_value=0, max_value=1e15, allow_subnormal=False))
def test_a_number_written_with_its_base_unit_is_unchanged(value):
    assert parse_quantity(f"{value!r} B/s", "B/s") == value


@given(st.integers(0, 10**6), st.sampled_from([("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)]))
def test_binary_prefixes_are_exact(count, prefix):
    name, bits = prefix
    assert parse_quantity(f"{count} {name}B", "B") == count << bits


class _Memory(BaseModel):
    capacity: Bytes
    clock: Hertz = 1e9


def test_the_annotated_types_read_text_and_refuse_negatives():
    memory = _Memory.model_validate({"capacity": "2 MiB", "clock": "1.2 GHz"})
    assert memory.capacity == 2**21
    assert memory.clock == 1.2e9
    for bad in ("-1 B", "1 Hz", None):
        with pytest.raises(ValidationError):
            _Memory.model_validate({"capacity": bad})


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (80e9, "B", "80 GB"),
        (50 * 2**20, "B", "50 MiB"),
        (4202496, "B", "4.2025 MB"),
        (512, "B", "512 B"),
        (21e15, "B/s", "21 PB/s"),
        (0.0025, "mm2", "0.0025 mm2"),
        (5e-16, "J", "0.0005 pJ"),
        (0, "s", "0 s"),
        (-3e3, "W", "-3 kW"),
    ],
)
def test_quantities_are_written_as_people_write_them(value, unit, text):
    assert format_quantity(value, unit) == text


@given(st.floats(1e-15, 1e18), st.sampled_from(sorted(UNIT_NAMES)))
def test_what_is_written_is_read_back(value, unit):
    assert parse_quantity(format_quantity(value, unit), unit) == pytest.approx(value, rel=1e-5)
