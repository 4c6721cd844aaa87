"""Runs many design points on any `concurrent.futures.Executor`; nothing is lost, whatever a point does.

Workers only compute and return outcomes; the caller alone records them. Quick points travel several to a task. A
point that raises, takes too long or too much memory is an outcome with its reason. A worker that dies takes its pool
with it, and the pool cannot say which point it was working on: the points that were in flight are then tried again
one at a time, so that exactly the culprit gets the blame.
"""

from __future__ import annotations

import ctypes
import dataclasses
import logging
import math
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import ParamSpec, Protocol, Self, TypeVar, runtime_checkable

from hwmodels.reading.errors import InputError, Problem
from studies.families.value_pass import tally
from studies.points.outcome import Outcome
from studies.points.point import DesignPoint
from studies.running.limits import GRACE, Limits, TimeLimitError
from studies.running.rehearsal import rehearse

P = ParamSpec("P")
T = TypeVar("T")
OpenExecutor = Callable[[int], Executor]
"""Makes an executor with that many workers."""

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_START_S = 120.0
"""With a time limit: how long nothing may come from new workers, which load and compile before their first point."""
_PATIENCE_S = 10.0
"""How long nothing may come from workers beyond what their tasks may take."""
_IN_FLIGHT_PER_WORKER = 2
_TASK_S = 0.5
"""Points are put together to tasks of about this length: long against sending one, short against a stop.

Neighbours of a sweep share what is prepared for their structure, which every task begins with.
"""
_LARGEST_TASK = 1024
_LARGEST_LIMITED_TASK = 128
"""With a time limit, which a worker that is stopped has for each of its points."""
_TURN = threading.Lock()
"""Limits, tallies and value passes are those of a process: workers with several threads take turns."""
_THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class ExecutorLostError(InputError):
    """The place where points are evaluated is gone or cannot be used: the run ends, no point is to blame."""


class Evaluate(Protocol):
    """Turns a point into its outcome."""

    def __call__(self, point: DesignPoint, /) -> Outcome: ...


@runtime_checkable
class EvaluatesMany(Evaluate, Protocol):
    """An evaluation of points that may do better with several at a time; without limits it is given a whole task."""

    def many(self, points: Sequence[DesignPoint]) -> Iterator[Outcome]:
        """Outcomes in the order of the points."""


class Observer(Protocol):
    """Told about progress as it happens."""

    def advance(self, outcomes: Sequence[Outcome]) -> None:
        """These outcomes have just been recorded."""


def available_cpus() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_processes(workers: int) -> ProcessPoolExecutor:
    """Local worker processes, started afresh so that they inherit no threads and no open files."""
    context, parent = get_context("spawn"), os.getpid()
    return ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker, initargs=(parent,))


