"""Pydantic's complaints as `Problem` lines: file and line, plain words, the nearest known key."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hwmodels.reading.errors import InputError, Problem, did_you_mean
from hwmodels.reading.places import FieldPath, Placed

_LONGEST_SHOWN = 60
_PLAINLY = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "string_type": "must be a text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "dataclass_type": "must be a mapping",
}
"""Kinds of complaints that pydantic words for programmers."""


def problems_of(
    error: ValidationError, model: type[BaseModel] | None, document: Placed, below: FieldPath = ()
) -> list[Problem]:
    """One problem per place that `error` complains about.

    A union complains once per member; those complaints share a place and are joined by "or".

    Parameters
    ----------
    model
        What the document was to be, for hints about unknown keys; None if these are no error.
    below
        Where in the document the part is that was validated, if not all of it was.
    """
    by_place: dict[FieldPath, list[tuple[str, str | None]]] = {}
    for detail in error.errors(include_url=False):
        detail["loc"] = (*below, *detail["loc"])
        path = document_path(detail, document)
        for found in _messages(detail, model, _as_written(detail, path, document)):
            messages = by_place.setdefault(path, [])
            if found not in messages:
                messages.append(found)
    problems = []
    for path, found_here in by_place.items():
        hints = [hint for _, hint in found_here if hint]
        message = ", or ".join(message for message, _ in found_here)
        problems.append(document.problem(path, message, hints[0] if hints else None))
    return problems


def complaint_about(error: ValidationError, given: object) -> tuple[str, str | None]:
    """Message and hint for one value `given` that a type adapter refused."""
    found = dict.fromkeys(
        message for detail in error.errors(include_url=False) for message in _messages(detail, None, given)
    )
    hints = [hint for _, hint in found if hint]
    return ", or ".join(message for message, _ in found), hints[0] if hints else None


def document_path(detail: ErrorDetails, document: Placed) -> FieldPath:
    """Path in the document: pydantic's location without the union members it passes through."""
    path: FieldPath = ()
    for part in detail["loc"]:
        if (*path, part) in document.lines:
            path = (*path, part)
    if detail["type"] == "missing":
        path = (*path, detail["loc"][-1])
    return path


def _messages(detail: ErrorDetails, model: type[BaseModel] | None, given: object) -> list[tuple[str, str | None]]:
    """Message(s) and hint(s) for one complaint."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        name = str(detail["loc"][-1])
        return [("unknown key", did_you_mean(name, _keys_at(model, detail["loc"][:-1]) if model else []))]
    if kind == "missing":
        return [("required key is missing", None)]
    if kind == "too_short" and context.get("actual_length") == 0:
        return [("must not be empty", None)]
    cause = context.get("error")
    if isinstance(cause, InputError):
        return [
            (f"{problem.field}: {problem.message}" if problem.field else problem.message, problem.hint)
            for problem in cause.problems
        ]
    if isinstance(cause, ValueError):
        return [(str(cause), None)]
    message = _PLAINLY.get(kind) or re.sub(r"^Input should ", "must ", detail["msg"])
    message = message.replace("greater than or equal to", "at least").replace("less than or equal to", "at most")
    hint = None
    if kind in ("literal_error", "enum", "union_tag_invalid") and isinstance(given, str):
        expected = str(context.get("expected") or context.get("expected_tags"))
        hint = did_you_mean(given, re.findall(r"'([^']*)'", expected))
    return [(f"{message} (got {_shown(given)})", hint)]


def _as_written(detail: ErrorDetails, path: FieldPath, document: Placed) -> object:
    """The value complained about as the document has it: ``-1 B``, not the ``-1.0`` it was read to."""
    try:
        return document.at(path)
    except LookupError:
        return detail["input"]


def _shown(given: object) -> str:
    """The given value, short enough for one line."""
    if isinstance(given, dict):
        return "a mapping"
    if isinstance(given, list | tuple):
        return "a list"
    if given is None:
        return "nothing"
    text = repr(given)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def _keys_at(model: type[BaseModel], location: Iterable[str | int]) -> list[str]:
    """Keys that the model accepts at `location`."""
    candidates = _models_in(model)
    for part in location:
        below = [
            inner
            for candidate in candidates
            for name, field in candidate.model_fields.items()
            if part in (name, field.alias)
            for inner in _models_in(field.annotation)
        ]
        # list positions, mapping keys and union members name no field: the candidates stay
        candidates = below or candidates
    return [field.alias or name for candidate in candidates for name, field in candidate.model_fields.items()]


def _models_in(annotation: object) -> list[type[BaseModel]]:
    """Every model inside an annotation such as ``list[A] | dict[str, B] | None``."""
    arguments = typing.get_args(annotation)
    if not arguments and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [inner for argument in arguments for inner in _models_in(argument)]
