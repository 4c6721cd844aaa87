"""Registers of the simulator: things by name, found by importing a package and what entry points name."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from importlib.metadata import entry_points
from typing import Generic, Protocol, TypeVar

from simulator.errors import GraphError, did_you_mean

_LOG = logging.getLogger(__name__)


class Named(Protocol):
    """Anything that a register can hold."""

    @property
    def name(self) -> str:
        """Name that it is asked for by."""

    @property
    def source(self) -> str:
        """Module that registered it."""


Entry = TypeVar("Entry", bound=Named)


class Register(Generic[Entry]):
    """Things by name; whoever asks has all modules imported that register some.

    `algorithms.register` is its like above: the packages below know nothing of each other, so each brings its own.

    Parameters
    ----------
    what
        Name for one of them in messages.
    package
        Package with the built-in ones, one in each of its modules.
    group
        Entry points by which other distributions name modules that register theirs.
    module
        Set if the built-in ones have a folder each below ``package``: the module of a folder that registers them.
    """

    def __init__(self, what: str, package: str, group: str, module: str | None = None) -> None:
        self.what = what
        self.package = package
        self.group = group
        self.module = module
        self._entries: dict[str, Entry] = {}
        self._complete = False

    def add(self, entry: Entry) -> Entry:
        """Register ``entry`` and return it.

        Raises
        ------
        GraphError
            If something else is called so already, naming both modules.
        """
        other = self._entries.get(entry.name)
        if other is not None and other.source != entry.source:
            raise GraphError(f"{self.what} {entry.name!r} is registered by both {other.source} and {entry.source}")
        self._entries[entry.name] = entry
        return entry

    def names(self) -> tuple[str, ...]:
        """All names, in the order of the alphabet."""
        self._discover()
        return tuple(sorted(self._entries))

    def get(self, name: str) -> Entry:
        """Entry that is called ``name``.

        Raises
        ------
        GraphError
            If there is none, with the nearest name.
        """
        if name not in self._entries:
            self._discover()
        if name not in self._entries:
            raise GraphError(f"no {self.what} is called {name!r}{did_you_mean(name, self._entries)}")
        return self._entries[name]

    def _discover(self) -> None:
        """Import every module that registers something, once."""
        if self._complete:
            return
        for found in pkgutil.iter_modules(importlib.import_module(self.package).__path__, f"{self.package}."):
            if self.module is None and not found.ispkg:
                importlib.import_module(found.name)
            elif self.module is not None and found.ispkg:
                importlib.import_module(f"{found.name}.{self.module}")
        for point in entry_points(group=self.group):
            try:
                point.load()
            except (Exception, SystemExit) as error:
                why = f"it ends the program ({error})" if isinstance(error, SystemExit) else str(error)
                _LOG.warning("plug-in %s (%s) does not load and is left out: %s", point.name, point.value, why)
        self._complete = True
