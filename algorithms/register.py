"""Registers: things with names, found by importing a package and what entry points of other distributions name."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

from hwmodels.reading.errors import LISTED_CHOICES, InputError, Problem, did_you_mean

_LOG = logging.getLogger(__name__)

SCRIPT = "__main__"
"""Module of a script or notebook, which may say again what it calls by a name: cells are run more than once."""


class Registered(Protocol):
    """Anything that a register can hold."""

    @property
    def source(self) -> str:
        """Module that registered it."""


Entry = TypeVar("Entry", bound=Registered)
Kind = TypeVar("Kind")


def load_package(package: str) -> None:
    """Import all modules of a package."""
    path = importlib.import_module(package).__path__
    for module in [module for module in pkgutil.walk_packages(path, f"{package}.") if not module.ispkg]:
        importlib.import_module(module.name)


def load_all(package: str, group: str) -> None:
    """Import all modules of a package, and load the entry points of a group.

    A plug-in that does not load, or wants to end the program, is left out, and a line of the log names it: whoever asks
    for what it would have registered is told that there is no such thing.
    """
    from importlib.metadata import entry_points  # a third of the start of a command that needs no register

    load_package(package)
    for point in entry_points(group=group):
        try:
            point.load()
        except (Exception, SystemExit) as error:
            why = f"it ends the program ({error})" if isinstance(error, SystemExit) else str(error)
            _LOG.warning("plug-in %s (%s) does not load and is left out: %s", point.name, point.value, why)


class Stamp:
    """What a register held at a moment; equal to another one as long as nothing has been registered since.

    Parameters
    ----------
    entries
        Everything by name; kept, so that no other takes its identity.
    """

    def __init__(self, entries: dict[str, Entry]) -> None:
        self._entries, self._count = entries, len(entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stamp) and self._entries is other._entries and self._count == other._count

    def __hash__(self) -> int:
        return hash((id(self._entries), self._count))


class Register(Generic[Entry]):
    """Things by name: a decorator adds each when its module is imported, and whoever asks has all modules imported.

    Whoever asks for one whose home is known has that module imported alone, unless another distribution takes part.

    Parameters
    ----------
    what
        Name of one of them in messages.
    package
        Package whose modules register the built-in ones.
    group
        Entry points by which other distributions name modules that register theirs.
    field
        Field that an unknown name was given for, in messages.
    unknown
        Message about an unknown name; ``{what}`` and ``{name}`` are filled in.
    listed
        Names that such a message lists at most where none is near.
    homes
        Modules below ``package`` that register built-in ones, by name: how one starts without the others. What has no
        home here is found all the same.
    """

    def __init__(
        self,
        what: str,
        package: str,
        group: str,
        field: str | None = None,
        unknown: str = "no {what} is called '{name}'",
        listed: int = LISTED_CHOICES,
        homes: Mapping[str, str] | None = None,
    ) -> None:
        self.what = what
        self.package = package
        self.group = group
        self.field = field
        self.unknown = unknown
        self.listed = listed
        self.homes = homes or {}
        self._entries: dict[str, Entry] = {}
        self._aliases: dict[str, str] = {}
        self._complete = False
        self._parts: set[str] = set()
        self._alone: bool | None = None

    def refuse_taken(self, name: str, module: str) -> None:
        """Raise InputError, naming both modules, if something is called ``name`` already."""
        taken = self._entries.get(self._aliases.get(name, name))
        if taken is not None and not taken.source == module == SCRIPT:
            both = f"{taken.source} and {module}"
            raise InputError(Problem(f"{self.what} {name!r} is registered by both {both}"))

    def add(self, name: str, entry: Entry, aliases: tuple[str, ...] = ()) -> None:
        """Register ``entry``, which `get` finds under other names too; raises as `refuse_taken`."""
        for known in (name, *aliases):
            self.refuse_taken(known, entry.source)
        self._entries[name] = entry
        self._aliases |= dict.fromkeys(aliases, name)

    def names(self, kind: type[object] = object) -> tuple[str, ...]:
        """Names of everything of a kind, sorted."""
        self.discover()
        return tuple(sorted(name for name, entry in self._entries.items() if isinstance(entry, kind)))

    def registered_by(self, module: str) -> tuple[str, ...]:
        """Names of what ``module`` has registered so far, sorted."""
        return tuple(sorted(name for name, entry in self._entries.items() if entry.source == module))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All that has been imported so far."""
        return tuple(self._entries.values())

    def present(self, name: str) -> Entry | None:
        """What is called ``name`` among what has been imported so far, None if there is nothing."""
        return self._entries.get(name)

    def get(self, name: str) -> Entry:
        """The entry called ``name``.

        Raises
        ------
        InputError
            If there is nothing of that name, with the nearest one.
        """
        self._look_for(name)
        found = self._entries.get(self._aliases.get(name, name))
        if found is None:
            raise self._unknown(name, self.what, [*self._entries, *self._aliases])
        return found

    def get_kind(self, name: str, kind: type[Kind], what: str) -> Kind:
        """The entry called ``name`` if it is of a kind, which messages call ``what``; raises as `get`.

        An abstract class will do for ``kind`` (what mypy calls type-abstract): none of it is made.
        """
        self._look_for(name)
        entry = self._entries.get(self._aliases.get(name, name))
        if not isinstance(entry, kind):
            raise self._unknown(name, what, list(self.names(kind)))
        return entry

    def _unknown(self, name: str, what: str, known: list[str]) -> InputError:
        message = self.unknown.format(what=what, name=name)
        return InputError(Problem(message, field=self.field, hint=did_you_mean(name, known, self.listed)))

    @property
    def stamp(self) -> Stamp:
        """What it holds when all is imported, for whoever keeps something that follows from that."""
        self.discover()
        return Stamp(self._entries)

    @property
    def held(self) -> Stamp:
        """What it holds so far; once other distributions take part, all that they bring."""
        if not self._is_alone():
            self.discover()
        return Stamp(self._entries)

    def load_part(self, package: str) -> None:
        """Import what a part of the package registers, or everything where other distributions take part.

        Parameters
        ----------
        package
            Name of a package below the register's own; nothing is imported for any other.
        """
        if not self._is_alone():
            self.discover()
        elif not self._complete and package.startswith(f"{self.package}.") and package not in self._parts:
            load_package(package)
            self._parts.add(package)

    def _look_for(self, name: str) -> None:
        """Import what registers ``name``, or everything where nobody knows what that is."""
        if self._complete:
            return
        if self._is_alone():
            if name in self.homes:
                importlib.import_module(f"{self.package}.{self.homes[name]}")
            if self._aliases.get(name, name) in self._entries:
                return
        self.discover()

    def _is_alone(self) -> bool:
        """Whether no other distribution registers anything, which may be more, or other things, than is built in."""
        if self._alone is None:
            from importlib.metadata import entry_points

            self._alone = not entry_points(group=self.group)
        return self._alone

    def discover(self) -> None:
        """Import whatever registers something, once."""
        if not self._complete:
            load_all(self.package, self.group)
            self._complete = True
