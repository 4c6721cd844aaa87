"""Fields of a ``config.json``, each checked when it is asked for; everything wrong with them is said at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hwmodels.reading.documents import Document, FieldPath, Value
from hwmodels.reading.errors import InputError, Problem, did_you_mean

LARGEST_WIDTH = 10**6
"""Of a stream, a feed-forward layer, a head."""
LARGEST_COUNT = 10**5
"""Of layers, heads, experts."""
LARGEST_TABLE = 10**8
"""Rows of a table of tokens or positions."""


@dataclass(frozen=True)
class Fields:
    """Fields of a configuration, or of a section of it.

    Parameters
    ----------
    document
        The file.
    path
        Path of the section in the file.
    problems
        Problems found so far; sections share the list.
    """

    document: Document
    path: FieldPath = ()
    problems: list[Problem] = field(default_factory=list)

    @property
    def _data(self) -> Mapping[str, Value]:
        data = self.document.at(self.path)
        return data if isinstance(data, Mapping) else {}

    def complain(self, name: str, message: str, hint: str | None = None) -> None:
        """Note a problem with a field."""
        self.problems.append(self.document.problem((*self.path, name), message, hint))

    def finish(self) -> None:
        """Raise InputError with everything that was wrong."""
        if self.problems:
            raise InputError(self.problems)

    def has(self, name: str) -> bool:
        """Whether the field is there and is not null."""
        return self._data.get(name) is not None

    @property
    def names(self) -> tuple[str, ...]:
        """Of all fields."""
        return tuple(self._data)

    def section(self, name: str) -> Fields:
        """The fields of a section; complains if there is none."""
        if not isinstance(self._data.get(name), Mapping):
            self.complain(name, "must be a mapping" if self.has(name) else "required key is missing")
            self.finish()
        return Fields(self.document, (*self.path, name), self.problems)

    def count(self, *names: str, default: int | None = None, most: int = LARGEST_COUNT, least: int = 1) -> int:
        """A whole number under the first of ``names`` that is there; 1 where it is wrong, so that reading goes on."""
        name = next((each for each in names if self.has(each)), None)
        if name is None:
            if default is None:
                self.complain(names[0], "required key is missing", did_you_mean(names[0], list(self._data)))
                return 1
            return default
        value = self._data[name]
        if isinstance(value, bool) or not isinstance(value, int):
            self.complain(name, f"must be a whole number (got {value!r})")
        elif value < least:
            self.complain(name, f"must be at least {least} (got {value})")
        elif value > most:
            self.complain(name, f"must be at most {most:,} (got {value:,})")
        else:
            return value
        return max(least, 1)

    def width(self, *names: str, default: int | None = None) -> int:
        """The width of something."""
        return self.count(*names, default=default, most=LARGEST_WIDTH)

    def rows(self, *names: str, default: int | None = None) -> int:
        """Rows of a table."""
        return self.count(*names, default=default, most=LARGEST_TABLE)

    def number(self, name: str, default: float) -> float:
        """A positive number."""
        value = self._data.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            self.complain(name, f"must be a number greater than 0 (got {value!r})")
            return default
        return float(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        value = self._data.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.complain(name, f"must be true or false (got {value!r})")
            return default
        return value

    def text(self, name: str, default: str = "") -> str:
        """A text."""
        value = self._data.get(name, default)
        if value is not None and not isinstance(value, str):
            self.complain(name, f"must be a text (got {value!r})")
            return default
        return value or default

    def numbers(self, name: str, default: Sequence[int] = ()) -> tuple[int, ...]:
        """A list of whole numbers of at least 0."""
        value = self._data.get(name)
        if value is None:
            return tuple(default)
        if isinstance(value, list):
            found = [each for each in value if isinstance(each, int) and not isinstance(each, bool) and each >= 0]
            if len(found) == len(value):
                return tuple(found)
        self.complain(name, f"must be a list of whole numbers (got {value!r})")
        return tuple(default)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; empty where there is none."""
        value = self._data.get(name)
        if value is None:
            return ()
        if isinstance(value, list):
            found = [each for each in value if isinstance(each, str)]
            if len(found) == len(value):
                return tuple(found)
        self.complain(name, f"must be a list of texts (got {value!r})")
        return ()

    def divides(self, part: str, parts: int, whole: str, total: int) -> bool:
        """Complain where a number of parts does not divide a whole."""
        if total % parts:
            self.complain(part, f"must divide {whole} = {total:,} (got {parts:,})")
        return total % parts == 0
