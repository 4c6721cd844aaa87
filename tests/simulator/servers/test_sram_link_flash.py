"""SRAM, link and flash service against closed forms; conflicts, windows, resuming, refusals."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import GraphError
from simulator.servers.flash import FlashServer, flash_service
from simulator.servers.link import LinkServer, link_service
from simulator.servers.sram import SramServer, sram_access, sram_service


def fresh(server):
    return server.parameters(), np.zeros(server.state_words, dtype=np.int64)


# ---- SRAM ------------------------------------------------------------------------------------------------------------

SRAM = SramServer(capacity_bytes=4096, banks=8, ports=1, width_bytes=16, lanes=8, latency_cycles=2)


@settings(deadline=None, max_examples=40)
@given(start=st.integers(0, 1000), address=st.integers(0, 2000), size=st.integers(1, 2000), lanes=st.integers(1, 8))
def test_contiguous_words_take_one_cycle_per_group_of_lanes(start, address, size, lanes):
    p, s = fresh(SramServer(4096, 8, 1, 16, lanes, 2))
    words = (address + size - 1) // 16 - address // 16 + 1
    groups = math.ceil(words / lanes)
    assert sram_service(p, s, start, address, size, 0) == (start + groups, start + groups - 1 + 2)


@pytest.mark.parametrize("ports", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 6, 8, 16])
def test_strides_meet_in_the_banks_that_they_share(stride, ports):
    p, s = fresh(SramServer(1 << 16, 8, ports, 16, 8 * ports, 0))
    words = 64
    busy, _ = sram_access(p, s, 0, 0, words, 16 * stride)
    distinct = 8 // math.gcd(stride, 8)
    assert busy == math.ceil(words / (distinct * ports))


def test_two_requests_in_one_bank_wait_for_each_other():
    p, s = fresh(SRAM)
    assert sram_service(p, s, 5, 0, 16, 0) == (6, 7)
    assert sram_service(p, s, 5, 128, 16, 0) == (7, 8)
    assert sram_service(p, s, 5, 16, 16, 1) == (6, 7)


def test_double_buffering_keeps_filling_and_use_apart():
    both = {}
    for buffers, other_half in ((1, 2048), (2, 2048)):
        p, s = fresh(SramServer(4096, 8, 1, 16, 4, 0, buffers))
        filled, _ = sram_service(p, s, 0, 0, 1024, 1)
        used, _ = sram_service(p, s, 0, other_half, 1024, 0)
        both[buffers] = max(filled, used)
    # 64 words each at 4 lanes a cycle: side by side, or one after the other but for the cycle in which the first
    # request is in the upper four banks and the second starts in the lower ones
    assert both == {1: 31, 2: 16}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"banks": 0}, "banks must be at least 1"),
        ({"latency_cycles": -1}, "latency_cycles must be at least 0"),
        ({"buffers": 3}, "8 banks cannot be shared by 3 buffers"),
        ({"capacity_bytes": 100}, "100 bytes are no whole number of words"),
    ],
)
def test_srams_that_cannot_be(changes, message):
    with pytest.raises(GraphError, match=message):
        SramServer(**{**vars(SRAM), **changes})


# ---- links -----------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(1, 100_000),
    chunk=st.integers(1, 5000),
    cycles=st.fractions(Fraction(1, 50), 40, max_denominator=200),
    latency=st.integers(0, 500),
    start=st.integers(0, 10_000),
)
def test_an_exclusive_transfer_follows_the_formula(size, chunk, cycles, latency, start):
    chunks = math.ceil(size / chunk)
    p, s = fresh(LinkServer(chunk, cycles, Fraction(latency), outstanding=chunks))
    busy, done = link_service(p, s, start, 0, size, 0)
    assert done - start + 1 == max(1, math.ceil(latency + chunks * cycles))
    assert busy == max(start + 1, start + math.ceil(chunks * cycles))


@pytest.mark.parametrize("outstanding", [1, 2, 7, 50, 51, 52, 100])
def test_few_chunks_under_way_limit_the_rate(outstanding):
    server = LinkServer(512, Fraction(20), Fraction(1000), outstanding)
    p, s = fresh(server)
    chunks = 5000
    _, done = link_service(p, s, 0, 0, 512 * chunks, 0)
    per_chunk = max(Fraction(20), Fraction(1020, outstanding))
    # Little's law up to one round trip at the start
    assert done == pytest.approx(chunks * per_chunk, abs=1020)


def test_directions_share_the_wire_or_not():
    for duplex, expected in ((True, 100), (False, 200)):
        p, s = fresh(LinkServer(64, Fraction(10), Fraction(0), 4, duplex))
        link_service(p, s, 0, 0, 640, 0)
        _, done = link_service(p, s, 0, 0, 640, 1)
        assert done + 1 == expected


@settings(deadline=None, max_examples=30)
@given(parts=st.lists(st.integers(1, 20), min_size=1, max_size=8), outstanding=st.integers(1, 9))
def test_a_transfer_in_parts_takes_as_long_as_in_one(parts, outstanding):
    server = LinkServer(64, Fraction(7, 3), Fraction(11), outstanding)
    p, s = fresh(server)
    whole = link_service(p, s, 0, 0, 64 * sum(parts), 0)
    p, s = fresh(server)
    for part in parts:
        last = link_service(p, s, 0, 0, 64 * part, 0)
    assert last == whole


def test_links_that_cannot_be():
    with pytest.raises(GraphError) as caught:
        LinkServer(0, Fraction(0), Fraction(-1), 0)
    assert len(caught.value.problems) == 4


# ---- flash -----------------------------------------------------------------------------------------------------------

FLASH = FlashServer(
    page_bytes=16384,
    sector_bytes=4096,
    planes=8,
    queue_depth=32,
    read_cycles=Fraction(50_000),
    program_cycles=Fraction(200_000),
    sector_read_cycles=Fraction(585),
    sector_write_cycles=Fraction(800),
    command_cycles=Fraction(1000),
    latency_cycles=Fraction(15_000),
)


@pytest.mark.parametrize(("size", "sectors"), [(1, 1), (512, 1), (4096, 1), (4097, 2), (16384, 4)])
def test_one_read_senses_a_page_and_moves_its_sectors(size, sectors):
    p, s = fresh(FLASH)
    _, done = flash_service(p, s, 100, 0, size, 0)
    assert done - 100 + 1 == 50_000 + 585 * sectors + 15_000


def sustained(server, size, count, stride, is_write=0):
    """Bytes per cycle of `count` requests that are all there at once."""
    p, s = fresh(server)
    last = 0
    for index in range(count):
        _, done = flash_service(p, s, 0, index * stride, size, is_write)
        last = max(last, done)
    return size * count / last


@pytest.mark.parametrize(("size", "sectors"), [(512, 1), (4096, 1), (8192, 2), (16384, 4)])
def test_planes_limit_random_reads_by_commands_not_bytes(size, sectors):
    expected = size * 8 / (50_000 + 585 * sectors)
    assert sustained(FLASH, size, 800, 16384) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"planes": 1000, "queue_depth": 2000}, 4096 / 1000),
        ({"planes": 1000, "queue_depth": 2000, "command_cycles": Fraction(1)}, 4096 / 585),
        ({"planes": 1000, "queue_depth": 4}, 4096 * 4 / (50_000 + 585 + 15_000)),
    ],
    ids=["commands", "interface", "queue"],
)
def test_the_other_limits_of_reads(changes, limit):
    server = FlashServer(**{**vars(FLASH), **changes})
    assert sustained(server, 4096, 8000, 16384) == pytest.approx(limit, rel=0.02)


def test_long_writes_go_at_the_rate_of_programming_and_short_ones_return_early():
    p, s = fresh(FLASH)
    _, done = flash_service(p, s, 0, 0, 4096, 1)
    assert done + 1 == 800 + 15_000
    assert sustained(FLASH, 4096, 4000, 4096 * 17, 1) == pytest.approx(16384 * 8 / 200_000, rel=0.02)


def test_drives_that_cannot_be():
    with pytest.raises(GraphError, match="no whole sectors"):
        FlashServer(**{**vars(FLASH), "sector_bytes": 5000})
    with pytest.raises(GraphError, match="planes must be at least 1"):
        FlashServer(**{**vars(FLASH), "planes": 0})
