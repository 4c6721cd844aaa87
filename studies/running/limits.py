"""Limits of one evaluation: a point that takes too long or too much memory ends with a reason, not the sweep.

Two stages. First the evaluation is told: by a signal in the main thread of a worker, or an exception set in its
thread, and by the system's refusal of memory. An evaluation that does not listen, in compiled code for example, is
ended together with its worker by a timer of the system; `studies.running.runner` then finds the culprit.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

GRACE = 2.0
"""An evaluation that ignores its time limit may use this multiple of it as processor time, then its worker ends."""


class TimeLimitError(BaseException):
    """An evaluation took longer than its limit; no `Exception`, so that no evaluation takes it for one of its own."""


@dataclass(frozen=True)
class Limits:
    """What one point may use; None for no limit.

    Parameters
    ----------
    time_s
        Seconds, above 0.
    memory_bytes
        Memory on top of what the worker holds already (Linux only).
    """

    time_s: float | None = None
    memory_bytes: int | None = None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Run the body within the limits.

        Raises
        ------
        TimeLimitError
            In the body, when its time is up.
        MemoryError
            In the body, when its memory is used up.
        """
        with _time_limit(self.time_s), _memory_limit(self.memory_bytes):
            yield


@contextmanager
def _time_limit(time_s: float | None) -> Iterator[None]:
    if time_s is None:
        yield
        return
    message = f"took longer than its time limit of {time_s:g} s"
    in_main = threading.current_thread() is threading.main_thread()
    with _told_by_signal(time_s, message) if in_main else _told_by_thread(time_s, message):
        worker = multiprocessing.parent_process() is not None
        if worker:  # its default action ends the process, whatever holds the interpreter
            signal.setitimer(signal.ITIMER_PROF, GRACE * time_s)
        try:
            yield
        finally:
            if worker:
                signal.setitimer(signal.ITIMER_PROF, 0)


@contextmanager
def _told_by_signal(time_s: float, message: str) -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise TimeLimitError(message)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, time_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _told_by_thread(time_s: float, message: str) -> Iterator[None]:
    target, late = ctypes.c_ulong(threading.get_ident()), threading.Event()

    def ring() -> None:
        late.set()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(target, ctypes.py_object(TimeLimitError))

    timer = threading.Timer(time_s, ring)
    timer.daemon = True
    timer.start()
    try:
        yield
    except TimeLimitError:
        raise TimeLimitError(message) from None
    finally:
        timer.cancel()
        if not late.is_set():
            timer.join()


@contextmanager
def _memory_limit(memory_bytes: int | None) -> Iterator[None]:
    held = _data_bytes() if memory_bytes is not None else None
    if held is None or memory_bytes is None:
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held + memory_bytes
    if before[1] != resource.RLIM_INFINITY:
        wanted = min(wanted, before[1])
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _data_bytes() -> int | None:
    """Memory that counts towards the limit of this process; None where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return None
