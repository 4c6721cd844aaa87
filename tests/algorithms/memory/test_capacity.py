"""Fitting into tiers: what is said when something does not."""

from __future__ import annotations

import pytest

from algorithms.memory.capacity import Capacity, bytes_text, check_fits
from hwmodels.tiers.text import load_tier
from simulator.errors import CapacityError


def message(tier, items, dtype=None):
    with pytest.raises(CapacityError) as caught:
        check_fits(Capacity.of_tier(tier), items, dtype)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_full_tier_fits_and_a_byte_more_does_not():
    tier = load_tier("hbm2")
    check_fits(Capacity.of_tier(tier), [("a", tier.capacity_bytes - 10), ("b", 10)])
    assert "by 1 bytes" in message(tier, [("a", tier.capacity_bytes - 10), ("b", 11)])


def test_the_message_says_what_by_how_much_and_what_would_help():
    text = message(load_tier("hbm2"), [("weights", 16.06e9), ("KV cache", 2e9)], "bfloat16")
    assert text == (
        "hbm2: weights 16.06 GB + KV cache 2 GB = 18.06 GB does not fit into 8.59 GB, by 9.47 GB; "
        "it would fit with 3 devices instead of 1, or weights cut to 6.59 GB"
    )
    text = message(load_tier("hbm2", 2), [("weights", 18e9)], "bfloat16")
    assert "3 devices instead of 2" in text
    assert "elements of 1 bytes (float8_e4m3) instead of 2 (bfloat16)" in text


def test_the_advice_is_enough():
    tier = load_tier("hbm2e")
    size = 3.7 * tier.capacity_bytes
    assert "4 devices" in message(tier, [("all", size)])
    check_fits(Capacity.of_tier(load_tier("hbm2e", 4)), [("all", size)])
    message(load_tier("hbm2e", 3), [("all", size)])


def test_double_buffering_halves_the_room():
    tier = load_tier("scratchpad_1mb")
    check_fits(Capacity.of_tier(tier), [("tile", 2**19)])
    text = message(tier, [("tile", 2**19 + 1)])
    assert "one of its 2 buffers of 524.3 kB" in text
    assert "a single buffer" in text


def test_a_link_holds_nothing():
    assert "another tier" in message(load_tier("pcie5_x16"), [("weights", 1)])


def test_sizes_for_people():
    assert [bytes_text(size) for size in (1, 999, 1000, 16.06e9, 1.5e12)] == [
        "1 bytes",
        "999 bytes",
        "1 kB",
        "16.06 GB",
        "1.5 TB",
    ]
