"""The command line `attnflow`. Commands import what they need when they run: ``--help`` has to be instant."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 ok; 1 a comparison, constraint or validation failed; 2 bad input; 3 the design deadlocks or does not
    fit; 130 stopped by Ctrl-C.
    """
    from studies.cli.app import run_command_line

    return run_command_line(arguments)
