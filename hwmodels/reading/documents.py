"""YAML documents with line numbers: text in, frozen models out, every problem at once.

The text is YAML 1.2 (so ``no`` is a text and ``1e9`` a number; JSON is read too). It is parsed to nodes,
which know their lines, and turned into plain values here, so that duplicate keys, custom tags, alias bombs
and endless nesting end in one clear line each. Pydantic then validates the plain values, and its complaints
are given their lines.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from hwmodels.reading.complaints import document_path, problems_of
from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.places import FieldPath, Placed, Scalar, Value, dotted
from hwmodels.reading.yaml_nodes import (
    TAG,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
    UnreadableError,
    nodes_of,
    number_of,
)

__all__ = ["Document", "FieldPath", "Value", "dotted", "in_order", "read_document", "read_text"]

M = TypeVar("M", bound=BaseModel)
LARGEST_FILE_BYTES = 1 << 20
MOST_VALUES = 200_000
DEEPEST_NESTING = 64


@dataclass(frozen=True)
class Document(Placed):
    """A parsed document, which can be read into models; `validate` reports the problems of its text, too."""

    def with_values(self, changes: Mapping[str, Value]) -> Document:
        """The document with other values at dotted paths, on the lines of what they replace; text is read as YAML.

        Raises
        ------
        InputError
            A path through something that is no mapping.
        """
        data = copy.deepcopy(self.data)
        lines = dict(self.lines)
        for dotted_path, given in changes.items():
            path = tuple(dotted_path.split("."))
            value = read_text(given, dotted_path).data if isinstance(given, str) and given.strip() else given
            place: Value = data
            for depth, part in enumerate(path[:-1]):
                if isinstance(place, dict):
                    place = place.setdefault(part, {})
                    lines.setdefault(path[: depth + 1], 1)
            if not isinstance(place, dict):
                raise InputError(self.problem(path, "is no section that could be changed"))
            place[path[-1]] = value
            line = lines.get(path, lines.get(path[:-1], 1))
            lines = {known: at for known, at in lines.items() if known[: len(path)] != path}
            lines |= dict.fromkeys(_paths(value, path), line)
        return replace(self, data=data, lines=lines)

    def validate(self, model: type[M]) -> M:
        """The document as a `model`.

        Raises
        ------
        InputError
            With every problem of the text and of the model, in the order of the lines.
        """
        result, problems = self.validate_partly(model)
        if result is None or problems:
            raise InputError(in_order(problems))
        return result

    def validate_partly(self, model: type[M]) -> tuple[M | None, list[Problem]]:
        """The document as a `model` without the entries that are wrong, and what is wrong with them.

        For checks that go beyond the model: they can look at the sound entries of a document that has other
        faults, so that all problems are reported at once. The model is None when it cannot do without the
        faulty entries.
        """
        problems = list(self.problems)
        data: object = self.data
        while True:
            try:
                return model.model_validate(data), problems
            except ValidationError as error:
                if data is self.data:
                    # later rounds only complain about what the removal of an entry has left incomplete
                    problems += problems_of(error, model, self)
                before = data
                for path in {document_path(detail, self) for detail in error.errors(include_url=False)}:
                    data = _without(data, path if path in self.lines else path[:-1])
                if data == before:
                    return None, problems


def _paths(value: Value, path: FieldPath) -> Iterator[FieldPath]:
    """The path of a value and of everything in it."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, item in inside:
        yield from _paths(item, (*path, part))


def read_document(path: Path | str) -> Document:
    """Parse the YAML file at `path`.

    Raises
    ------
    InputError
        Missing or unreadable file, more than 1 MiB, not UTF-8, or YAML syntax.
    """
    path = Path(path)
    name = str(path)
    try:
        if path.is_dir():
            raise InputError(Problem("is a folder, expected a YAML file", name))
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE_BYTES + 1)
    except FileNotFoundError:
        raise InputError(Problem("no such file", name)) from None
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", name)) from None
    if len(raw) > LARGEST_FILE_BYTES:
        raise InputError(Problem(f"larger than {LARGEST_FILE_BYTES} bytes, the limit for a document", name))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(Problem("is not UTF-8 text", name, line)) from None
    return read_text(text, name)


