"""Address patterns equal their definitions, written out for one request after the other in Python integers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from algorithms.memory.patterns import AddressSpace, make_stream, pattern_names, random_below
from hwmodels.reading.errors import InputError

FIELDS = (("column", 4), ("channel", 8), ("group", 4), ("bank", 4), ("rank", 2), ("column", 8), ("row", 64))
SPACE = AddressSpace(32, 32 * math.prod(size for _, size in FIELDS), FIELDS, 0.63)
MASK = 2**64 - 1


def r(seed, i):
    z = (seed + (i + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def place(**coordinates):
    """Address with those coordinates, all others 0."""
    number, scale = 0, 1
    rest = {kind: value % SPACE.size(kind) for kind, value in coordinates.items()}
    for kind, size in FIELDS:
        number += rest.get(kind, 0) % size * scale
        rest[kind] = rest.get(kind, 0) // size
        scale *= size
    return number * 32


def interleaved(i, middle):
    coordinates, j = {"channel": i % 8}, i // 8
    for kind in middle:
        coordinates[kind], j = j % SPACE.size(kind), j // SPACE.size(kind)
    return place(**coordinates, row=j)


def gather(i, seed, block):
    k = max(1, block // 32)
    b = i // k
    return (r(seed, b) % (CAP // (32 * k)) * k + i % k) * 32


def streams(i, k, chunk):
    c = max(1, chunk // 32)
    b = i // c
    return (b % k * (CAP // k) + (b // k * c + i % c) * 32) % CAP


CAP = SPACE.capacity_bytes
DEFINITIONS = {
    "seq_read": ({}, lambda i: i * 32 % CAP),
    "rand64_read": ({"seed": 3}, lambda i: gather(i, 3, 64)),
    "gather": ({"seed": 2**40, "block": 1024}, lambda i: gather(i, 2**40, 1024)),
    "row_conflict_1bank": ({}, lambda i: place(row=i)),
    "bank_interleaved_rowmiss": ({}, lambda i: interleaved(i, ("group", "bank", "rank"))),
    "bg_interleaved_rowhit": ({}, lambda i: interleaved(i, ("group", "column", "bank", "rank"))),
    "rw21_inplace": ({}, lambda i: i * 32 % CAP),
    "rw21_stream": ({}, lambda i: (0, CAP // 4, CAP // 2)[i % 3] + i // 3 * 32),
    "rand_write": ({"seed": 5}, lambda i: r(5, i) % (CAP // 32) * 32),
    "rand_mix": ({"seed": 6, "wpct": 30}, lambda i: r(6, i) % (CAP // 32) * 32),
    "kv_two_stream": ({}, lambda i: streams(i, 2, 256)),
    "streams": ({"k": 5, "chunk": 128}, lambda i: streams(i, 5, 128)),
    "stride": (
        {"stride": 4096 * 3},
        lambda i: (i * 4096 * 3 % CAP + i * 4096 * 3 // CAP * 32) % CAP,
    ),
    "idle": ({"seed": 7, "gap_ns": 100}, lambda i: r(7, i) % (CAP // 32) * 32),
    "load": ({"seed": 8, "step": 1.7}, lambda i: r(8, i) % (CAP // 32) * 32),
    "bursty": ({"seed": 9, "burst": 20, "gap_ns": 300}, lambda i: gather(i, 9, 16 * 32)),
}
WRITES = {
    "rw21_inplace": lambda i: i % 3 == 2,
    "rw21_stream": lambda i: i % 3 == 2,
    "rand_write": lambda _: True,
    "rand_mix": lambda i: r(7, i) % 100 < 30,
}
ARRIVALS = {
    "idle": lambda i: i * math.ceil(100 / 0.63),
    "load": lambda i: math.floor(i * 1.7),
    "bursty": lambda i: i // 20 * math.ceil(300 / 0.63),
}


@pytest.mark.parametrize("name", DEFINITIONS)
def test_pattern_equals_its_definition(name):
    parameters, address = DEFINITIONS[name]
    stream = make_stream(name, SPACE, 5000, parameters)
    indices = range(5000)
    assert list(stream.address_bytes) == [address(i) for i in indices]
    assert list(stream.is_write) == [int(WRITES.get(name, lambda _: False)(i)) for i in indices]
    assert list(stream.arrival_clock) == [ARRIVALS.get(name, lambda _: 0)(i) for i in indices]


def test_mixed_gather_concatenates_whole_blocks():
    stream = make_stream("gather_mixed", SPACE, 700, {"seed": 11})
    expected, q = [], 0
    while len(expected) < 700:
        length = max(1, (64, 256, 1024, 4096)[r(11, q) % 4] // 32)
        start = r(12, q) % (CAP // (length * 32)) * length
        expected += [(start + j) * 32 for j in range(length)]
        q += 1
    assert list(stream.address_bytes) == expected[:700]


def test_every_pattern_is_tested():
    assert set(pattern_names()) == {*DEFINITIONS, "gather_mixed"}


def test_addresses_stay_in_the_tier():
    for name, (parameters, _) in DEFINITIONS.items():
        address = make_stream(name, SPACE, 20_000, parameters).address_bytes
        assert address.min() >= 0
        assert address.max() < CAP or name == "rw21_stream"


def test_random_numbers_reach_every_value():
    assert np.unique(random_below(1, np.arange(200), 7)).tolist() == list(range(7))


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("sequential", {}, "no address pattern is called 'sequential'"),
        ("gather", {"seed": 1}, "needs the parameter 'block'"),
        ("gather", {"seed": 1, "block": 0}, "block must be at least 1"),
        ("stride", {"stride": 2.5}, "stride must be a whole number"),
        ("gather", {"seed": 1, "block": 1 << 40}, "pattern 'gather'"),
    ],
)
def test_bad_patterns_are_refused_in_one_line(name, parameters, message):
    with pytest.raises(InputError, match=message):
        make_stream(name, SPACE, 10, parameters)
