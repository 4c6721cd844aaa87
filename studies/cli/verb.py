"""The register of verbs: one file in `studies.cli.verbs` and one decorator each, or an entry point.

A new verb is a module in `studies.cli.verbs` (or anywhere, named by an entry point of the group ``attnflow.verbs``)::

    @verb("count", order=55)
    def count(algorithm: AlgorithmName, as_json: JsonFlag = False, quiet: QuietFlag = False) -> int:
        \"\"\"Count the units of a design.\"\"\"

Modules of verbs are imported whenever somebody asks for help, so they import what takes time inside their functions.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import typer
from typer.core import TyperGroup

from algorithms.register import Register

ENTRY_POINT_GROUP = "attnflow.verbs"
PACKAGE = "studies.cli.verbs"
LAST = 1000
"""Place in the help of a verb that asks for none."""

Run = TypeVar("Run", bound=Callable[..., object])


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Parameters
    ----------
    name
        As it is typed.
    order
        Verbs appear in the help in ascending order.
    app
        A typer application of this one command, or of its commands.
    grouped
        Whether it has commands of its own, such as ``validate dam``.
    source
        Module that registered it.
    """

    name: str
    order: int
    app: typer.Typer
    grouped: bool
    source: str

    def command(self) -> typer.core.TyperCommand | TyperGroup:
        """What typer runs when somebody types the name."""
        built = typer.main.get_group(self.app) if self.grouped else typer.main.get_command(self.app)
        built.name = self.name
        return built


VERBS: Register[Verb] = Register("verb", PACKAGE, ENTRY_POINT_GROUP)


def verb(name: str, *, order: int = LAST) -> Callable[[Run], Run]:
    """Register the decorated function as the verb `name`; its docstring is its help.

    Raises
    ------
    InputError
        If the name is taken; the message names both modules.
    """

    def register(function: Run) -> Run:
        app = typer.Typer(add_completion=False)
        app.command(name)(function)
        VERBS.add(name, Verb(name, order, app, False, function.__module__))
        return function

    return register


def verb_group(name: str, summary: str, *, order: int = LAST, module: str) -> typer.Typer:
    """Register a verb with commands of its own, which ``@group.command(NAME)`` adds to what is returned.

    Parameters
    ----------
    name, summary
        As it is typed, and its help.
    order
        As in `Verb`.
    module
        ``__name__`` of the caller.

    Raises
    ------
    InputError
        If the name is taken; the message names both modules.
    """
    app = typer.Typer(help=summary, no_args_is_help=True, add_completion=False)
    VERBS.add(name, Verb(name, order, app, True, module))
    return app


class VerbGroup(TyperGroup):
    """The command line: imports the one verb that is asked for, and all of them where all are shown."""

    def list_commands(self, ctx: typer.Context) -> list[str]:
        """Names of all verbs in the order of the help; raises as `algorithms.register.load_all`."""
        found = sorted(map(VERBS.get, VERBS.names()), key=lambda entry: (entry.order, entry.name))
        return [entry.name for entry in found]

    def get_command(self, ctx: typer.Context, cmd_name: str) -> typer.core.TyperCommand | TyperGroup | None:
        """The verb `cmd_name`, None if there is none; raises as `list_commands`."""
        if cmd_name not in self.commands:
            module = f"{PACKAGE}.{cmd_name}"
            if cmd_name.isidentifier() and importlib.util.find_spec(module):
                importlib.import_module(module)
            found = VERBS.present(cmd_name)
            if found is None:
                # it is in a file of another name, of another distribution, or misspelt
                self.commands = {name: VERBS.get(name).command() for name in self.list_commands(ctx)}
            else:
                self.commands[cmd_name] = found.command()
        return self.commands.get(cmd_name)