def read_text(text: str, name: str) -> Document:
    """Parse YAML `text`; problems call it `name`.

    Raises
    ------
    InputError
        For YAML syntax, an empty text, several documents, nesting or aliases beyond the limits.
    """
    try:
        nodes = nodes_of(text, DEEPEST_NESTING)
    except UnreadableError as error:
        raise InputError(Problem(error.message, name, error.line)) from None
    if not nodes:
        raise InputError(Problem("is empty", name))
    if len(nodes) > 1:
        line = nodes[1].start_mark.line + 1
        raise InputError(Problem("holds several YAML documents, expected one", name, line))
    walk = _Walk(name)
    data = walk.value(nodes[0], ())
    return Document(name, data, walk.lines, tuple(walk.problems))


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems in the order of their lines, each once; problems without a line come first."""
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.line or 0)


def _without(data: object, path: FieldPath) -> object:
    """A copy of `data` that lacks the mapping entry at `path`; list items keep their positions."""
    if not path or not isinstance(data, dict | list):
        return data
    first, rest = path[0], path[1:]
    if isinstance(data, dict):
        if not rest or isinstance(data.get(first), list):
            return {key: value for key, value in data.items() if key != first}
        return {key: _without(value, rest) if key == first else value for key, value in data.items()}
    return data


class _Walk:
    """Turns nodes into plain values and remembers lines and problems."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[FieldPath, int] = {}
        self.problems: list[Problem] = []
        self._open: set[int] = set()
        self._count = 0

    def _complain(self, node: Node, path: FieldPath, message: str) -> None:
        self.problems.append(Problem(message, self.name, node.start_mark.line + 1, dotted(path) or None))

    def _stop(self, node: Node, message: str) -> InputError:
        return InputError(Problem(message, self.name, node.start_mark.line + 1))

    def value(self, node: Node, path: FieldPath) -> Value:
        self._count += 1
        if self._count > MOST_VALUES:
            raise self._stop(node, f"more than {MOST_VALUES} values once its aliases are expanded")
        if len(path) > DEEPEST_NESTING:
            raise self._stop(node, f"nested deeper than {DEEPEST_NESTING} levels")
        if id(node) in self._open:
            raise self._stop(node, "an alias refers to the value that contains it")
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self._open.add(id(node))
        result: Value
        if isinstance(node, SequenceNode):
            result = [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        elif isinstance(node, MappingNode):
            result = dict(self._items(node, path))
        else:
            raise TypeError(f"unknown kind of YAML node: {type(node).__name__}")
        self._open.remove(id(node))
        return result

    def _items(self, node: MappingNode, path: FieldPath) -> Iterator[tuple[str, Value]]:
        first_lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode) or key_node.tag != TAG + "str":
                shown = key_node.value if isinstance(key_node, ScalarNode) else "a list or mapping"
                self._complain(key_node, path, f"a key must be text (got {shown})")
                continue
            key = self._text(key_node, path)
            if key in first_lines:
                self._complain(key_node, (*path, key), f"duplicate key (first on line {first_lines[key]})")
                continue
            first_lines[key] = line
            self.lines.setdefault((*path, key), line)
            yield key, self.value(value_node, (*path, key))

    def _scalar(self, node: ScalarNode, path: FieldPath) -> Scalar:
        tag = str(node.tag)
        kind = tag.removeprefix(TAG)
        if tag in (TAG + "null", TAG + "bool", TAG + "int", TAG + "float"):
            try:
                return number_of(kind, str(node.value))
            except ValueError:
                self._complain(node, path, f"cannot be read as {kind} (got {node.value[:60]})")
                return None
        if tag not in (TAG + "str", TAG + "timestamp"):
            self._complain(node, path, f"YAML tag {node.tag} is not accepted")
        return self._text(node, path)

    def _text(self, node: ScalarNode, path: FieldPath) -> str:
        """Text of a node; the escaped surrogate pairs of JSON become the characters they stand for."""
        text = str(node.value)
        try:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
        except UnicodeDecodeError:
            self._complain(node, path, "half of a surrogate pair is no character")
            return text.encode("ascii", "backslashreplace").decode("ascii")
