"""Details: all that is kept of an evaluated point, typed, with a version, and read back or refused, never guessed."""

from __future__ import annotations

import dataclasses
import functools
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, ClassVar, Self, TypeVar

from pydantic import ValidationError

from hwmodels.reading.complaints import problems_of
from hwmodels.reading.documents import Document, FieldPath, read_text
from hwmodels.reading.errors import InputError, Problem
from studies.points.point import DesignPoint, Json, Scalar, adapter_of

T = TypeVar("T")
_json = json.JSONEncoder(check_circular=False, allow_nan=False).encode
VERSION = "version"
"""Field of a stored document that says in which version of its type it was written."""


def plain(value: object) -> Json:
    """A value made of mappings, sequences and scalars as JSON knows them: texts for keys, lists for tuples.

    >>> plain({"a": (1, 2.5), "b": None})
    {'a': [1, 2.5], 'b': None}
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, Sequence):
        return [plain(inner) for inner in value]
    raise TypeError(f"a {type(value).__name__} is nothing that JSON knows")


class MisreadError(Exception):
    """A stored document does not say what it has to.

    Parameters
    ----------
    place
        The part that was being read.
    why
        What is wrong in that part, in a sentence or as the reader of types found it; None if the document lacks it.
    """

    def __init__(self, place: FieldPath, why: ValidationError | str | None = None) -> None:
        super().__init__(place, why)
        self.place, self.why = place, why

    def problem(self, document: Mapping[str, Json], source: str, text: str | None = None) -> Problem:
        """What is wrong, in plain words, with its field, and its line in `text` if the document was read from it."""
        if not isinstance(self.why, ValidationError):
            field = ".".join(map(str, self.place))
            return Problem(self.why or "required key is missing", source, field=field or None)
        try:
            found = read_text(json.dumps(document) if text is None else text, source)
        except InputError:  # too long to look for lines
            found = Document(source, json.loads(json.dumps(document)), {})
        problem = problems_of(self.why, None, found, below=self.place)[0]
        return problem if text is not None else dataclasses.replace(problem, line=None)


@dataclass(frozen=True)
class Stored:
    """A stored document, whose parts are read one by one."""

    document: Mapping[str, Json]

    def part(self, name: str) -> Json:
        """The part called `name` as it is; raises MisreadError if there is none."""
        if name not in self.document:
            raise MisreadError((name,))
        return self.document[name]

    def read(self, kind: type[T], name: str, optional: Collection[str] = ()) -> T:
        """The part called `name`, as a value of a type; raises MisreadError.

        Parameters
        ----------
        optional
            Fields that a document may leave to their defaults; of all others it has to say something.
        """
        return _valid(kind, self.part(name), (name,), optional)

    def read_optional(self, kind: type[T], name: str) -> T | None:
        """The same for a part that may be null, but not missing."""
        return None if self.part(name) is None else self.read(kind, name)

    def read_whole(self, kind: type[T]) -> T:
        """The document itself as a value of a type whose fields are some of its parts; raises MisreadError."""
        return _valid(kind, self.document, ())


def _valid(kind: type[T], told: Json, place: FieldPath, optional: Collection[str] = ()) -> T:
    try:
        found: T = adapter_of(kind).validate_python(told)
    except ValidationError as invalid:
        raise MisreadError(place, invalid) from None
    _check_complete(found, told, place, optional)
    return found


def _check_complete(found: object, told: Json, place: FieldPath, optional: Collection[str]) -> None:
    """Refuse a field that was left to its default: what a document does not say is not known."""
    if isinstance(told, dict):
        kind: Any = type(found)  # checkers do not see that types can be hashed
        for name in _fields_of(kind):
            if name in told:
                value = getattr(found, name)
                if type(value) not in _SIMPLE:
                    _check_complete(value, told[name], (*place, name), optional)
            elif name not in optional:
                raise MisreadError((*place, name))
    elif isinstance(found, tuple) and isinstance(told, list):
        for i, (each, told_of_it) in enumerate(zip(found, told, strict=True)):
            if type(each) not in _SIMPLE:
                _check_complete(each, told_of_it, (*place, i), optional)


_SIMPLE = frozenset({str, int, float, bool, dict, NoneType})
"""Types of values that have no fields of their own; names in mappings are free."""


@functools.cache
def _fields_of(kind: Hashable) -> tuple[str, ...]:
    """Names of the fields of a dataclass; none of other types."""
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else ()


def _members(values: Mapping[str, Json], names: Sequence[str]) -> list[str]:
    """Some members of a JSON object in one text, if there are any: encoding them together is quicker."""
    return [_json({name: values[name] for name in names})[1:-1]] if names else []


@dataclass(frozen=True)
class Detail(ABC):
    """All that is kept of an evaluated point; each family has its own type.

    Parameters
    ----------
    point
        What was evaluated.
    """

    version: ClassVar[int] = 1
    """Raised when a field is renamed, dropped or means something else; `upgraded` then brings older documents along."""

    point: DesignPoint

    @abstractmethod
    def content(self) -> dict[str, Json]:
        """What this type adds, as plain JSON values."""

    @classmethod
    @abstractmethod
    def read(cls, point: DesignPoint, stored: Stored) -> Self:
        """The way back from `content`.

        Raises
        ------
        MisreadError
            A part that is missing, or is not what it has to be.
        """

    @abstractmethod
    def measured(self) -> Mapping[str, Scalar]:
        """All metrics by name."""

    @property
    def uses(self) -> Mapping[str, Mapping[str, int]]:
        """Cycles that each unit spends on each use; empty where nothing is told by the cycle."""
        return {}

    def to_json(self) -> dict[str, Json]:
        """The document that stores keep, and that ``attnflow run --json`` prints."""
        return {
            "key": self.point.key,
            "point": self.point.describe(),
            **self.content(),
            VERSION: self.version,
        }

    def to_text(self, metrics: str) -> str:
        """`to_json` in JSON; what points share of their descriptions is written once.

        Parameters
        ----------
        metrics
            `measured` in JSON.

        Raises
        ------
        ValueError
            For a number that is not finite.
        """
        content = {**self.content(), VERSION: self.version}
        parts = [f'"key": "{self.point.key}"', f'"point": {self.point.text}']
        names = list(content)
        if "metrics" in content and content["metrics"] == self.measured():
            place = names.index("metrics")
            parts += [*_members(content, names[:place]), f'"metrics": {metrics}']
            names = names[place + 1 :]
        return "{" + ", ".join([*parts, *_members(content, names)]) + "}"

    @classmethod
    def from_json(cls, point: DesignPoint, document: Mapping[str, Json]) -> Self:
        """The detail of `point` that `to_json` wrote, in this or an earlier version.

        Raises
        ------
        InputError
            A document of a later version.
        MisreadError
            As `read`.
        """
        return cls.read(point, Stored(cls.upgraded(document)))

    @classmethod
    def upgraded(cls, document: Mapping[str, Json]) -> Mapping[str, Json]:
        """A document of any version as one of the present; raises InputError for one of a later version."""
        version = document.get(VERSION, 0)
        if version == 0:  # the fields of version 1, before documents had one
            document, version = {**document, VERSION: 1}, 1
        if version != cls.version:
            message = f"was written in version {version} of its type, this program reads up to {cls.version}"
            raise InputError(Problem(message, field=VERSION))
        return document
