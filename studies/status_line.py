"""The line on a terminal that says how far a command is: whatever else is written to the terminal clears it first."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CLEAR = "\r\x1b[K"


class StatusLine:
    """A line that is written over; there is one for the process, `STATUS`."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._drawn = False
        self._holders = 0

    @property
    def is_held(self) -> bool:
        """Whether something shows what it does itself."""
        return self._holders > 0

    def show(self, text: str) -> None:
        """Write this in place of what stands there, unless something shows what it does itself."""
        with self._lock:
            if not self.is_held:
                self._write(f"{_CLEAR}{text[: shutil.get_terminal_size().columns - 1]}")
                self._drawn = True

    def clear(self) -> None:
        """Leave the cursor at the start of an empty line, if the line stands there."""
        with self._lock:
            if self._drawn:
                self._drawn = False
                self._write(_CLEAR)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """The body writes something else: the line is cleared, and does not come back before it is written."""
        with self._lock:
            self.clear()
            yield

    @contextmanager
    def held(self) -> Iterator[None]:
        """The body shows what it does itself: nothing is shown until it ends."""
        with self._lock:
            self._holders += 1
            self.clear()
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1

    def _write(self, text: str) -> None:
        if sys.stderr is not None and not sys.stderr.closed:
            with suppress(OSError):
                sys.stderr.write(text)
                sys.stderr.flush()


STATUS = StatusLine()
"""The line of this process."""
