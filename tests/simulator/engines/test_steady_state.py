"""When a unit, a server or a channel counts as being in the state that it was in before, check by check."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.engines.compiled.machine import UNBOUNDED
from simulator.engines.compiled.records import CHANNEL, LONG_AGO, NEVER, UNIT
from simulator.engines.compiled.rings import drains, first_release, live_window, ring_is_full
from simulator.engines.compiled.runs import WAITING_AT_LAP, WAITING_FOR_SERVER, WAITING_FOR_SLOTS
from simulator.engines.compiled.steady import runs_changed, server_recurs, unit_periods

# as Python runs them: the same lines, without compiling
periods_of, ports_recur = unit_periods.py_func, server_recurs.py_func
is_reservoir, oldest_release, is_full = drains.py_func, first_release.py_func, ring_is_full.py_func

SHIFT = 100
BEFORE = {
    "fired": 50, "done": 0, "waiting": 0, "segment": 3, "clock": 1000, "last_start": 990, "issued": 995,
    "issued_ports": 1, "issued_cause": 2, "arrival": 980, "arrival_cause": 1, "segment_changes": 7, "block_changes": 2,
    "firings_left": 40, "loops_left": 30, "iteration": 5, "iterations": 100, "grows": 0, "ramp": 4,
}  # fmt: skip
LATER = {name: BEFORE[name] + SHIFT for name in ("clock", "last_start", "issued", "arrival")}
WITHIN_A_RUN = LATER | {"fired": 56, "firings_left": 34}
WITHIN_A_LOOP = LATER | {"fired": 80, "segment_changes": 11, "loops_left": 26}
OVER_ITERATIONS = LATER | {"fired": 90, "segment_changes": 15, "block_changes": 6, "iteration": 13}
STRETCHES = {
    "within a run": (WITHIN_A_RUN, (34 - 1) // 6),
    "within a loop": (WITHIN_A_LOOP, (26 - 1) // 4),
    "over iterations": (OVER_ITERATIONS, (100 - 13 - 1) // 8),
}


def unit(**changes):
    return SimpleNamespace(**BEFORE | changes)


@pytest.mark.parametrize("stretch", STRETCHES)
def test_periods_end_before_the_run_the_loop_or_the_table_does(stretch):
    now, periods = STRETCHES[stretch]
    assert periods_of(unit(**now), unit(), SHIFT) == periods > 0


@pytest.mark.parametrize("stretch", STRETCHES)
@pytest.mark.parametrize("name", ["done", "waiting", "segment", "clock", "last_start"])
def test_a_unit_in_another_state_has_no_period(stretch, name):
    now, _ = STRETCHES[stretch]
    assert periods_of(unit(**now | {name: now.get(name, BEFORE[name]) + 1}), unit(), SHIFT) == 0


@pytest.mark.parametrize("stretch", ["within a loop", "over iterations"])
def test_what_is_left_of_a_run_must_be_the_same_unless_the_unit_stays_in_it(stretch):
    now, _ = STRETCHES[stretch]
    assert periods_of(unit(**now | {"firings_left": 39}), unit(), SHIFT) == 0


def test_what_is_left_of_a_loop_must_be_the_same_unless_the_unit_stays_in_it():
    assert periods_of(unit(**OVER_ITERATIONS | {"loops_left": 29}), unit(), SHIFT) == 0


@pytest.mark.parametrize(("ramp", "recurs"), [(4, True), (8, True), (2, True), (3, False), (5, False), (16, False)])
def test_rows_that_grow_recur_from_ramp_to_ramp(ramp, recurs):
    growing = {"grows": 1, "ramp": ramp}
    periods = periods_of(unit(**OVER_ITERATIONS | growing), unit(**growing), SHIFT)
    assert periods == (STRETCHES["over iterations"][1] if recurs else 0)
    within = periods_of(unit(**WITHIN_A_RUN | growing), unit(**growing), SHIFT)
    assert within == STRETCHES["within a run"][1], "a row recurs inside whatever it grows to"


WAITS = {
    WAITING_FOR_SLOTS: ("issued", "issued_ports", "issued_cause"),
    WAITING_FOR_SERVER: ("arrival", "arrival_cause"),
}


@pytest.mark.parametrize("waiting", [0, WAITING_AT_LAP, *WAITS])
@pytest.mark.parametrize("name", [name for names in WAITS.values() for name in names])
def test_what_a_unit_waits_with_matters_while_it_waits(waiting, name):
    now, periods = STRETCHES["within a run"]
    other = now | {name: now.get(name, BEFORE[name]) + 1, "waiting": waiting}
    matters = name in WAITS.get(waiting, ())
    assert periods_of(unit(**other), unit(waiting=waiting), SHIFT) == (0 if matters else periods)


@pytest.mark.parametrize(("waiting", "periods"), [(0, NEVER), (WAITING_FOR_SLOTS, NEVER), (WAITING_FOR_SERVER, 0)])
def test_a_unit_that_does_not_fire_sets_no_bound_unless_a_server_may_take_it_any_time(waiting, periods):
    assert periods_of(unit(waiting=waiting), unit(waiting=waiting), SHIFT) == periods


TIMES = st.lists(st.integers(0, 8), min_size=1, max_size=3)


@given(
    free=TIMES, moves=st.lists(st.integers(-1, 1), min_size=3, max_size=3), at=st.integers(0, 2),
    floor=st.integers(0, 8), passed=st.integers(3, 5), grants=st.booleans(), last=st.booleans(),
)  # fmt: skip
def test_ports_recur_by_definition(free, moves, at, floor, passed, grants, last):
    """A port is as free as it was if its time moved along, or lies, then as now, before the last decision."""
    now = [time + passed + move for time, move in zip(free, moves, strict=False)]
    kept_words, words = np.array([-1] * at + free), np.array([-1, *now])
    server = SimpleNamespace(grants=4 + grants, last=last, free_ptr=1, ports=len(free))
    kept = SimpleNamespace(grants=4, last=0)
    old = [time <= floor for time in free]
    same = all(
        later == time + passed or (is_old and later <= floor + passed)
        for later, time, is_old in zip(now, free, old, strict=True)
    )
    expected = not grants or (not last and same)
    assert ports_recur(server, kept, words, kept_words, at, floor + passed, floor, passed) is expected


@pytest.mark.parametrize(
    ("changes", "drained"),
    [
        ({}, True),
        ({"closed": 0}, False),
        ({"measured_push": 19}, False),
        ({"tail": 61}, False),  # the consumer has not come to the last token now
        ({"kept_clock": 49}, False),  # nor had it then
    ],
)
def test_a_reservoir_is_closed_measured_and_old(changes, drained):
    known = {"closed": 1, "measured_push": 20, "tail": 50, "kept_clock": 50, "clock": 60} | changes
    channel = SimpleNamespace(pushed=20, popped=12, measured_push=known["measured_push"], tail=known["tail"])
    before = SimpleNamespace(closed=known["closed"], popped=9)
    consumers = SimpleNamespace(clock=known["clock"]), SimpleNamespace(clock=known["kept_clock"])
    assert is_reservoir(channel, before, *consumers) is drained


@pytest.mark.parametrize(("depth", "oldest"), [(8, 12), (20, 0), (25, 0), (UNBOUNDED, 15)])
def test_a_producer_waits_for_slots_one_depth_back(depth, oldest):
    assert oldest_release(SimpleNamespace(depth=depth, pushed=20, popped=15)) == oldest


@pytest.mark.parametrize(
    ("depth", "pushed", "popped", "measured", "full"),
    [
        (UNBOUNDED, 8, 4, 4, True),
        (UNBOUNDED, 7, 4, 4, False),
        (UNBOUNDED, 4, 4, 0, True),
        (UNBOUNDED, 4, 4, 1, False),
        (8, 8, 0, 0, False),
    ],
)
def test_a_ring_that_grows_is_full_when_half_of_it_is_used(depth, pushed, popped, measured, full):
    channel = SimpleNamespace(depth=depth, pushed=pushed, popped=popped, measured_pop=measured, slots=8)
    assert is_full(channel) is full


def test_windows_are_the_times_that_somebody_still_waits_for():
    channels, units = np.zeros(1, CHANNEL), np.zeros(2, UNIT)
    told = {
        "visible_ptr": 100, "release_ptr": 200, "issue_ptr": 300, "depth": 6, "pushed": 20, "popped": 17,
        "measured_push": 19, "measured_pop": 12,
    }  # fmt: skip
    for name, value in told.items():
        channels[name] = value
    units["clock"] = 40, 50
    windows = [live_window(channels[0], number, units[0], units[1]) for number in range(4)]
    assert windows == [
        (100, 17, 20, 50),  # tokens that are there, as old as the consumer
        (200, 14, 17, 40),  # slots a depth back, as old as the producer
        (300, 19, 20, LONG_AGO),  # pushes and pops that the peak has still to count
        (200, 12, 17, LONG_AGO),
    ]


@pytest.mark.parametrize(("changes", "changed"), [((7, 7), False), ((7, 8), True), ((9, 7), True), ((8, 8), True)])
def test_one_unit_in_another_run_is_enough(changes, changed):
    class Units(list):
        shape = (2,)

    now = Units(SimpleNamespace(segment_changes=count) for count in changes)
    kept = SimpleNamespace(units=Units(SimpleNamespace(segment_changes=7) for _ in range(2)))
    assert runs_changed.py_func(now, kept) is changed
