"""Runs read back: from a file of ``attnflow run --json``, or from a store."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.shipped import is_file, is_there
from studies.compare import Run
from studies.families.detail import Detail, MisreadError
from studies.families.evaluate import read_detail
from studies.points.find import find_algorithm
from studies.points.point import DesignPoint, Json
from studies.store.store import Store


def read_run(source: str) -> Run:
    """A run from a file that ``attnflow run --json`` wrote, or from ``STORE.sqlite:KEY`` (the start of a key will do).

    Raises
    ------
    InputError
        With one line: no such file, not JSON, not a run, no such key.
    """
    path, colon, key = source.rpartition(":")
    if colon and not is_there(Path(source)) and Path(path).suffix in (".sqlite", ".db"):
        return Run(source, _stored(path, key))
    if Path(source).suffix in (".sqlite", ".db") and is_file(Path(source)):
        how = f"{source}:KEY is one of its runs (`attnflow report {source} -o x.csv` lists keys)"
        raise InputError(Problem(f"is a store of many runs: {how}; `attnflow view` compares whole stores", source))
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
    return Run(source, _detail(document, source, text))


def _stored(path: str, key: str) -> Detail:
    with Store(path) as store:
        found = {row.outcome.key: row for row in store.rows() if key and row.outcome.key.startswith(key)}
    if len(found) != 1:
        what = f"{len(found)} keys start" if found else "no key starts"
        raise InputError(Problem(f"{what} with {key!r}", path))
    (row,) = found.values()
    if row.outcome.status != "done":
        raise InputError(Problem(f"{key}: {row.outcome.error or 'not evaluated yet'}", path))
    if not isinstance(row.outcome.detail, Detail):
        find_algorithm(row.point.algorithm)
        raise InputError(Problem(f"{key}: nothing but metrics is stored", path))
    return row.outcome.detail


def _detail(document: Mapping[str, Json], source: str, text: str) -> Detail:
    """The detail in a file.

    Raises
    ------
    InputError
        With the first thing that is wrong, and its line in `text`.
    """
    try:
        return read_detail(_point(document), document)
    except MisreadError as misread:
        if misread.why is None:
            message = f"it lacks {misread.place[-1]!r}; write one with `attnflow run ... --json`"
            problem = Problem(message, source)
        else:
            problem = misread.problem(document, source, text)
        raise InputError(dataclasses.replace(problem, message=f"is not a run: {problem.message}")) from None
    except InputError as error:
        raise InputError([dataclasses.replace(problem, file=source) for problem in error.problems]) from None


def _point(document: Mapping[str, Json]) -> DesignPoint:
    """The point in a file; raises MisreadError, or InputError for an algorithm that is not there."""
    if "point" not in document:
        raise MisreadError(("point",))
    told = document["point"]
    if not isinstance(told, Mapping):
        raise MisreadError((), "'point' is not an object")
    if "parameters" not in told:
        raise MisreadError(("parameters",))
    try:
        point = DesignPoint.from_description(told)
    except ValidationError as invalid:
        raise MisreadError(("point",), invalid) from None
    except TypeError as broken:
        raise MisreadError((), str(broken)) from None
    find_algorithm(point.algorithm)
    return point
