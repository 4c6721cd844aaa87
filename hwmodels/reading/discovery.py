"""Modules that register something, found without a list: those of a package, and those that entry points name."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points

from hwmodels.reading.errors import InputError, Problem


@cache
def import_all(package: str, group: str) -> None:
    """Import the modules of ``package`` and load the entry points of ``group``, once.

    Raises
    ------
    InputError
        A plug-in that does not load, by name.
    """
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        if not module.ispkg:
            importlib.import_module(module.name)
    for point in entry_points(group=group):
        try:
            point.load()
        except Exception as error:
            message = f"plug-in {point.name} ({point.value}) does not load: {error}"
            raise InputError(Problem(message, file=point.value)) from error
