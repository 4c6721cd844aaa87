"""The command line `attnflow`. Commands import what they need when they run: ``--help`` has to be instant."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 ok; 1 a comparison, constraint or validation failed; 2 bad input, or no room on a disk; 3 the design
    deadlocks or does not fit; 130 stopped by Ctrl-C.
    """
    from studies.cli.app import run_command_line
    from studies.running.cache_place import settle_cache

    settle_cache()
    try:
        return run_command_line(arguments)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f": {error.filename}" if error.filename else ""
        sys.stderr.write(
            f"{os.strerror(error.errno)}{where}; make room and repeat the command"
            " (NUMBA_CACHE_DIR names another place for compiled code)\n"
        )
        return 2