class InlineExecutor(Executor):
    """Runs every task at once in the calling process: for debugging, and where no process can be started."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the task and return its finished future."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def open_inline(workers: int) -> Executor:
    """No worker at all: everything happens in the calling process."""
    del workers
    return InlineExecutor()


class _Waiting:
    """Points that nobody has been given yet, asked for as they are needed.

    Parameters
    ----------
    ahead
        How many are held where there are so many: as long as there are, nobody needs to know how many are to come.
    """

    def __init__(self, points: Iterable[DesignPoint], ahead: int = 1) -> None:
        self._source = iter(points)
        self._ahead = ahead
        self._held: deque[DesignPoint] = deque()

    def __len__(self) -> int:
        """How many there are, at most as many as are held."""
        self._held.extend(islice(self._source, max(0, self._ahead - len(self._held))))
        return len(self._held)

    def first(self, count: int) -> list[DesignPoint]:
        """The first so many of those that are held."""
        return list(islice(self._held, count))

    def drop(self, count: int) -> None:
        """Forget the first so many."""
        for _ in range(count):
            self._held.popleft()


class Runner:
    """Workers for any number of calls of `run`; use as a context manager.

    Parameters
    ----------
    evaluate
        A picklable function that turns whatever a point raises into an outcome itself.
    workers
        How many points are evaluated at the same time.
    open_executor
        Makes the executor; called again for a fresh one when its workers died.
    limits
        Of each point.

    Raises
    ------
    InputError
        Without a worker nothing would ever be done.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        *,
        workers: int,
        open_executor: OpenExecutor = open_processes,
        limits: Limits | None = None,
    ) -> None:
        if workers < 1:
            raise InputError(Problem(f"must be at least 1 (got {workers})", field="workers"))
        self._evaluate = evaluate
        self._workers = workers
        self._open_executor = open_executor
        self._limits = limits or Limits()
        self._executor: Executor | None = None
        self._proved: Executor | None = None  # one that has finished something, so that its workers have started
        self._environment = ExitStack()
        self._point_s: float | None = None
        self._submitted = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None and kind is not None:
            _give_up(self._executor)
        self._close()

    def run(
        self,
        points: Iterable[DesignPoint],
        record: Callable[[Sequence[Outcome]], None],
        observer: Observer | None = None,
    ) -> None:
        """Evaluate every point and record every outcome, in the order in which they finish.

        Parameters
        ----------
        points
            What to evaluate; made while others are evaluated, if they are made when they are asked for.
        record
            Called in this process with the outcomes that have just finished; returns once they are safe.
        observer
            Told about outcomes after they were recorded.

        Raises
        ------
        ExecutorLostError
            The executor cannot go on; what had finished is recorded.
        KeyboardInterrupt
            After Ctrl-C: what had finished is recorded, what was running is given up.
        """

        def keep(outcomes: Sequence[Outcome]) -> None:
            record(outcomes)
            if observer is not None:
                observer.advance(outcomes)

        waiting = _Waiting(points, ahead=_IN_FLIGHT_PER_WORKER * self._workers * _LARGEST_TASK)
        while waiting:
            suspects = _Waiting(self._until_broken(waiting, keep))
            while suspects:
                for culprit in self._until_broken(suspects, keep, alone=True):
                    keep([self._death(culprit, time.monotonic() - self._submitted)])

    def _until_broken(
        self, waiting: _Waiting, keep: Callable[[Sequence[Outcome]], None], *, alone: bool = False
    ) -> list[DesignPoint]:
        """Work through `waiting`; if a worker dies, return the points that were in flight then.

        With `alone` there is one point in flight at any time, so that it is the one to blame.
        """
        suspects: list[DesignPoint] = []
        in_flight: dict[Future[list[Outcome]], list[DesignPoint]] = {}
        limit = 1 if alone else _IN_FLIGHT_PER_WORKER * self._workers
        while (waiting and not suspects) or in_flight:
            try:
                while waiting and not suspects and len(in_flight) < limit:
                    task = waiting.first(1 if alone else self._task_size(len(waiting)))
                    with _main_hidden(self._evaluate):
                        future = self._open().submit(_evaluate_all, self._evaluate, self._limits, task)
                    in_flight[future] = task
                    self._submitted = time.monotonic()
                    waiting.drop(len(task))
            except BrokenExecutor:
                if not in_flight:
                    self._close()
                    culprit = waiting.first(1)
                    waiting.drop(1)
                    return culprit
                # otherwise every future in flight says so as well, and is dealt with below
            finished, _ = wait(in_flight, self._deadline_s(in_flight.values()), return_when=FIRST_COMPLETED)
            if not finished and self._end_workers():
                finished, _ = wait(in_flight, return_when=FIRST_COMPLETED)
            outcomes: list[Outcome] = []
            lost: ExecutorLostError | None = None
            for future in finished:
                task, error = in_flight.pop(future), future.exception()
                if isinstance(error, ExecutorLostError):
                    lost = error
                elif isinstance(error, BrokenExecutor):
                    suspects += task
                else:
                    outcomes += _outcomes(task, future)
            if outcomes:
                self._proved = self._executor
                self._learn(outcomes)
                keep(outcomes)
            if lost is not None:
                raise lost
        if suspects:
            self._close()
        return suspects

    def _deadline_s(self, tasks: Iterable[Sequence[DesignPoint]]) -> float | None:
        """Seconds after which workers that have sent nothing are ended, on this computer's clock; None for never.

        Limits end evaluations by what they use; one that is stopped, or waits for a disk that is gone, uses nothing.
        """
        time_s = self._limits.time_s
        if time_s is None or self._executor is None or not _processes_of(self._executor):
            return None
        margin = _PATIENCE_S if self._proved is self._executor else _START_S
        return margin + (1 + GRACE) * time_s * max(map(len, tasks))

    def _end_workers(self) -> bool:
        """End all worker processes, so that their tasks fail; False where there are none."""
        processes = _processes_of(self._executor) if self._executor is not None else []
        _kill(processes)
        return bool(processes)

    def _open(self) -> Executor:
        """The executor, made when there is none; processes that it starts at any time use one thread each."""
        if self._executor is None:
            self._environment.enter_context(one_thread())
            self._executor = self._open_executor(self._workers)
        return self._executor

    def _close(self) -> None:
        if self._executor is not None:
            # a worker that is stopped, or still waits for a disk that is gone, would be waited for without end
            late = threading.Timer(_PATIENCE_S, _kill, [_processes_of(self._executor)])
            late.daemon = True
            late.start()
            try:
                self._executor.shutdown(wait=True, cancel_futures=True)
            finally:
                late.cancel()
            self._executor = None
        self._environment.close()

    def _task_size(self, waiting: int) -> int:
        """Points for the next task: as many as take `_TASK_S`, but leave something for the other workers."""
        if self._point_s is None:
            return 1
        most = _LARGEST_TASK if self._limits.time_s is None else _LARGEST_LIMITED_TASK
        fitting = min(most, round(_TASK_S / max(self._point_s, 1e-6)))
        return max(1, min(fitting, math.ceil(waiting / (_IN_FLIGHT_PER_WORKER * self._workers))))

    def _learn(self, outcomes: Sequence[Outcome]) -> None:
        """Note how long points take: a mean over the last ones."""
        for outcome in outcomes:
            before = outcome.wall_s if self._point_s is None else self._point_s
            self._point_s = 0.8 * before + 0.2 * outcome.wall_s

    def _death(self, point: DesignPoint, spent_s: float) -> Outcome:
        time_s = self._limits.time_s
        reason = "the worker process died while it evaluated this point; perhaps it ran out of memory"
        if time_s is not None and spent_s >= time_s:
            reason = f"took longer than its time limit of {time_s:g} s, and its worker had to be ended"
        return Outcome(point.key, "failed", {}, None, reason, wall_s=spent_s)


