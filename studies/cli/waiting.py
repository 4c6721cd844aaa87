"""What people see of a verb that takes long: how far it is and how long it will still take, on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from studies.cli.printing import tell
from studies.status_line import STATUS
from studies.words import span

LOOK_EVERY_S = 0.5
SILENT_S = 2.0
"""A terminal hears nothing from verbs that are faster."""
LINE_EVERY_S = 4.0
"""Where lines stay, one comes so often, and of most verbs only if it says how far a run is."""
OWN_PROGRESS = frozenset({"measure"})
"""Verbs that show what they do themselves, from their start."""
OF_POINTS = frozenset({"sweep", "search"})
"""Verbs that tell of points instead of firings, and show that themselves once their workers start."""
NEVER_SILENT = OF_POINTS | {"report"}
"""What everybody's first minutes consist of: where lines stay, these say early, with the time alone, that they run."""
TRUSTED_AFTER_S = 4.0
"""A rate that was seen for less says nothing."""


class Pace:
    """Rate and time left, whatever holds a run up once: the longest pause is left out.

    A run that compiles something stands still for a minute, at its start or amid its work, and then goes on a thousand
    times as fast; a rate that counts this minute promises hours.

    Parameters
    ----------
    done, total
        How much is done, of how much, when it is told first.
    now_s
        When that is, of any clock that is never set back.
    """

    def __init__(self, done: int, total: int, now_s: float) -> None:
        self.done = done
        self.total = total
        self._first_done = done
        self._first_s = self._moved_s = now_s
        self._longest_s = 0.0
        self._longest_done = 0

    def note(self, done: int, total: int, now_s: float) -> None:
        """This much is done, not less than before."""
        self.total = total
        if done == self.done:
            return
        if now_s - self._moved_s >= self._longest_s:
            self._longest_s, self._longest_done = now_s - self._moved_s, done - self.done
        self.done, self._moved_s = done, now_s

    def left_s(self, now_s: float) -> float | None:
        """Seconds left; None before a rate can be trusted, in a pause longer than all work so far, and at the end."""
        moving_s = self._moved_s - self._first_s - self._longest_s
        moved = self.done - self._first_done - self._longest_done
        if not self.done < self.total or moved <= 0 or moving_s < TRUSTED_AFTER_S or now_s - self._moved_s > moving_s:
            return None
        return (self.total - self.done) * moving_s / moved


class Waiting:
    """Shows how far the body is, as it reports it (`simulator.engines.progress`); use as a context manager.

    Parameters
    ----------
    words
        The command line.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._verb = words[0] if words else ""
        wanted = self._verb and not self._verb.startswith("-") and self._verb not in OWN_PROGRESS
        quiet = any(word in ("--quiet", "-q", "--help") for word in words)
        self._shown = bool(wanted) and not quiet and sys.stderr is not None
        self._live = self._shown and sys.stderr.isatty()
        self._reports: dict[str, Pace] = {}
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="waiting")

    def __enter__(self) -> Self:
        if self._shown:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._shown:
            self._thread.join()
            self._listen("leave")

    def note(self, what: str, done: int, total: int) -> None:
        """This much is done; what is reported first holds everything that is reported later."""
        pace = self._reports.get(what)
        if pace is None or done < pace.done:
            self._reports[what] = Pace(done, total, time.monotonic())
        else:
            pace.note(done, total, time.monotonic())

    def line(self) -> str:
        """How far it is: the outermost report with its time left, then where the innermost stands."""
        reports = [(what, pace) for what, pace in self._reports.copy().items() if pace.total > 0]
        now = time.monotonic()
        parts = [f"{self._verb}: {span(now - self._started)} so far"]
        for place, (what, pace) in enumerate(reports):
            part = f"{pace.done:,} of {pace.total:,} {what}"
            left_s = pace.left_s(now) if place == 0 else None
            parts.append(part if left_s is None else f"{part}, about {span(left_s)} left")
        return "; ".join(parts)

    def _listen(self, how: str = "listen") -> bool:
        """Listen to the simulator as soon as the verb has imported it, which takes too long to do it here."""
        act = getattr(sys.modules.get("simulator.engines.progress"), how, None)
        if act is not None:
            act(self.note)
        return act is not None

    def _watch(self) -> None:
        speaks = self._verb in NEVER_SILENT
        shown_at = self._started - (LINE_EVERY_S - SILENT_S if speaks else 0.0)
        listening = False
        while not self._ended.wait(LOOK_EVERY_S):
            listening = listening or self._verb in OF_POINTS or self._listen()
            now = time.monotonic()
            if STATUS.is_held:
                shown_at = now
            elif self._live and now - self._started >= SILENT_S:
                STATUS.show(self.line())
            elif not self._live and now - shown_at >= LINE_EVERY_S and (self._reports or speaks):
                shown_at = now
                tell(f"{self.line()}\n")
        STATUS.clear()
