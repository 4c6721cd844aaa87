import time

import pytest

from studies.points.outcome import Outcome
from studies.running import progress as module
from studies.running.progress import Progress


def outcomes(*statuses):
    return [Outcome(str(i), status, {}) for i, status in enumerate(statuses)]


STARTS = "0/{} points, 0 s so far; workers start\n"


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_carry_rate_and_time_left(clock, capsys):
    with Progress(400) as progress:
        clock[0] = 3.0
        progress.advance(outcomes("done"))
        clock[0] = 10.0
        progress.advance(outcomes("done", "failed"))
    assert capsys.readouterr().err == f"{STARTS.format(400)}3/400 points, 1 failed, 0.3 points/s, about 23 min left\n"
    assert progress.points_per_s == 0.3


def test_the_start_of_workers_is_not_taken_for_their_pace(clock, capsys):
    with Progress(300) as progress:
        clock[0] = 7.0
        progress.advance(outcomes("done"))
        clock[0] = 17.0
        progress.advance(outcomes(*["done"] * 100))
    lines = capsys.readouterr().err
    assert lines == STARTS.format(300) + "1/300 points\n101/300 points, 10.0 points/s, about 20 s left\n"


def test_workers_that_take_long_to_start_are_told_of(monkeypatch, capsys):
    monkeypatch.setattr(module, "_LINE_EVERY_S", 0.01)
    with Progress(20) as progress:
        err = ""
        while err.count("\n") < 2:
            err += capsys.readouterr().err
            time.sleep(0.01)
        monkeypatch.setattr(module, "_QUIET_FOR_S", 1e9)
        progress.advance(outcomes("done"))
        capsys.readouterr()
        time.sleep(0.05)
        after = capsys.readouterr().err
    assert err.startswith(STARTS.format(20) * 2)
    assert after == ""
    assert not progress._heart.is_alive()


def test_quiet_counts_and_says_nothing(clock, capsys):
    with Progress(2, quiet=True) as progress:
        clock[0] = 100.0
        progress.advance(outcomes("done", "failed"))
    assert (progress.done, progress.failed) == (2, 1)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True, raising=False)
    with Progress(3) as progress:
        progress.advance(outcomes("done", "failed"))
    assert "2/3" in capsys.readouterr().err
