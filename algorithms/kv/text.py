"""Policies written as text: ``streaming_llm(sink=4,recent=1020)``, ``sink(4) + window(1020)``, ``knorm | chunk(20)``.

``+`` unites, ``|`` hands the policy on its left to the wrapper on its right and binds weaker. Arguments are
positional or named; lists stand in brackets; an argument may be a policy itself.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from algorithms.kv.policy import KVPolicy, Union
from algorithms.kv.registry import policy_class
from hwmodels.reading.errors import InputError, Problem, did_you_mean

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_.\-]*)"
    r"|(?P<quoted>'[^']*'|\"[^\"]*\")"
    r"|(?P<mark>[()\[\],=+|]))"
)
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "none": None, "null": None}
_EXPECTED: dict[type, str] = {
    bool: "must be true or false",
    int: "must be a whole number",
    float: "must be a number",
}
_LONGEST = 4096
_DEEPEST = 32

Plain = int | float | str | bool | None
PolicyValue = Plain | list["PolicyValue"] | dict[str, "PolicyValue"]


@dataclass(frozen=True)
class _Call:
    name: str
    positional: tuple[_Node, ...] = ()
    named: tuple[tuple[str, _Node], ...] = ()
    bare: bool = False


@dataclass(frozen=True)
class _Union:
    parts: tuple[_Node, ...]


@dataclass(frozen=True)
class _Pipe:
    base: _Node
    stage: _Call


@dataclass(frozen=True)
class _List:
    items: tuple[_Node, ...]


@dataclass(frozen=True)
class _Plain:
    value: Plain


_Node = _Call | _Union | _Pipe | _List | _Plain


@lru_cache(maxsize=256)
def parse_policy(text: str) -> KVPolicy:
    """The policy that `text` describes.

    Raises
    ------
    InputError
        Text that does not parse, an unknown name or parameter (with the nearest known one), a value of the
        wrong kind or out of range.

    Examples
    --------
    >>> str(parse_policy("sink(4) + window(1020)"))
    'sink + window(tokens=1020)'
    """
    reader = _Reader(text)
    node = reader.pipe(0)
    reader.end()
    return _policy(node)


def policy_from(value: KVPolicy | str | Mapping[str, PolicyValue]) -> KVPolicy:
    """A policy from text, from a YAML mapping ``{policy: streaming_llm, sink: 4}``, or as it is.

    Raises
    ------
    InputError
        As `parse_policy`.
    """
    if isinstance(value, KVPolicy):
        return value
    if isinstance(value, str):
        return parse_policy(value)
    if "policy" not in value:
        raise InputError(Problem("needs the key 'policy'", field="policy"))
    given = {name: item for name, item in value.items() if name != "policy"}
    if not given:
        inner = value["policy"]
        if isinstance(inner, str | dict):
            return policy_from(inner)
        raise InputError(Problem(f"must be a policy (got {inner!r})", field="policy"))
    return _policy(_Call(str(value["policy"]), (), tuple((name, _node(item)) for name, item in given.items())))


def _node(value: PolicyValue) -> _Node:
    if isinstance(value, list):
        return _List(tuple(_node(item) for item in value))
    if isinstance(value, dict):
        named = tuple((name, _node(item)) for name, item in value.items() if name != "policy")
        return _Call(str(value.get("policy")), (), named)
    if isinstance(value, str):
        try:
            reader = _Reader(value)
            node = reader.pipe(0)
            reader.end()
        except InputError:
            return _Plain(value)
        return node
    return _Plain(value)


class _Reader:
    """Recursive descent over the tokens of a policy text."""

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            raise InputError(Problem(f"a policy text has at most {_LONGEST} characters", field="policy"))
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._error(at, f"unexpected '{text[at:].strip()[0]}'")
            kind = str(match.lastgroup)
            self._tokens.append((kind, match.group(kind), match.start(kind)))
            at = match.end()
        self._next = 0

    def _error(self, at: int, message: str) -> InputError:
        return InputError(Problem(f"{message} at character {at + 1} of '{self._text}'", field="policy"))

    def _peek(self) -> tuple[str, str, int]:
        if self._next < len(self._tokens):
            return self._tokens[self._next]
        return "end", "", len(self._text)

    def _take(self) -> tuple[str, str, int]:
        token = self._peek()
        self._next += 1
        return token

    def _taken(self, mark: str) -> bool:
        if self._peek()[:2] == ("mark", mark):
            self._next += 1
            return True
        return False

    def end(self) -> None:
        kind, text, at = self._peek()
        if kind != "end":
            raise self._error(at, f"unexpected '{text}'")

    def pipe(self, depth: int) -> _Node:
        if depth > _DEEPEST:
            raise self._error(self._peek()[2], "nested too deeply")
        node: _Node = self._union(depth)
        while self._taken("|"):
            kind, _, at = self._peek()
            if kind != "name":
                raise self._error(at, "expected the name of a wrapper after '|'")
            stage = self._call(depth)
            node = _Pipe(node, stage)
        return node

    def _union(self, depth: int) -> _Node:
        parts = [self._value(depth)]
        while self._taken("+"):
            parts.append(self._value(depth))
        return parts[0] if len(parts) == 1 else _Union(tuple(parts))

    def _value(self, depth: int) -> _Node:
        kind, text, at = self._peek()
        if kind == "name":
            return self._call(depth)
        if kind == "number":
            self._take()
            return _Plain(_number(text))
        if kind == "quoted":
            self._take()
            return _Plain(text[1:-1])
        if self._taken("["):
            return _List(self._items("]", depth))
        if self._taken("("):
            node = self.pipe(depth + 1)
            if not self._taken(")"):
                raise self._error(self._peek()[2], "expected ')'")
            return node
        raise self._error(at, "expected a policy or a value" if kind == "end" else f"unexpected '{text}'")

    def _items(self, close: str, depth: int) -> tuple[_Node, ...]:
        items = []
        while not self._taken(close):
            items.append(self.pipe(depth + 1))
            if not self._taken(",") and self._peek()[:2] != ("mark", close):
                raise self._error(self._peek()[2], f"expected ',' or '{close}'")
        return tuple(items)

    def _call(self, depth: int) -> _Call:
        _, name, _ = self._take()
        if not self._taken("("):
            return _Call(name, bare=True)
        positional: list[_Node] = []
        named: list[tuple[str, _Node]] = []
        while not self._taken(")"):
            is_named = self._next + 1 < len(self._tokens) and self._tokens[self._next + 1][:2] == ("mark", "=")
            if is_named and self._peek()[0] == "name":
                key = self._take()[1]
                self._take()
                named.append((key, self.pipe(depth + 1)))
            elif named:
                raise self._error(self._peek()[2], "a positional argument follows a named one")
            else:
                positional.append(self.pipe(depth + 1))
            if not self._taken(",") and self._peek()[:2] != ("mark", ")"):
                raise self._error(self._peek()[2], "expected ',' or ')'")
        return _Call(name, tuple(positional), tuple(named))


def _number(text: str) -> int | float:
    plain = text.replace("_", "")
    return int(plain) if re.fullmatch(r"[-+]?\d+", plain) else float(plain)


# from nodes to policies


def _policy(node: _Node, base: KVPolicy | None = None) -> KVPolicy:
    if isinstance(node, _Union):
        return Union.of(*(_policy(part) for part in node.parts))
    if isinstance(node, _Pipe):
        return _policy(node.stage, _policy(node.base))
    if not isinstance(node, _Call):
        raise InputError(Problem(f"expected the name of a policy, got {_shown(node)}", field="policy"))
    cls = policy_class(node.name)
    fields = [field.name for field in dataclasses.fields(cls)]
    if base is not None:
        if not cls.wraps:
            raise InputError(Problem(f"'{node.name}' after '|' is not a wrapper", field="policy"))
        fields.remove("base")
    given = _arguments(node, fields)
    hints = typing.get_type_hints(cls)
    problems: list[Problem] = []
    values: dict[str, object] = {}
    for name, value in given.items():
        try:
            values[name] = _convert(value, hints[name])
        except InputError as error:
            problems += error.problems
        except _UnfitError as error:
            problems.append(Problem(f"{error} (got {_shown(value)})", field=f"policy.{node.name}.{name}"))
    if problems:
        raise InputError(problems)
    if base is not None:
        values["base"] = base
    return cls(**values)


def _arguments(call: _Call, fields: list[str]) -> dict[str, _Node]:
    problems = []
    if len(call.positional) > len(fields):
        problems.append(
            Problem(f"{call.name} takes at most {len(fields)} arguments, not {len(call.positional)}", field="policy")
        )
    given = dict(zip(fields, call.positional, strict=False))
    for name, value in call.named:
        if name not in fields:
            problems.append(
                Problem(
                    f"unknown parameter '{name}' of {call.name}",
                    field="policy",
                    hint=did_you_mean(name, fields) or "it has no parameters",
                )
            )
        elif name in given:
            problems.append(Problem(f"parameter '{name}' of {call.name} is given twice", field="policy"))
        given[name] = value
    if problems:
        raise InputError(problems)
    return given


class _UnfitError(Exception):
    """A value of the wrong kind; the text says what was expected."""


def _convert(node: _Node, hint: object) -> object:
    """`node` as a value of the type `hint`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _convert_union(node, arguments)
    if origin is typing.Literal:
        word = _word(node)
        if word not in arguments:
            raise _UnfitError("must be " + " or ".join(str(argument) for argument in arguments))
        return word
    if origin is tuple:
        if not isinstance(node, _List):
            raise _UnfitError("must be a list in brackets")
        return tuple(_convert(item, arguments[0]) for item in node.items)
    if isinstance(hint, type) and issubclass(hint, KVPolicy):
        return _policy(node)
    return _plain_value(_word(node), hint)


def _plain_value(value: Plain, hint: object) -> Plain:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        type(None): value is None,
        bool: isinstance(value, bool),
        int: is_number and isinstance(value, int),
        float: is_number,
        str: isinstance(value, str),
    }
    if fits.get(typing.cast(type, hint), False):
        return value
    raise _UnfitError(_EXPECTED.get(typing.cast(type, hint), "has the wrong kind"))


def _convert_union(node: _Node, hints: tuple[object, ...]) -> object:
    failure = _UnfitError("has the wrong kind")
    for hint in hints:
        try:
            return _convert(node, hint)
        except _UnfitError as unfit:
            if hint is not type(None):
                failure = unfit
    raise failure


def _word(node: _Node) -> Plain:
    if isinstance(node, _Plain):
        return node.value
    if isinstance(node, _Call) and node.bare:
        return _WORDS.get(node.name.lower(), node.name)
    raise _UnfitError("must be a plain value")


def _shown(node: _Node) -> str:
    if isinstance(node, _Plain):
        return repr(node.value)
    if isinstance(node, _Call):
        return f"'{node.name}'"
    return "a list" if isinstance(node, _List) else "an expression"
