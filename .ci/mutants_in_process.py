"""Plug-in of pytest that runs the collected tests once for every mutant, each in a fork of this process.

Everything is imported and collected once; a fork exchanges the code of the changed functions and runs the tests that
call them, those first that noticed other mutants of the same function or are short, until one fails. Kernels run as
plain Python (`plain_kernels`), so a mutant that is noticed costs a fraction of a second. Verdicts go to
a pipe as they come, one a line.

The environment says what to do: ``MUTANTS`` names a JSON file ``{"mutants": [{key, name, module, function, text}],
"verdicts": DESCRIPTOR OF THE PIPE, "sources": DIGEST, "tried": FILE, "jobs": N, "longest_s": S, "most_cases": N}``.
What tests do on the project as it is stands in the file ``tried`` once it is known, and holds for these sources.
"""

from __future__ import annotations

import functools
import gc
import hashlib
import json
import os
import resource
import signal
import sys
import time
import types
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import plain_kernels  # first of all: what it replaces is replaced for whoever is imported after it
import pytest
from hypothesis import HealthCheck, Phase, settings

ROOT = Path(__file__).resolve().parents[1]
PATIENCE, LEAST_S = 5, 1
"""A test that takes so many times as long as on the project as it is, and some seconds, counts as failed: it hangs."""
MOST_BYTES = 6 << 30
PARENT = os.getppid()
PACKAGES = ("simulator", "hwmodels", "algorithms", "studies")
EVERY_S = 15
NOTICED, NOT_APPLIED = 1, 3
VERDICTS = {0: "survives as plain Python", NOTICED: "noticed"}
UNUSABLE = "not for plain Python"


@dataclass(frozen=True)
class Tried:
    """What a test does on the project as it is: processor time, and functions it calls, as module and name."""

    seconds: float
    calls: frozenset[str]


class Running(NamedTuple):
    """A mutant in a fork, the tests that it is tried with in their order, and where their numbers are read."""

    mutant: dict[str, str]
    tests: list[str]
    reader: int


@dataclass
class Found:
    """Verdicts so far."""

    total: int
    began: float = field(default_factory=time.monotonic)
    told: float = 0.0
    verdicts: Counter[str] = field(default_factory=Counter)

    def progress(self) -> str:
        """A line for people."""
        done = self.verdicts.total()
        left_s = (time.monotonic() - self.began) / max(done, 1) * (self.total - done)
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items()))
        return f"{done} of {self.total} mutants tried: {counts}; about {left_s / 60:.0f} min left"


