"""Nodes of a YAML text: scanned in C where the library has it, tagged by the core schema of YAML 1.2.

The parser is that of YAML 1.1 and 1.2 alike; what a plain scalar means is decided here: ``no`` is a text, ``1e9`` a
number, ``0o17`` octal (YAML 1.2.2, section 10.3), and digits may be grouped by ``_``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

__all__ = ["MappingNode", "Node", "ScalarNode", "SequenceNode", "UnreadableError", "nodes_of", "number_of"]

TAG = "tag:yaml.org,2002:"
_PLAIN = (
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)")),
    (
        "float",
        re.compile(
            r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
            r"|[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
        ),
    ),
    ("int", re.compile(r"[-+]?0b[01_]+|[-+]?0o?[0-7_]+|[-+]?[0-9][0-9_]*|[-+]?0x[0-9a-fA-F_]+")),
    ("null", re.compile(r"~|null|Null|NULL|")),
    ("merge", re.compile(r"<<")),
    ("value", re.compile(r"=")),
)
"""Kinds of plain scalars that are no texts."""
_BASES = {"0b": 2, "0o": 8, "0x": 16}


class UnreadableError(Exception):
    """A text that is no YAML: what is wrong, and the line where it is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


def nodes_of(text: str, deepest: int) -> list[Node]:
    """The root node of every document of a text; aliases are the very nodes that they refer to.

    Raises
    ------
    UnreadableError
        For what is no YAML, and for nodes that are nested more than ``deepest`` levels.
    """
    if yaml.__with_libyaml__:
        try:
            return _composed(text, yaml.CSafeLoader, deepest)
        except yaml.YAMLError:
            pass  # the other parser says more of what is wrong, and knows JSON's surrogate pairs
    try:
        return _composed(text, yaml.SafeLoader, deepest)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "cannot be parsed"
        raise UnreadableError(f"YAML syntax: {what}", mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, ValueError) as error:
        raise UnreadableError(f"YAML syntax: {error}") from None


def _composed(text: str, loader: type, deepest: int) -> list[Node]:
    return list(_Composer(yaml.parse(text, Loader=loader), deepest).documents())


class _Composer:
    """Makes nodes of events."""

    def __init__(self, events: Iterator[yaml.Event], deepest: int) -> None:
        self._events = events
        self._deepest = deepest
        self._anchors: dict[str, Node] = {}

    def documents(self) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors = {}
                yield self._node(next(self._events), 0)

    def _node(self, event: yaml.Event, depth: int) -> Node:
        line = event.start_mark.line + 1
        if depth > self._deepest:
            raise UnreadableError(f"nested deeper than {self._deepest} levels", line)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise UnreadableError(f"YAML syntax: found undefined alias {event.anchor!r}", line)
            return self._anchors[event.anchor]
        if isinstance(event, yaml.ScalarEvent):
            node: Node = ScalarNode(_tag(event), event.value, event.start_mark, event.end_mark)
            return self._known(event, node)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Node] = []
            node = self._known(event, SequenceNode(event.tag or TAG + "seq", items, event.start_mark, event.end_mark))
            while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(inner, depth + 1))
            return node
        pairs: list[tuple[Node, Node]] = []
        node = self._known(event, MappingNode(event.tag or TAG + "map", pairs, event.start_mark, event.end_mark))
        while not isinstance(inner := next(self._events), yaml.MappingEndEvent):
            key = self._node(inner, depth + 1)
            pairs.append((key, self._node(next(self._events), depth + 1)))
        return node

    def _known(self, event: yaml.Event, node: Node) -> Node:
        """The node, remembered under its anchor before what is inside it is made: it may refer to itself."""
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node


def _tag(event: yaml.ScalarEvent) -> str:
    if event.tag not in (None, "!"):
        return str(event.tag)
    if event.implicit[0]:
        for kind, pattern in _PLAIN:
            if pattern.fullmatch(event.value):
                return TAG + kind
    return TAG + "str"


def number_of(kind: str, text: str) -> int | float | bool | None:
    """The value of a scalar of ``kind`` null, bool, int or float; raises ValueError for a text that is none."""
    if kind == "null":
        return None
    if kind == "bool":
        value = text.lower()
        if value not in ("true", "false"):
            raise ValueError(text)
        return value == "true"
    plain = text.replace("_", "")
    if kind == "int":
        sign = -1 if plain.startswith("-") else 1
        digits = plain.lstrip("+-") if plain[:1] in "+-" else plain
        return sign * int(digits, _BASES.get(digits[:2], 10))
    return float(plain.lower().replace(".inf", "inf").replace(".nan", "nan"))
