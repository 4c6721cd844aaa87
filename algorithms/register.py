"""Registers: things with names, found by importing a package and what entry points of other distributions name."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points
from typing import Generic, Protocol, TypeVar

from hwmodels.reading.errors import InputError, Problem, did_you_mean


class Registered(Protocol):
    """Anything that a register can hold."""

    @property
    def source(self) -> str:
        """Module that registered it."""


Entry = TypeVar("Entry", bound=Registered)
Kind = TypeVar("Kind")


def load_all(package: str, group: str) -> None:
    """Import all modules of a package, and load the entry points of a group.

    Raises
    ------
    InputError
        A plug-in that does not load, by name.
    """
    path = importlib.import_module(package).__path__
    for module in [module for module in pkgutil.walk_packages(path, f"{package}.") if not module.ispkg]:
        importlib.import_module(module.name)
    for point in entry_points(group=group):
        try:
            point.load()
        except Exception as error:
            message = f"plug-in {point.name} ({point.value}) does not load: {error}"
            raise InputError(Problem(message, file=point.value)) from error


class Register(Generic[Entry]):
    """Things by name: a decorator adds each when its module is imported, and whoever asks has all modules imported.

    Parameters
    ----------
    what
        What one of them is called in messages.
    package
        Whose modules register the built-in ones.
    group
        Entry points by which other distributions name modules that register theirs.
    field
        What a name that is not known was given for, in messages.
    """

    def __init__(self, what: str, package: str, group: str, field: str | None = None) -> None:
        self.what = what
        self.package = package
        self.group = group
        self.field = field
        self._entries: dict[str, Entry] = {}
        self._complete = False

    def refuse_taken(self, name: str, module: str) -> None:
        """Raise InputError, naming both modules, if something is called ``name`` already."""
        if name in self._entries:
            both = f"{self._entries[name].source} and {module}"
            raise InputError(Problem(f"{self.what} {name!r} is registered by both {both}"))

    def add(self, name: str, entry: Entry) -> None:
        """Register ``entry``; raises as `refuse_taken`."""
        self.refuse_taken(name, entry.source)
        self._entries[name] = entry

    def names(self, kind: type[object] = object) -> tuple[str, ...]:
        """Names of everything of a kind, sorted; raises as `discover`."""
        self.discover()
        return tuple(sorted(name for name, entry in self._entries.items() if isinstance(entry, kind)))

    def get(self, name: str) -> Entry:
        """What is called ``name``.

        Raises
        ------
        InputError
            If there is nothing of that name, with the nearest one.
        """
        self.discover()
        if name not in self._entries:
            raise self._unknown(name, self.what, list(self._entries))
        return self._entries[name]

    def get_kind(self, name: str, kind: type[Kind], what: str) -> Kind:
        """What is called ``name`` if it is of a kind, which messages call ``what``; raises as `get`."""
        self.discover()
        entry = self._entries.get(name)
        if not isinstance(entry, kind):
            raise self._unknown(name, what, list(self.names(kind)))
        return entry

    def _unknown(self, name: str, what: str, known: list[str]) -> InputError:
        return InputError(Problem(f"no {what} is called {name!r}", field=self.field, hint=did_you_mean(name, known)))

    def discover(self) -> None:
        """Import whatever registers something, once; raises as `load_all`."""
        if not self._complete:
            load_all(self.package, self.group)
            self._complete = True