def pytest_configure() -> None:
    """Examples are the same for every mutant, and none is made smaller: that it fails is enough."""
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile(
        "mutants", phases=phases, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    settings.load_profile("mutants")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Try all mutants instead of running the tests."""
    if session.testsfailed:
        raise session.Interrupted("tests cannot be collected")
    asked = json.loads(Path(os.environ["MUTANTS"]).read_text(encoding="utf-8"))
    plain_kernels.link()
    # what was computed while tests were collected must not stand in for what a mutant would compute
    for each in gc.get_objects():
        if isinstance(each, functools._lru_cache_wrapper) and each.__module__.partition(".")[0] in PACKAGES:
            each.cache_clear()
    modules = {each["module"] for each in asked["mutants"]}
    tried = _try_tests(session, modules, asked)
    if tried is None:
        raise session.Failed("tests fail on the project as it is, run as plain Python")
    functions = _functions_of(modules)
    found = Found(len(asked["mutants"]))
    noticed_by: dict[str, Counter[str]] = {}
    running: dict[int, Running] = {}
    with os.fdopen(asked["verdicts"], "w", encoding="utf-8") as ledger:
        for mutant in asked["mutants"]:
            _go_with_parent()
            while len(running) >= asked["jobs"]:
                _collect(running, noticed_by, found, ledger)
            place = f"{mutant['module']}:{mutant['function']}"
            score = noticed_by.setdefault(place, Counter())
            items = [item for item in session.items if place in tried[item.nodeid].calls]
            items.sort(key=lambda item: tried[item.nodeid].seconds / (1 + score[item.nodeid]))
            reader, writer = os.pipe()
            process = os.fork()
            if process == 0:
                os.close(reader)
                _in_fork(session, mutant, items, tried, functions, writer)
            os.close(writer)
            running[process] = Running(mutant, [item.nodeid for item in items], reader)
        while running:
            _collect(running, noticed_by, found, ledger)
    _tell(found.progress())
    return True


def _tell(line: str) -> None:
    """Say something on the stderr that pytest has not taken for its tests."""
    if sys.__stderr__ is not None:
        sys.__stderr__.write(f"{line}\n")


def _collect(running: dict[int, Running], noticed_by: dict[str, Counter[str]], found: Found, ledger: Any) -> None:
    """Wait for one fork and note its verdict."""
    process, status = os.wait()
    mutant, tests, reader = running.pop(process)
    with os.fdopen(reader, encoding="utf-8") as told:
        begun = told.read().split()
    if os.WIFSIGNALED(status):
        verdict = "noticed" if os.WTERMSIG(status) == signal.SIGPROF else UNUSABLE  # it hangs; or somebody ended it
    else:
        verdict = VERDICTS.get(os.waitstatus_to_exitcode(status), UNUSABLE)
    if verdict == VERDICTS[0] and not tests:
        verdict = "unreached as plain Python"
    test = tests[int(begun[-1])] if verdict == "noticed" else ""
    if verdict == "noticed":
        noticed_by[f"{mutant['module']}:{mutant['function']}"][test] += 1
    found.verdicts[verdict] += 1
    ledger.write(json.dumps({"key": mutant["key"], "name": mutant["name"], "verdict": verdict, "by": test}) + "\n")
    ledger.flush()
    if time.monotonic() - found.told > EVERY_S:
        found.told = time.monotonic()
        _tell(found.progress())


def _in_fork(
    session: pytest.Session,
    mutant: dict[str, str],
    items: list[pytest.Item],
    tried: dict[str, Tried],
    functions: dict[tuple[str, str, bool], list[types.FunctionType]],
    writer: int,
) -> None:
    """Run the tests on a mutant, telling the number of each before it begins; exit code 1 when one fails."""
    code = NOT_APPLIED
    try:
        _be_alone()
        _exchange(mutant, functions)
        code = 0
        for number, item in enumerate(items):
            os.write(writer, f"{number} ".encode())
            limit = LEAST_S + PATIENCE * tried[item.nodeid].seconds
            signal.setitimer(signal.ITIMER_PROF, limit)  # its signal ends the process
            session.ihook.pytest_runtest_protocol(
                item=item, nextitem=items[number + 1] if items[number + 1 :] else None
            )
            if session.testsfailed:
                code = NOTICED
                break
    except BaseException:
        code = NOTICED if code == 0 else NOT_APPLIED
    finally:
        os._exit(code)


def _go_with_parent() -> None:
    """End when whoever asked for the verdicts is gone; forks find that nobody listens."""
    if os.getppid() != PARENT:
        os._exit(1)


def _be_alone() -> None:
    """Say nothing, and take no more memory than one may."""
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(silence, stream)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


def _try_tests(session: pytest.Session, modules: set[str], asked: dict[str, Any]) -> dict[str, Tried] | None:
    """What tests do on the project as it is, each in a fork of its own, as caches would hide what others call.

    Those that take too long or are skipped are taken off the session. None if one fails.
    """
    path = Path(asked["tried"])
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    names = {str(ROOT / module): module for module in modules}
    results: dict[str, dict[str, Any]] = {}
    waiting: list[pytest.Item] = []
    running: dict[int, tuple[pytest.Item, int]] = {}
    for item in _some_cases(session.items, asked["most_cases"]):
        result = known.get(item.nodeid, {"digest": ""})
        if result["digest"] == _digest(f"{asked['sources']} {asked['longest_s']}", item.path):
            results[item.nodeid] = result
        else:
            waiting.append(item)
    total, told_at = len(waiting), 0.0
    while waiting or running:
        _go_with_parent()
        if waiting and len(running) < asked["jobs"]:
            item = waiting.pop()
            reader, writer = os.pipe()
            process = os.fork()
            if process == 0:
                os.close(reader)
                _watch_in_fork(session, item, names, asked["longest_s"], writer)
            os.close(writer)
            running[process] = item, reader
            continue
        process, status = os.wait()
        item, reader = running.pop(process)
        with os.fdopen(reader, encoding="utf-8") as told:
            said = told.read()
        result = json.loads(said) if said else {"outcome": "too long" if os.WIFSIGNALED(status) else "failed"}
        results[item.nodeid] = result | {"digest": _digest(f"{asked['sources']} {asked['longest_s']}", item.path)}
        if time.monotonic() - told_at > EVERY_S:
            told_at = time.monotonic()
            _keep(path, results)
            _tell(f"{total - len(waiting)} of {total} tests tried on the project as it is")
        if result["outcome"] in ("failed", "too long"):
            _tell(f"{result['outcome']}: {item.nodeid}")
    outcomes = Counter(result["outcome"] for result in results.values())
    tried = {
        name: Tried(result["seconds"], frozenset(result["calls"]))
        for name, result in results.items()
        if result["outcome"] == "passed"
    }
    session.items[:] = [item for item in session.items if item.nodeid in tried]
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    seconds = sum(each.seconds for each in tried.values())
    _tell(f"tests as plain Python: {counts}; {seconds:.0f} s")
    _keep(path, results)
    return None if outcomes["failed"] else tried


def _keep(path: Path, results: dict[str, dict[str, Any]]) -> None:
    """Write what is known of tests, those that fail excepted, so that whoever is stopped goes on from there."""
    kept = {name: result for name, result in results.items() if result["outcome"] != "failed"}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(kept), encoding="utf-8")
    part.replace(path)


@functools.cache
def _digest(rest: str, test: Path) -> str:
    return hashlib.sha256(rest.encode() + test.read_bytes()).hexdigest()


def _some_cases(items: list[pytest.Item], most: int) -> list[pytest.Item]:
    """At most so many cases of each test, evenly spread."""
    by_test: dict[str, list[pytest.Item]] = {}
    for item in items:
        by_test.setdefault(item.nodeid.partition("[")[0], []).append(item)
    return [
        cases[number * len(cases) // min(most, len(cases))]
        for cases in by_test.values()
        for number in range(min(most, len(cases)))
    ]


def _watch_in_fork(
    session: pytest.Session, item: pytest.Item, names: dict[str, str], longest_s: float, writer: int
) -> None:
    """Run one test, and tell how it ends, how long it takes and what it calls."""
    try:
        _be_alone()
        outcomes: list[str] = []

        class Outcomes:
            """Notes how the phases of the test end."""

            def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
                """One phase."""
                outcomes.append(report.outcome)

        session.config.pluginmanager.register(Outcomes())
        seen: set[types.CodeType] = set()

        def note(frame: types.FrameType, _event: str, _: Any) -> None:
            seen.add(frame.f_code)  # returns nothing: no line of it is looked at

        signal.setitimer(signal.ITIMER_PROF, longest_s)  # its signal ends the process
        begin = time.process_time()
        sys.settrace(note)
        session.ihook.pytest_runtest_protocol(item=item, nextitem=None)
        sys.settrace(None)
        seconds = time.process_time() - begin
        calls = sorted({f"{names[c.co_filename]}:{c.co_qualname}" for c in seen if c.co_filename in names})
        outcome = next((each for each in outcomes if each != "passed"), "passed")
        os.write(writer, json.dumps({"seconds": seconds, "calls": calls, "outcome": outcome}).encode())
    finally:
        os._exit(0)


def _functions_of(modules: set[str]) -> dict[tuple[str, str, bool], list[types.FunctionType]]:
    """All functions of modules by file, name, and whether they are kernels as they run here."""
    paths = {str(ROOT / module) for module in modules}
    kernels = set(map(plain_kernels.inner_function, plain_kernels.KERNELS))
    found: dict[tuple[str, str, bool], list[types.FunctionType]] = {}
    for each in gc.get_objects():
        if isinstance(each, types.FunctionType) and each.__code__.co_filename in paths:
            code = each.__code__
            found.setdefault((code.co_filename, code.co_qualname, each in kernels), []).append(each)
    return found


def _exchange(mutant: dict[str, str], functions: dict[tuple[str, str, bool], list[types.FunctionType]]) -> None:
    """Give all functions of a module their changed code."""
    path = str(ROOT / mutant["module"])
    changed = 0
    for plain in (False, True):
        code_of = plain_kernels.code_by_name(path, mutant["text"], plain=plain)
        for (file, name, kernel), live in functions.items():
            if file == path and kernel == plain and name in code_of:
                for function in live:
                    changed += name == mutant["function"]
                    function.__code__ = code_of[name]
    if not changed:
        raise LookupError(mutant["function"])
