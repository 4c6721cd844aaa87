"""The timing protocol with a stopwatch whose times are known."""

from __future__ import annotations

import pytest

from reference.measuring.timing import Timing, TimingProtocol, time_calls


class Stopwatch:
    """Runs every call and says that it took `lengths` microseconds, in turn."""

    def __init__(self, *lengths):
        self.lengths = lengths
        self.asked = []
        self.ran = 0

    def _next(self):
        length = self.lengths[self.ran % len(self.lengths)]
        self.ran += 1
        return length

    def events(self, calls):
        self.asked.append(("events", len(calls)))
        return [(call(), self._next())[1] for call in calls]

    def graph(self, calls, replays):
        self.asked.append(("graph", len(calls), replays))
        return [sum((call(), self._next())[1] for call in calls) for _ in range(replays)]


def counting(count):
    """Calls that note their own number."""
    seen = []
    return seen, [lambda i=i: seen.append(i) for i in range(count)]


def test_long_calls_are_timed_by_events_in_every_repeat():
    seen, calls = counting(3)
    timing = time_calls(stopwatch := Stopwatch(100.0), calls, "cold", TimingProtocol())
    assert (timing.method, timing.cache, timing.copies) == ("events", "cold", 3)
    assert [len(repeat) for repeat in timing.repeats] == [50, 50, 50]
    assert timing.median_us == 100.0 and timing.spread == 0.0
    assert stopwatch.asked == [("events", 5), *[("events", 50)] * 3]
    assert len(seen) == 10 + 5 + 150 and set(seen) == {0, 1, 2}


def test_buffers_are_rotated_so_that_none_is_used_twice_in_a_row():
    seen, calls = counting(4)
    time_calls(Stopwatch(100.0), calls, "cold", TimingProtocol(repeats=1))
    timed = seen[-50:]
    assert timed == [i % 4 for i in range(50)]


def test_short_calls_are_timed_in_graphs_and_divided_by_their_number():
    _, calls = counting(1)
    timing = time_calls(stopwatch := Stopwatch(7.0), calls, "warm", TimingProtocol())
    assert timing.method == "graph" and timing.median_us == pytest.approx(7.0)
    assert stopwatch.asked[1:] == [("graph", 20, 50)] * 3
    _, many = counting(33)
    time_calls(stopwatch := Stopwatch(7.0), many, "cold", TimingProtocol())
    assert stopwatch.asked[1:] == [("graph", 33, 50)] * 3


def test_very_long_calls_take_fewer_samples():
    protocol = TimingProtocol()
    assert [protocol.samples(us) for us in (1.0, 40_000.0, 100_000.0, 10**7)] == [50, 50, 20, 5]


def test_nothing_to_time_is_an_error():
    with pytest.raises(ValueError, match="nothing to time"):
        time_calls(Stopwatch(1.0), [], "cold", TimingProtocol())


@pytest.mark.parametrize(
    ("working_set", "cache", "free", "copies"),
    [
        (10, 100, 10**6, 50),  # five caches' worth
        (1000, 100, 10**6, 2),  # larger than that already, but never a single one
        (10, 100, 200, 20),  # as many as fit
        (10**6, 100, 10, 1),
        (1, 10**9, 10**12, 1024),  # no more than the limit
        (0, 0, 10, 2),
    ],
)
def test_copies_cover_the_cache_and_fit_the_memory(working_set, cache, free, copies):
    assert TimingProtocol().copies(working_set, cache, free) == copies


def test_statistics_of_a_timing():
    timing = Timing("cold", "events", 2, ((1.0, 2.0, 3.0), (2.0, 4.0, 6.0), (3.0, 3.0, 9.0)))
    assert timing.median_us == 3.0
    assert timing.spread == pytest.approx((4.0 - 2.0) / 3.0)
    record = timing.record()
    assert record["min_us"] == 1.0 and record["median_us"] == 3.0
    assert record["p20_us"] == pytest.approx(2.0) and record["p80_us"] == pytest.approx(4.8)
    assert record["repeats_us"] == [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 3.0, 9.0]]


def test_expected_device_time_counts_every_call():
    protocol = TimingProtocol()
    assert protocol.seconds(100.0) == pytest.approx((10 + 3 * 50) * 100e-6)
    assert protocol.seconds(10.0) == pytest.approx((10 + 3 * 50 * 20) * 10e-6)
