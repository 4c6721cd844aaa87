"""Plain values of a document with the line of each, and problems placed on those lines."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.reading.errors import Problem

Scalar = str | int | float | bool | None
Value = Scalar | list["Value"] | dict[str, "Value"]
FieldPath = tuple[str | int, ...]


def dotted(path: FieldPath) -> str:
    """``("tiers", 1, "capacity")`` as ``tiers[1].capacity``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass(frozen=True)
class Placed:
    """Plain values and the line of each.

    Parameters
    ----------
    name
        What problems call it: the file name as given.
    data
        Plain values: mappings with text keys, lists, scalars.
    lines
        Line (from 1) of every key and list item, by path; the document itself is ``()``.
    problems
        Problems of the text itself (duplicate keys, foreign tags).
    """

    name: str
    data: Value
    lines: dict[FieldPath, int]
    problems: tuple[Problem, ...] = ()

    def problem(self, path: FieldPath, message: str, hint: str | None = None) -> Problem:
        """A problem with the value at `path`, placed on its line (or on that of the nearest parent)."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        return Problem(message, self.name, self.lines.get(known), dotted(path) or None, hint)

    def at(self, path: FieldPath) -> Value:
        """The value at `path`, as written.

        Raises
        ------
        LookupError
            If the document has nothing there.
        """
        value = self.data
        for part in path:
            match value, part:
                case dict(), str():
                    value = value[part]
                case list(), int():
                    value = value[part]
                case _:
                    raise LookupError(dotted(path))
        return value
