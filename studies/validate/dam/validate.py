"""`validate dam`: cycles and deadlocks of DAM's attention graphs, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hwmodels.reading.errors import InputError
from simulator import Result, simulate
from simulator.errors import SimulatorError
from studies.points.point import Engine
from studies.validate.case_files import load_case_file
from studies.validate.dam.cases import DamCase, DamCases, UnsupportedCaseError
from studies.validate.records import ValidationReport, ValidationRow

DEADLOCK = "deadlock"
MOST_FIRINGS = 1 << 50


def validate_dam(path: Path, engine: Engine = "compiled") -> ValidationReport:
    """Every case of the JSON file at `path`, simulated on `engine`; a case passes if its cycles are equal.

    Raises
    ------
    InputError
        The file cannot be used.
    """
    return validate_cases(load_cases(path), engine)


def load_cases(path: Path) -> list[DamCase]:
    """The cases of the JSON file at `path`; raises InputError as `validate_dam`."""
    return load_case_file(path, DamCases).cases


def validate_cases(cases: Sequence[DamCase], engine: Engine) -> ValidationReport:
    """Every case, simulated on `engine`."""
    return ValidationReport("dam", tuple(_row(case, position, engine) for position, case in enumerate(cases)))


def _row(case: DamCase, position: int, engine: Engine) -> ValidationRow:
    name = case.id or f"cases[{position}]/{case.variant or case.graph}/N{case.n}/d{case.d}"
    group = case.group or case.graph
    expected = DEADLOCK if case.cycles is None else case.cycles
    try:
        result = _simulated(case, engine)
    except (UnsupportedCaseError, InputError, SimulatorError) as reason:
        why = "; ".join(str(reason).splitlines())
        return ValidationRow(name, group, "unsupported", expected, why=why)
    got = DEADLOCK if result.deadlock else result.cycles
    if got == expected:
        return ValidationRow(name, group, "pass", expected, got, 0.0)
    return ValidationRow(name, group, "fail", expected, got, _error_pct(case, result), _why(case, result))


def _simulated(case: DamCase, engine: Engine) -> Result:
    graph = case.build().freeze()
    if graph.firings > MOST_FIRINGS:
        raise UnsupportedCaseError(f"{graph.firings} firings are more than {MOST_FIRINGS}, the most that is simulated")
    return simulate(graph, engine=engine, timing_only=True, digest=False, explain=False)


def _error_pct(case: DamCase, result: Result) -> float | None:
    """Relative difference of the cycles; None where one of both has a deadlock."""
    if case.cycles is None or result.deadlock:
        return None
    return 100 * (result.cycles - case.cycles) / case.cycles


def _why(case: DamCase, result: Result) -> str:
    if result.deadlock:
        return f"deadlocks at cycle {result.deadlock.cycle}: " + "; ".join(map(str, result.deadlock.waits))
    if case.cycles is None:
        return f"ends after {result.cycles} cycles, DAM deadlocks"
    return f"{result.cycles - case.cycles:+d} cycles"
