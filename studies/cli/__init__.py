"""The command line `attnflow`. Commands import what they need when they run: ``--help`` has to be instant."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from studies.cli.printing import OutputGoneError, tell

INTERRUPTED = 130
"""Exit code after Ctrl-C, as of a program that the signal itself ended."""
_RAISES = signal.default_int_handler
"""What Python does about Ctrl-C where nobody has decided anything else."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 ok; 1 a comparison, constraint or validation failed; 2 bad input, or no room on a disk; 3 the design
    deadlocks or does not fit; 130 stopped by Ctrl-C.
    """
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def entry() -> None:
    """What the installed command calls: `main`, and the end of the process with its exit code."""
    # imports make objects that stay: looking through them for garbage after every 700 is a tenth of the start
    gc.set_threshold(50_000, 20, 50)
    # pydantic would read what every installed distribution says of itself, to look for plug-ins that nobody here uses
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is _RAISES:
        # an exception would be lost where it passes code that takes none: callbacks of libraries, names of classes.
        # Commands that have something to put away say so (`studies.cli.execution`), all others end at once
        signal.signal(signal.SIGINT, _leave)
    code = main()
    # the end of Python looks through all that is left for garbage, once more a fifth of a short command; it all goes
    gc.freeze()
    if code != INTERRUPTED:
        sys.exit(code)
    # Python ends by the signal itself, at its very end, if an interrupt has passed an `exec` on its way; and a second
    # Ctrl-C would do so during the end
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _leave)
    atexit._run_exitfuncs()
    _leave()


def _leave(number: int = 0, frame: FrameType | None = None) -> None:
    del number, frame
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(INTERRUPTED)


def _run(arguments: Sequence[str] | None) -> int:
    from studies.cli.app import run_command_line
    from studies.running.cache_place import settle_cache

    try:
        settle_cache()
        return run_command_line(arguments)
    except OutputGoneError as gone:
        if gone.closed:
            tell("the result cannot be written: stdout is closed\n")
            return 2
        _forget_stdout()
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f": {error.filename}" if error.filename else ""
        tell(
            f"{os.strerror(error.errno)}{where}; make room and repeat the command"
            " (NUMBA_CACHE_DIR names another place for compiled code)\n"
        )
        return 2


def _forget_stdout() -> None:
    """Let what is still in the buffer of stdout go nowhere: its reader has seen all that it wanted."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
