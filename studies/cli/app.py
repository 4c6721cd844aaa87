"""Assembles the verbs and turns what they raise into exit codes and single lines."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Annotated

import typer

from hwmodels.reading.errors import InputError, did_you_mean
from studies.cli.output import EXIT_BAD_INPUT, EXIT_DESIGN_FAILS, EXIT_OK, complain
from studies.cli.printing import OutputGoneError, put
from studies.cli.verb import HELP, verbs_for
from studies.cli.waiting import Waiting


def application(typed: str | None) -> typer.Typer:
    """What typer runs, for the first word of a command line: with that verb alone if that is known to be enough."""
    app = typer.Typer(
        name="attnflow",
        help="Cycle-level simulator and design-space explorer for streaming attention hardware.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": list(HELP)},
    )
    app.callback()(_options)  # it keeps the name of a verb even while it is the only one
    for entry in verbs_for(typed):
        entry.add(app)
    return app


def _version(asked: bool) -> None:
    """Print the version, and that is all."""
    if asked:
        from importlib.metadata import version

        put(f"attnflow {version('attnflow')}\n")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself."""
    del version


def run_command_line(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code and leaves the rest of the process alone."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        command = typer.main.get_command(application(words[0] if words else None))
        with Waiting(words):
            code = command.main(args=words, prog_name="attnflow", standalone_mode=False)
    except InputError as error:
        complain(str(error))
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        return 130
    except OutputGoneError:
        raise
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is not None:
            text = _plainly(" ".join(str(message()).split()))
            text = text.rstrip(".") + (_nearest(text) or _as_digits(text, words))
            if text:  # it is empty when no command was given, and the help has been shown instead
                complain(f"{text.rstrip('.')}; see --help")
            return EXIT_BAD_INPUT
        return _exit_code_of(error)
    return code if isinstance(code, int) else EXIT_OK


def _nearest(message: str) -> str:
    """The choice that was meant, where one of a list was mistyped."""
    found = re.search(r"'([^']+)' is not one of (.+)", message)
    hint = did_you_mean(found[1], re.findall(r"'([^']+)'", found[2])) if found else None
    return f"; {hint}" if hint and hint.startswith("did you mean") else ""


def _as_digits(message: str, words: Sequence[str]) -> str:
    """The whole number that was meant, where ``1e3`` was written for one."""
    found = re.search(r"'(--[^']+)': must be a whole number", message)
    given = [word.removeprefix(f"{found[1]}=") for word in words if word.startswith(f"{found[1]}=")] if found else []
    given += [value for option, value in pairwise(words) if found and option == found[1]]
    for text in given:
        with suppress(ValueError, OverflowError):
            if float(text).is_integer() and not text.isdigit():
                return f"; did you mean '{int(float(text))}'?"
    return ""


_PLAINLY = {
    r"Value error, ": "",
    r"Input should be a valid integer\b.*": "must be a whole number",
    r"Input should be a valid number\b.*": "must be a number",
    r"Input should ": "must ",
    r"greater than or equal to": "at least",
    r"less than or equal to": "at most",
}
"""What pydantic says of an option's value for programmers, and how it is said here."""


def _plainly(message: str) -> str:
    for theirs, ours in _PLAINLY.items():
        message = re.sub(theirs, ours, message)
    return message


def _exit_code_of(error: Exception) -> int:
    """Exit code for errors that a design can cause, in the simulator or by its size; others are defects and go on."""
    if isinstance(error, MemoryError):
        complain(f"too large for the memory of this computer: {str(error) or 'no more memory'}")
        return EXIT_BAD_INPUT
    if isinstance(error, OverflowError):
        complain("too large: a number of firings, cycles or bytes does not fit into 64 bits")
        return EXIT_BAD_INPUT
    if "simulator.errors" not in sys.modules:
        raise error
    from simulator.errors import AccountingError, CapacityError, NoProgressError, SimulatorError

    if isinstance(error, AccountingError) or not isinstance(error, SimulatorError):
        raise error
    complain(str(error))
    return EXIT_DESIGN_FAILS if isinstance(error, CapacityError | NoProgressError) else EXIT_BAD_INPUT
