"""Runs read back: from a file of ``attnflow run --json``, or from a store."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from hwmodels.reading.complaints import problems_of
from hwmodels.reading.documents import Document, FieldPath, read_text
from hwmodels.reading.errors import InputError, Problem
from studies.compare import Record, Run
from studies.families.deviation import Deviation
from studies.families.graph.evaluate import Evaluation
from studies.points.find import find_algorithm
from studies.points.point import DesignPoint, Json, Scalar, adapter_of

if TYPE_CHECKING:
    from simulator.result import Deadlock, Result

T = TypeVar("T")


@dataclass(frozen=True)
class _Launch:
    """What comparisons read of a launch on a chip."""

    name: str
    cycles: float
    busy: dict[str, float]


def read_run(source: str) -> Run:
    """A run from a file that ``attnflow run --json`` wrote, or from ``STORE.sqlite:KEY`` (the start of a key will do).

    Raises
    ------
    InputError
        With one line: no such file, not JSON, not a run, no such key.
    """
    path, colon, key = source.rpartition(":")
    if colon and not Path(source).exists() and Path(path).suffix in (".sqlite", ".db"):
        document = _stored(path, key)
        return Run(source, _evaluation(document, source), document)
    try:
        text = Path(source).read_text(encoding="utf-8")
        document: Mapping[str, Json] = json.loads(text)
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", source)) from None
    except UnicodeDecodeError:
        raise InputError(Problem("is not a text file", source)) from None
    except json.JSONDecodeError as error:
        raise InputError(Problem(f"is not JSON: {error.msg}", source, error.lineno)) from None
    except RecursionError:
        raise InputError(Problem("is nested too deeply", source)) from None
    if not isinstance(document, dict):
        raise InputError(Problem("is not a run: write one with `attnflow run ... --json`", source))
    return Run(source, _evaluation(document, source, text), document)


class _MisreadError(Exception):
    """What a part of a run, at `place`, cannot be read as."""

    def __init__(self, invalid: ValidationError, place: FieldPath) -> None:
        super().__init__(invalid, place)
        self.invalid, self.place = invalid, place


def _valid(kind: type[T], value: Json, *place: str) -> T:
    try:
        return adapter_of(kind).validate_python(value)
    except ValidationError as invalid:
        raise _MisreadError(invalid, place) from None


def _stored(path: str, key: str) -> Mapping[str, Json]:
    from studies.store.store import Store

    with Store(path) as store:
        found = {row.outcome.key: row.outcome for row in store.rows() if key and row.outcome.key.startswith(key)}
    if len(found) != 1:
        what = f"{len(found)} keys start" if found else "no key starts"
        raise InputError(Problem(f"{what} with {key!r}", path))
    (outcome,) = found.values()
    if outcome.status != "done":
        raise InputError(Problem(f"{key}: {outcome.error or 'not evaluated yet'}", path))
    return outcome.detail


def _evaluation(document: Mapping[str, Json], source: str, text: str | None = None) -> Evaluation | Record:
    """The evaluation that the `describe` of an evaluation of some kind described.

    Raises
    ------
    InputError
        With the first thing that is wrong, and its line in `text`, if there is one.
    """
    from simulator.errors import AccountingError

    try:
        return _read(document)
    except _MisreadError as misread:
        problem = _first_problem(misread, document, source, text)
        raise InputError(dataclasses.replace(problem, message=f"is not a run: {problem.message}")) from None
    except InputError as error:
        raise InputError([dataclasses.replace(problem, file=source) for problem in error.problems]) from None
    except KeyError as missing:
        message = f"is not a run: it lacks {missing.args[0]!r}; write one with `attnflow run ... --json`"
        raise InputError(Problem(message, source)) from None
    except (TypeError, AccountingError) as broken:
        raise InputError(Problem(f"is not a run: {broken}", source)) from None


def _first_problem(misread: _MisreadError, document: Mapping[str, Json], source: str, text: str | None) -> Problem:
    """What is wrong, in plain words; without its line where there is no text, or it is too long to look for lines."""
    try:
        found = read_text(json.dumps(document) if text is None else text, source)
    except InputError:
        found = Document(source, dict(document), {})
    problem = problems_of(misread.invalid, None, found, below=misread.place)[0]
    return problem if text is not None else dataclasses.replace(problem, line=None)


def _read(document: Mapping[str, Json]) -> Evaluation | Record:
    try:
        point = DesignPoint.from_description(_part(document, "point"))
    except ValidationError as invalid:
        raise _MisreadError(invalid, ("point",)) from None
    find_algorithm(point.algorithm)
    if point.workload is None:
        return Record(point, _metrics(document), {})
    if point.chip is not None:
        return _chip_record(document, point)
    error = document["error"]
    deviation = _valid(Deviation, error, "error") if error is not None else None
    result = _result(document)
    if not result.units or not result.clock_hz > 0:
        raise TypeError("it has no units, or no clock")
    return Evaluation(point, result, deviation)


def _chip_record(document: Mapping[str, Json], point: DesignPoint) -> Record:
    launches = _valid(tuple[_Launch, ...], document["launches"], "launches")
    uses = {
        f"{launch.name}: {unit}": {"busy": round(share * launch.cycles)}
        for launch in launches
        for unit, share in launch.busy.items()
    }
    return Record(point, _metrics(document), uses)


def _metrics(document: Mapping[str, Json]) -> dict[str, Scalar]:
    return _valid(dict[str, Scalar], document["metrics"], "metrics")


def _part(document: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    part = document[name]
    if not isinstance(part, Mapping):
        raise TypeError(f"{name!r} is not an object")
    return part


def _result(document: Mapping[str, Json]) -> Result:
    """The result that `Result.to_dict` described; tokens and traces are not in it."""
    from simulator.result import ChannelResult, Result, ServerResult, Skipped, UnitResult

    def read(kind: type[T], name: str) -> T:
        return _valid(kind, document[name], name)

    return Result(
        graph=read(str, "graph"),
        engine=read(str, "engine"),
        cycles=read(int, "cycles"),
        firings=read(int, "firings"),
        wall_s=read(float, "wall_s"),
        compile_s=read(float, "compile_s"),
        schedule_digest=None if document["schedule_digest"] is None else read(str, "schedule_digest"),
        deadlock=_deadlock(document),
        units=read(tuple[UnitResult, ...], "units"),
        channels=read(tuple[ChannelResult, ...], "channels"),
        servers=read(tuple[ServerResult, ...], "servers"),
        lints=read(tuple[str, ...], "lints"),
        skipped=read(Skipped, "skipped"),
        outputs={},
        clock_hz=read(float, "clock_hz"),
    )


def _deadlock(document: Mapping[str, Json]) -> Deadlock | None:
    from simulator.result import Deadlock

    if document["deadlock"] is None:
        return None
    told = _part(document, "deadlock")
    return _valid(Deadlock, {**told, "remedy": told["smallest_depth"]}, "deadlock")
