"""Modules that register something, found without a list: those of a package, and those that entry points name."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from functools import cache
from importlib.metadata import entry_points

_LOG = logging.getLogger(__name__)


@cache
def import_all(package: str, group: str) -> None:
    """Import the modules of ``package`` and load the entry points of ``group``, once.

    A plug-in that does not load, or wants to end the program, is left out, and a line of the log names it.
    """
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        if not module.ispkg:
            importlib.import_module(module.name)
    for point in entry_points(group=group):
        try:
            point.load()
        except (Exception, SystemExit) as error:
            why = f"it ends the program ({error})" if isinstance(error, SystemExit) else str(error)
            _LOG.warning("plug-in %s (%s) does not load and is left out: %s", point.name, point.value, why)
