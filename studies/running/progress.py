"""Progress of a sweep on stderr: a bar on a terminal, else plain lines, always with rate and time left."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from studies.points.outcome import Outcome
from studies.status_line import STATUS
from studies.words import span

_LINE_EVERY_S = 4.0
_QUIET_FOR_S = 30.0
"""How long nothing may be heard once points come; before, a line every `_LINE_EVERY_S` says that workers start."""


class Progress:
    """Counts outcomes and shows them; use as a context manager.

    Parameters
    ----------
    total
        Points to evaluate now.
    quiet
        Count only.
    """

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        self.total = total
        self.done = 0
        self.failed = 0
        self.value_passes: Counter[str] = Counter()
        self._started = self._shown_at = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._quiet = quiet or sys.stderr is None
        self._bar = None if quiet or sys.stderr is None or not sys.stderr.isatty() else _Bar(total)
        self._held = ExitStack()
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self._heart = threading.Thread(target=self._beat, daemon=True, name="progress")

    def __enter__(self) -> Self:
        self._held.enter_context(STATUS.held())
        if self._bar is not None:
            self._bar.start()
        elif not self._quiet and self.total:
            self._say_nothing_comes()
            self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._heart.is_alive():
            self._heart.join()
        if self._bar is not None:
            self._bar.stop()
        self._held.close()

    def _beat(self) -> None:
        """Say so where nothing comes: who waits cannot see whether workers start or hang."""
        while not self._ended.wait(_LINE_EVERY_S):
            with self._writing:
                now = time.monotonic()
                if now - self._shown_at >= (_LINE_EVERY_S if self._first is None else _QUIET_FOR_S):
                    self._shown_at = now
                    self._say_nothing_comes()

    def _say_nothing_comes(self) -> None:
        what = "; workers start" if self._first is None else ""
        sys.stderr.write(f"{self.done}/{self.total} points, {span(self.elapsed_s)} so far{what}\n")
        sys.stderr.flush()

    @property
    def elapsed_s(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._started

    @property
    def points_per_s(self) -> float:
        """Rate so far."""
        return self.done / max(self.elapsed_s, 1e-9)

    @property
    def value_passes_reused(self) -> float | None:
        """Share of value passes that were taken from an earlier point; None without any."""
        total = self.value_passes.total()
        return self.value_passes["reused"] / total if total else None

    def expect(self, total: int) -> None:
        """There are so many points to evaluate now; what was said before was an estimate."""
        self.total = total
        if self._bar is not None:
            self._bar.expect(total)

    def advance(self, outcomes: Sequence[Outcome]) -> None:
        """These outcomes have been recorded."""
        with self._writing:
            self._count(outcomes)

    def _count(self, outcomes: Sequence[Outcome]) -> None:
        self.done += len(outcomes)
        self.failed += sum(outcome.status == "failed" for outcome in outcomes)
        for outcome in outcomes:
            self.value_passes.update(outcome.value_passes)
        if self._bar is not None:
            self._bar.show(self.done, self._failures())
        elif not self._quiet and time.monotonic() - self._shown_at >= _LINE_EVERY_S:
            self._shown_at = time.monotonic()
            sys.stderr.write(f"{self.done}/{self.total} points{self._failures()}{self._pace()}\n")
        if self._first is None:
            self._first = (time.monotonic(), self.done)

    def _pace(self) -> str:
        """Rate and time left, of all but the first outcomes: workers start, and load what is compiled, before these."""
        if self._first is None:
            return ""
        first_at, first_done = self._first
        rate = (self.done - first_done) / max(time.monotonic() - first_at, 1e-9)
        return f", {rate:.1f} points/s, about {span((self.total - self.done) / rate)} left" if rate else ""

    def _failures(self) -> str:
        return f", {self.failed} failed" if self.failed else ""


class _Bar:
    """A `rich` progress bar."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._progress = RichProgress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("points{task.fields[failures]}, {task.fields[rate]}, left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("", total=total, failures="", rate="-")

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def expect(self, total: int) -> None:
        self._progress.update(self._task, total=total)

    def show(self, done: int, failures: str) -> None:
        speed = self._progress.tasks[0].speed
        rate = f"{speed:.1f} points/s" if speed else "-"
        self._progress.update(self._task, completed=done, failures=failures, rate=rate)
