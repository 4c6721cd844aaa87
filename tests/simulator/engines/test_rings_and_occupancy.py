"""What rings of times tell, whether a stretch recurs and how full a FIFO has been, against the plain definitions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.engines.compiled.fire import measure_occupancy
from simulator.engines.compiled.rings import keep_window, window_recurs

FAR = 10**9
SLOTS = 16
# as Python runs them: the same lines, without compiling
keep, recurs, measure = keep_window.py_func, window_recurs.py_func, measure_occupancy.py_func


def after(times, floor):
    return [time for time in times if time > floor]


def ring_of(times):
    return np.array([*times, *[0] * (SLOTS - len(times))], dtype=np.int64)


def answer(before, now, floor, shift):
    """Whether the engine finds that the times `now` recur `shift` after those `before`, as it kept them."""
    kept = np.zeros(SLOTS + 1, dtype=np.int64)
    keep(ring_of(before), 0, SLOTS - 1, 0, len(before), floor, kept, 0)
    return recurs(ring_of(now), 0, SLOTS - 1, 0, len(now), floor + shift, kept, 0, shift)


@pytest.mark.parametrize(
    ("before", "now", "recurs"),
    [
        ([5, 5], [15, 15], True),
        ([5, 5], [3, 15], False),  # what is left would match what it is compared with
        ([5], [8], False),
        ([2], [15], False),
        ([], [], True),
        ([5, 7], [15, 18], False),
    ],
)
def test_a_window_recurs_if_it_has_the_same_times_and_as_many(before, now, recurs):
    assert answer(before, now, floor=4, shift=10) is recurs


@given(
    before=st.lists(st.integers(0, 6), max_size=6).map(sorted),
    now=st.lists(st.integers(0, 6), max_size=6).map(sorted),
    floor=st.integers(-1, 6),
    shift=st.integers(0, 3),
)
def test_windows_recur_by_definition(before, now, floor, shift):
    moved = [time + shift for time in after(before, floor)]
    assert answer(before, now, floor, shift) == (after(now, floor + shift) == moved)
    assert answer(before, [time + shift for time in before], floor, shift)


def fullest(pushes, pops):
    """Slots taken at each push less slots returned by then, at most."""
    return max((i + 1 - sum(pop <= push for pop in pops) for i, push in enumerate(pushes)), default=0)


@given(
    gaps=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    stays=st.lists(st.integers(0, 6), min_size=12, max_size=12),
    popped=st.integers(0, 12),
    ahead=st.lists(st.integers(0, 5), min_size=13, max_size=13),
    early=st.integers(0, 2),
)
def test_the_peak_of_a_fifo_is_that_of_its_pushes_and_pops(gaps, stays, popped, ahead, early):
    pushes = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    pops = []
    for push, stay in zip(pushes[:popped], stays, strict=False):
        pops.append(max([push + stay, *pops[-1:]]))
    channel = SimpleNamespace(
        mask=SLOTS - 1,
        issue_ptr=0,
        release_ptr=SLOTS,
        measured_push=0,
        measured_pop=0,
        peak=0,
        pushed=0,
        popped=0,
        closed=0,
    )
    words = [0] * (2 * SLOTS)
    for known, lead in enumerate(ahead[: len(pops) + 1]):  # pops become known one by one, pushes before them
        while channel.pushed < len(pushes) and channel.pushed < known + lead:
            words[channel.pushed] = pushes[channel.pushed]
            channel.pushed += 1
        channel.pushed = max(channel.pushed, known)
        for token in range(channel.pushed):
            words[token] = pushes[token]
        if known:
            words[SLOTS + known - 1] = pops[known - 1]
            channel.popped = known
        measure(channel, words, pops[known] - early if known < len(pops) else FAR)
    for token, push in enumerate(pushes):
        words[token] = push
    channel.pushed, channel.closed = len(pushes), 1
    measure(channel, words, FAR)
    assert channel.peak == fullest(pushes, pops)
    assert (channel.measured_push, channel.measured_pop) == (len(pushes), len(pops))
