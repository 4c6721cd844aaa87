"""Texts on their way to people: no name can steer a terminal, and no stream can end a command in a traceback."""

from __future__ import annotations

import errno
import re
import sys
from contextlib import suppress
from typing import TextIO

from studies.status_line import STATUS

_STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that move a cursor, colour, ring or reorder text: controls (not tab, line feed), marks of direction."""


class OutputGoneError(Exception):
    """Nobody takes the result: stdout is closed, or whoever read it has stopped.

    Parameters
    ----------
    closed
        Whether it was closed from the beginning, so that nothing of the result has been seen.
    """

    def __init__(self, *, closed: bool) -> None:
        super().__init__("stdout is closed")
        self.closed = closed


def harmless(text: str) -> str:
    r"""The text with characters that would steer a terminal written as their numbers.

    >>> harmless("a\x1b[31mb\ttab")
    'a\\x1b[31mb\ttab'
    """
    return _STEERS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def put(text: str) -> None:
    """Write a result to stdout.

    Raises
    ------
    OutputGoneError
        Nobody takes it.
    OSError
        It cannot be written for another reason, a full disk for example.
    """
    if sys.stdout is None or sys.stdout.closed:
        raise OutputGoneError(closed=True)
    try:
        with STATUS.aside():
            _write(sys.stdout, text)
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EBADF):
            raise
        raise OutputGoneError(closed=error.errno == errno.EBADF) from None


def tell(text: str) -> None:
    """Write lines for people to stderr, or nowhere if nobody listens."""
    if sys.stderr is None or sys.stderr.closed:
        return
    with STATUS.aside(), suppress(OSError):
        _write(sys.stderr, harmless(text))


def _write(stream: TextIO, text: str) -> None:
    """Write what the encoding of the stream has, and the rest as numbers."""
    try:
        stream.write(text)
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
