"""The register of verbs: one file in `studies.cli.verbs` and one decorator each, or an entry point.

A new verb is a module in `studies.cli.verbs` (or anywhere, named by an entry point of the group ``attnflow.verbs``)::

    @verb("count", order=55)
    def count(algorithm: AlgorithmName, as_json: JsonFlag = False, quiet: QuietFlag = False) -> int:
        \"\"\"Count the units of a design.\"\"\"

Modules of verbs are imported whenever somebody asks for help, so they import what takes time inside their functions.
Whoever types a verb has only its own module imported, if it is called like the verb.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import typer

from algorithms.register import Register

ENTRY_POINT_GROUP = "attnflow.verbs"
PACKAGE = "studies.cli.verbs"
LAST = 1000
"""Place in the help of a verb that asks for none."""
HELP = ("--help", "-h")
"""What one types to be told what there is, and what words do."""

Run = TypeVar("Run", bound=Callable[..., object])


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Parameters
    ----------
    name
        As it is typed.
    order
        Verbs appear in the help in ascending order, those with commands of their own after all others.
    add
        Adds it to an application.
    source
        Module that registered it.
    """

    name: str
    order: int
    add: Callable[[typer.Typer], object]
    source: str


_VERBS: Register[Verb] = Register("verb", PACKAGE, ENTRY_POINT_GROUP)


def verb(name: str, *, order: int = LAST) -> Callable[[Run], Run]:
    """Register the decorated function as the verb `name`; its docstring is its help.

    Raises
    ------
    InputError
        If the name is taken; the message names both modules.
    """

    def register(function: Run) -> Run:
        _VERBS.add(name, Verb(name, order, lambda app: app.command(name)(function), function.__module__))
        return function

    return register


def verb_group(name: str, summary: str, module: str, *, order: int = LAST) -> typer.Typer:
    """Register a verb with commands of its own, which ``@group.command(NAME)`` adds to what is returned.

    Parameters
    ----------
    name, summary
        As it is typed, and its help.
    module
        ``__name__`` of the caller.
    order
        As in `Verb`.

    Raises
    ------
    InputError
        If the name is taken; the message names both modules.
    """
    group = typer.Typer(help=summary, no_args_is_help=True)
    # a callback keeps the name of a command even while it is the only one
    group.callback()(lambda: None)
    _VERBS.add(name, Verb(name, order, lambda app: app.add_typer(group, name=name), module))
    return group


def all_verbs() -> tuple[Verb, ...]:
    """All verbs in the order of the help."""
    return tuple(sorted(map(_VERBS.get, _VERBS.names()), key=lambda entry: (entry.order, entry.name)))


def verbs_for(typed: str | None) -> tuple[Verb, ...]:
    """The one verb that was typed, or all of them where that is no verb of a module of its name.

    Parameters
    ----------
    typed
        First word behind the program's name, None if there is none; options other than ``--help`` and ``-h`` need no
        verb.
    """
    if typed is not None and typed.startswith("-") and typed not in HELP:
        return ()
    module = f"{PACKAGE}.{typed}"
    if typed is not None and typed.isidentifier() and importlib.util.find_spec(module):
        importlib.import_module(module)
    found = _VERBS.present(typed or "")
    return (found,) if found else all_verbs()
