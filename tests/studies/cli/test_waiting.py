"""What is shown of a verb that takes long: on a terminal always, elsewhere only how far it is; nothing when quiet."""

import io
import itertools
import sys
import time

import pytest

from simulator import Graph, Unit, uniform
from simulator.engines import progress
from simulator.engines.compiled import engine
from simulator.explain.depths import advise_depths
from studies.cli import printing
from studies.cli import waiting as module
from studies.cli.waiting import Waiting
from studies.running.progress import Progress
from studies.status_line import STATUS


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def quick(monkeypatch):
    for name in ("LOOK_EVERY_S", "SILENT_S", "LINE_EVERY_S"):
        monkeypatch.setattr(module, name, 0.001)


def shown(monkeypatch, words, stream, body):
    monkeypatch.setattr(sys, "stderr", stream)
    with Waiting(words) as waiting:
        body(waiting)
    return stream.getvalue()


def report_until_shown(stream):
    def body(_):
        done = 0
        while "10 firings" not in stream.getvalue() and done < 100_000:
            done += 1
            progress.report("firings", min(done, 10), 10)
            time.sleep(0.001)

    return body


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_what_a_run_reports_is_shown_and_a_terminal_is_cleared_afterwards(quick, monkeypatch, kind):
    stream = kind()
    text = shown(monkeypatch, ["run", "x"], stream, report_until_shown(stream))
    assert "run: 0 s so far; " in text
    assert "of 10 firings" in text
    assert text.endswith("\r\x1b[K" if kind is Terminal else "\n")
    assert not progress.is_heard()


@pytest.mark.parametrize(
    "words", [[], ["run", "x", "-q"], ["run", "--quiet"], ["sweep", "s.yaml", "-q"], ["measure"], ["--help"]]
)
def test_nothing_is_shown_where_nobody_asked_or_another_shows_it(quick, monkeypatch, words):
    stream = Terminal()
    assert shown(monkeypatch, words, stream, lambda _: time.sleep(0.05)) == ""


def test_time_left_is_that_of_the_outermost_report(monkeypatch):
    now_s = itertools.count(0, 10)  # whoever looks at the clock takes ten seconds
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now_s))
    waiting = Waiting(["advise"])
    waiting.note("searches", 0, 8)
    waiting.note("firings", 5, 10)
    assert waiting.line() == "advise: 30 s so far; 0 of 8 searches; 5 of 10 firings"
    waiting.note("searches", 1, 8)
    waiting.note("searches", 2, 8)
    assert waiting.line() == "advise: 60 s so far; 2 of 8 searches, about 60 s left; 5 of 10 firings"


@pytest.fixture
def heard():
    told = []

    def listener(*report):
        told.append(report)

    progress.listen(listener)
    yield told
    progress.leave(listener)


def test_engines_memories_and_searches_report(heard, monkeypatch):
    graph = Graph("chain")
    source = graph.add(Unit("source", "source", uniform(200, (), (1,))))
    sink = graph.add(Unit("sink", "sink", uniform(200, (1,), ())))
    graph.connect(source, sink)
    monkeypatch.setattr(engine, "VISITS_PER_SLICE", 5)
    engine.run_compiled(graph.freeze(), skip=False)
    assert heard
    assert all(what == "firings" and 0 < done < total == 400 for what, done, total in heard)
    assert [done for _, done, _ in heard] == sorted(done for _, done, _ in heard)
    heard.clear()
    advise_depths(graph.freeze())
    searches = [each for each in heard if each[0] == "searches"]
    assert searches == [("searches", 0, 2), ("searches", 1, 2), ("searches", 2, 2)]


@pytest.mark.parametrize("verb", ["sweep", "search", "report"])
def test_the_verbs_of_the_first_minutes_speak_where_lines_stay_even_without_a_report(quick, monkeypatch, verb):
    stream = io.StringIO()

    def body(_):
        for _ in range(100_000):
            if stream.getvalue().count("\n") >= 2:
                return
            time.sleep(0.001)

    text = shown(monkeypatch, [verb, "x"], stream, body)
    assert text.startswith(f"{verb}: 0 s so far\n{verb}: 0 s so far\n")


def until(what):
    for _ in range(100_000):
        if what():
            return
        time.sleep(0.001)


@pytest.mark.parametrize("write", [printing.put, printing.tell])
def test_what_is_written_starts_on_a_line_of_its_own(quick, monkeypatch, write):
    stream = Terminal()  # stdout and stderr of one terminal
    monkeypatch.setattr(sys, "stdout", stream)

    def body(_):
        until(stream.getvalue)
        write("result\n")

    before = shown(monkeypatch, ["report", "x"], stream, body).partition("result\n")[0]
    assert "so far" in before
    assert before.endswith("\r\x1b[K")


def test_a_sweep_is_told_of_until_it_shows_its_points_itself_and_again_afterwards(quick, monkeypatch):
    stream = Terminal()
    held = []

    def body(_):
        until(stream.getvalue)
        with STATUS.held():
            start = len(stream.getvalue())
            assert stream.getvalue().endswith("\r\x1b[K")
            time.sleep(0.05)
            held.append(stream.getvalue()[start:])
        after = len(stream.getvalue())
        until(lambda: len(stream.getvalue()) > after)

    text = shown(monkeypatch, ["sweep", "x"], stream, body)
    assert held == [""]
    assert text.startswith("\r\x1b[Ksweep: 0 s so far")
    assert text.endswith("sweep: 0 s so far\r\x1b[K")


def test_points_hold_the_line_while_they_are_counted(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with Progress(3):
        assert STATUS.is_held
    assert not STATUS.is_held