def run_points(
    points: Iterable[DesignPoint],
    evaluate: Evaluate,
    record: Callable[[Sequence[Outcome]], None],
    *,
    workers: int,
    open_executor: OpenExecutor = open_processes,
    limits: Limits | None = None,
    observer: Observer | None = None,
) -> None:
    """Evaluate every point once: `Runner.run` with workers for this call only."""
    with Runner(evaluate, workers=workers, open_executor=open_executor, limits=limits) as runner:
        runner.run(points, record, observer)


def _evaluate_all(evaluate: Evaluate, limits: Limits, points: Sequence[DesignPoint]) -> list[Outcome]:
    """A task: what a worker does with some points."""
    if limits == Limits() and isinstance(evaluate, EvaluatesMany):
        with _TURN:
            return _evaluate_together(evaluate, points)
    outcomes = []
    for point in points:
        with _TURN:
            if limits != Limits():
                rehearse(point)
            outcomes.append(_evaluate_one(evaluate, limits, point))
    return outcomes


def _evaluate_together(evaluate: EvaluatesMany, points: Sequence[DesignPoint]) -> list[Outcome]:
    outcomes = []
    before = tally()
    for outcome in evaluate.many(points):
        now = tally()
        if now != before:
            outcome = dataclasses.replace(outcome, value_passes=dict(now - before))
            before = now
        outcomes.append(outcome)
    return outcomes


def _evaluate_one(evaluate: Evaluate, limits: Limits, point: DesignPoint) -> Outcome:
    started = time.perf_counter()
    before = tally()
    try:
        with limits.hold():
            outcome = evaluate(point)
    except TimeLimitError as late:
        outcome = Outcome(point.key, "failed", {}, None, str(late))
    except Exception as unforeseen:  # an evaluation reports its own errors; this is one that it could not
        why = f"{type(unforeseen).__name__}: {unforeseen}".rstrip(": ")
        outcome = Outcome(point.key, "failed", {}, None, why)
    error = outcome.error
    if limits.memory_bytes is not None and error is not None and "MemoryError" in error:
        error = f"needs more memory than its limit of {limits.memory_bytes / 2**20:,.0f} MiB"
    return dataclasses.replace(
        outcome,
        error=error,
        wall_s=outcome.wall_s or time.perf_counter() - started,
        value_passes=dict(tally() - before),
    )


def _outcomes(task: Sequence[DesignPoint], future: Future[list[Outcome]]) -> list[Outcome]:
    error = future.exception()
    if error is None:
        return future.result()
    # a result that could not travel, for example
    return [Outcome(point.key, "failed", {}, None, f"{type(error).__name__}: {error}") for point in task]


@contextmanager
def _main_hidden(evaluate: Evaluate) -> Iterator[None]:
    """Processes that start within do not run the caller's script again, so that it needs no guard against that.

    They have to when the evaluation is defined there.
    """
    main = sys.modules["__main__"]
    if getattr(evaluate, "__module__", None) == "__main__":
        yield
        return
    kept: dict[str, object] = {name: vars(main).pop(name) for name in ("__file__", "__spec__") if name in vars(main)}
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(kept)


@contextmanager
def one_thread() -> Iterator[None]:
    """Processes that start within use one thread each, unless the user decided otherwise."""
    before = {name: os.environ.get(name) for name in _THREAD_SETTINGS}
    os.environ.update({name: value or "1" for name, value in before.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _give_up(executor: Executor) -> None:
    """End worker processes that are still computing; nobody waits for their results any more."""
    processes = _processes_of(executor)
    executor.shutdown(wait=False, cancel_futures=True)
    _kill(processes)


def _kill(processes: Iterable[BaseProcess]) -> None:
    for process in processes:
        process.kill()  # they have nothing to put away, and one that is stopped would not hear anything else


def _processes_of(executor: Executor) -> list[BaseProcess]:
    """Worker processes of an executor on this computer; none of any other."""
    return list((getattr(executor, "_processes", None) or {}).values())


def start_worker(parent_pid: int) -> None:
    """Runs first in every worker: Ctrl-C is the parent's business, and no worker outlives the parent.

    The system ends it (Linux), whatever it computes or waits for; elsewhere a thread does, once it gets its turn.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.WARNING)  # of plug-ins that are left out, for example: the parent has said so
    _die_with_parent()
    if os.getppid() != parent_pid:  # it died before that could be asked for
        os._exit(1)
    parent = parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True, name="follow-parent").start()


def _die_with_parent() -> None:
    """Ask Linux to kill this process when the thread that started it ends."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
