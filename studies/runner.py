"""Runs many design points on any `concurrent.futures.Executor`; nothing is lost, whatever a point does.

Workers only compute and return outcomes; the caller of `run_points` alone records them. A point that raises
is an outcome with its reason. A worker that dies takes the whole pool with it, and the pool cannot say which
point it was working on: the points that were in flight are then tried again one at a time, so that exactly
the culprit gets the blame.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import ParamSpec, Protocol, TypeVar

from studies.space import DesignPoint
from studies.store import Outcome

P = ParamSpec("P")
T = TypeVar("T")
Evaluate = Callable[[DesignPoint], Outcome]
OpenExecutor = Callable[[int], Executor]
"""Makes an executor with that many workers."""

_IN_FLIGHT_PER_WORKER = 4
_THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Observer(Protocol):
    """Told about progress as it happens."""

    def advance(self, outcomes: Sequence[Outcome]) -> None:
        """These outcomes have just been recorded."""


def available_cpus() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_processes(workers: int) -> Executor:
    """Local worker processes, started afresh so that they inherit no threads and no open files."""
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)


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


def run_points(
    points: Iterable[DesignPoint],
    evaluate: Evaluate,
    record: Callable[[Sequence[Outcome]], None],
    *,
    workers: int,
    open_executor: OpenExecutor = open_processes,
    observer: Observer | None = None,
) -> None:
    """Evaluate every point and record every outcome, in the order in which they finish.

    Parameters
    ----------
    points
        What to evaluate.
    evaluate
        A picklable function that turns whatever a point raises into an outcome itself.
    record
        Called in this process with the outcomes that have just finished; returns once they are safe.
    workers
        How many points are evaluated at the same time.
    open_executor
        Makes the executor; called again for a fresh one when its workers died.
    observer
        Told about outcomes after they were recorded.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C: what had finished is recorded, what was running is given up.
    """

    def keep(outcomes: Sequence[Outcome]) -> None:
        record(outcomes)
        if observer is not None:
            observer.advance(outcomes)

    waiting = deque(points)
    while waiting:
        limit = _IN_FLIGHT_PER_WORKER * workers
        suspects = deque(_run_until_broken(waiting, evaluate, keep, workers, limit, open_executor))
        while suspects:
            for culprit in _run_until_broken(suspects, evaluate, keep, 1, 1, open_executor):
                keep([_death(culprit)])


def _run_until_broken(
    waiting: deque[DesignPoint],
    evaluate: Evaluate,
    keep: Callable[[Sequence[Outcome]], None],
    workers: int,
    limit: int,
    open_executor: OpenExecutor,
) -> list[DesignPoint]:
    """Work through `waiting`, `limit` in flight; if a worker dies, return the points that were in flight."""
    suspects: list[DesignPoint] = []
    with _executor(open_executor, workers) as executor:
        in_flight: dict[Future[Outcome], DesignPoint] = {}
        while (waiting and not suspects) or in_flight:
            try:
                while waiting and not suspects and len(in_flight) < limit:
                    in_flight[executor.submit(evaluate, waiting[0])] = waiting[0]
                    waiting.popleft()
            except BrokenExecutor:
                if not in_flight:
                    return [waiting.popleft()]
                # otherwise every future in flight says so as well, and is dealt with below
            finished, _ = wait(in_flight, return_when=FIRST_COMPLETED)
            outcomes = []
            for future in finished:
                point = in_flight.pop(future)
                if isinstance(future.exception(), BrokenExecutor):
                    suspects.append(point)
                else:
                    outcomes.append(_outcome(point, future))
            if outcomes:
                keep(outcomes)
    return suspects


def _outcome(point: DesignPoint, future: Future[Outcome]) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    # an evaluation reports its own errors; this is a result that could not travel, for example
    return Outcome(point.key, "failed", {}, {}, f"{type(error).__name__}: {error}")


def _death(point: DesignPoint) -> Outcome:
    reason = "the worker process died while it evaluated this point; perhaps it ran out of memory"
    return Outcome(point.key, "failed", {}, {}, reason)


@contextmanager
def _executor(open_executor: OpenExecutor, workers: int) -> Iterator[Executor]:
    """An executor whose workers use one thread each and do not outlive an interrupt."""
    before = {name: os.environ.get(name) for name in _THREAD_SETTINGS}
    os.environ.update({name: value or "1" for name, value in before.items()})
    executor = open_executor(workers)
    try:
        yield executor
    except BaseException:
        _give_up(executor)
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


def _give_up(executor: Executor) -> None:
    """End worker processes that are still computing; nobody waits for their results any more."""
    processes = getattr(executor, "_processes", None) or {}
    executor.shutdown(wait=False, cancel_futures=True)
    for process in list(processes.values()):
        process.terminate()


def _start_worker() -> None:
    """Runs first in every worker: Ctrl-C is the parent's business, and no worker outlives the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True, name="follow-parent").start()
