"""SLURM jobs that run the workers of a Dask scheduler: submitted, watched, replaced when they end, cancelled.

dask-jobqueue describes a job (its script, from the user's configuration); this module calls ``sbatch``, ``squeue`` and
``scancel`` itself, so that what SLURM answers reaches the user: a refusal at once, the reason a job waits, the log of
a job that ended before it was of use. A job that ends after its worker had joined, because its time was up for
example, is replaced by a new one.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from hwmodels.reading.errors import InputError, Problem
from studies.running.runner import ExecutorLostError

JOINS_EVERY_S = 0.2
QUEUE_EVERY_S = 5.0
TELL_EVERY_S = 60.0
"""A reason to wait is repeated that often."""
PATIENCE_S = 24 * 3600.0
"""For the first worker; queues of clusters can be long."""
_ANSWER_S = 60.0


@dataclass(frozen=True)
class SlurmJob:
    """What is submitted as one job.

    Parameters
    ----------
    name
        Of its Dask worker; those of a job with several processes have ``-0``, ``-1``, ... behind it.
    script
        For ``sbatch``.
    log
        File that its errors go to; ``%J`` stands for the number of the job.
    """

    name: str
    script: str
    log: str


class SlurmJobs:
    """That many jobs, kept alive from `start` to the end of the context.

    Parameters
    ----------
    describe
        Makes a job for a worker of this name.
    count
        How many.
    joined
        Names of the workers that the scheduler has now.
    tell
        Takes lines for people.

    Attributes
    ----------
    lost : Future
        Ends with an `ExecutorLostError` when all jobs have ended and none is replaced.
    """

    def __init__(
        self,
        describe: Callable[[str], SlurmJob],
        count: int,
        joined: Callable[[], Iterable[str]],
        tell: Callable[[str], None],
    ) -> None:
        self._describe, self._count, self._joined, self._tell = describe, count, joined, tell
        self.lost: Future[None] = Future()
        self._jobs: dict[str, SlurmJob] = {}
        self._useful: set[str] = set()  # jobs whose worker has joined
        self._submitted = 0
        self._told: tuple[str, float] = ("", time.monotonic())
        self._first, self._stop = threading.Event(), threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="watch-slurm")

    def __enter__(self) -> Self:
        """Submit the jobs.

        Raises
        ------
        InputError
            SLURM does not take them.
        """
        try:
            for _ in range(self._count):
                self._submit()
        except BaseException:
            self._cancel()
            raise
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        try:
            self._watcher.join()
        finally:
            self._cancel()

    def wait_for_worker(self) -> None:
        """Return when the first worker has joined.

        Raises
        ------
        InputError
            It never did.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not self._first.wait(JOINS_EVERY_S):
            if self.lost.done():
                self.lost.result()
            if time.monotonic() > deadline:
                text = f"no worker has joined within {PATIENCE_S / 3600:g} h: {self._told[0] or 'its job waits'}"
                raise InputError(Problem(text, field="--slurm"))

    def _submit(self) -> None:
        self._submitted += 1
        job = self._describe(f"attnflow-{os.getpid()}-{self._submitted}")
        answer = _call("sbatch", "--parsable", script=job.script)
        self._jobs[answer.strip().partition(";")[0]] = job

    def _watch(self) -> None:
        """What the thread does: see workers join, and from time to time how the jobs are."""
        try:
            looked = time.monotonic() - QUEUE_EVERY_S + 1
            while not self._stop.wait(JOINS_EVERY_S):
                self._see_workers()
                if time.monotonic() - looked >= QUEUE_EVERY_S:
                    looked = time.monotonic()
                    self._see_queue()
        except InputError as error:
            self.lost.set_exception(ExecutorLostError(error.problems))

    def _see_workers(self) -> None:
        names = list(self._joined())
        for number, job in self._jobs.items():
            if number not in self._useful and any(_belongs(name, job.name) for name in names):
                self._useful.add(number)
                self._first.set()

    def _see_queue(self) -> None:
        queue = _queue()
        if queue is None:  # SLURM does not answer now; its jobs may be fine
            return
        ended = [number for number in self._jobs if number not in queue]
        self._see_workers()  # one may have joined just before it ended
        for number in ended:
            job = self._jobs.pop(number)
            if number in self._useful:
                self._tell(f"SLURM job {number} has ended and is replaced; its log: {_log(job, number)}")
                self._submit()
                continue
            text = f"SLURM job {number} ended before its worker joined: {_last_line(job, number)}"
            if not self._jobs:
                raise InputError(Problem(f"{text}; no other job is left", field="--slurm"))
            self._tell(text)
        self._tell_of(queue)

    def _tell_of(self, queue: dict[str, tuple[str, str]]) -> None:
        """Say how many jobs wait, and why, when that changes and once a minute while none runs."""
        waiting = [reason for number, (state, reason) in queue.items() if number in self._jobs and state == "PENDING"]
        reasons = ", ".join(sorted(set(waiting)))
        text = f"{len(waiting)} of {len(self._jobs)} SLURM jobs wait in the queue ({reasons})" if waiting else ""
        before, at = self._told
        again = len(waiting) == len(self._jobs) and time.monotonic() - at >= TELL_EVERY_S
        if text != before or (text and again):
            self._told = (text, time.monotonic())
            if text:
                self._tell(text)

    def _cancel(self) -> None:
        """Take all jobs out of the queue; a second Ctrl-C does not reach the program that does it."""
        if self._jobs:
            numbers, self._jobs = list(self._jobs), {}
            try:
                _call("scancel", "--quiet", *numbers)
            except InputError as error:
                self._tell(f"{error}; cancel what is left with: scancel {' '.join(numbers)}")


def _belongs(worker: str, job: str) -> bool:
    return worker == job or worker.startswith(f"{job}-")


def _queue() -> dict[str, tuple[str, str]] | None:
    """State and reason of all jobs of this user by number; None when SLURM does not answer."""
    try:
        answer = _call("squeue", "--noheader", f"--user={os.getuid()}", "--format=%A|%T|%r")
    except InputError:
        return None
    rows = (line.strip().split("|", 2) for line in answer.splitlines())
    return {row[0]: (row[1], row[2]) for row in rows if len(row) == 3}


def _log(job: SlurmJob, number: str) -> str:
    return job.log.replace("%J", number)


def _last_line(job: SlurmJob, number: str) -> str:
    """The end of a job's log, and where it is."""
    try:
        lines = Path(_log(job, number)).read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return f"it wrote no log {_log(job, number)}"
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return f"{last[:200]} ({_log(job, number)})"


def _call(program: str, *arguments: str, script: str | None = None) -> str:
    """What a program of SLURM prints.

    Raises
    ------
    InputError
        It is not there, does not answer or refuses.
    """
    try:
        done = subprocess.run(
            [program, *arguments],
            input=script or "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_S,
            check=False,
            start_new_session=True,
        )
    except OSError as error:
        where = "; start this where SLURM is at hand, on a login node for example"
        raise InputError(Problem(f"{program} does not start: {error.strerror}{where}", field="--slurm")) from None
    except subprocess.TimeoutExpired:
        raise InputError(Problem(f"{program} has not answered within {_ANSWER_S:.0f} s", field="--slurm")) from None
    if done.returncode != 0:
        lines = (line.strip().removeprefix(f"{program}: ").removeprefix("error: ") for line in done.stderr.splitlines())
        told = "; ".join(line for line in lines if line) or f"exit code {done.returncode}"
        raise InputError(Problem(f"{program} refuses: {told}", field="--slurm"))
    return done.stdout
