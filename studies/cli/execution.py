"""The options that say where points are evaluated, and what each may use; shared by `sweep` and `search`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.output import note

if TYPE_CHECKING:
    from studies.running.limits import Limits
    from studies.running.runner import OpenExecutor

JobsOption = Annotated[
    int | None,
    typer.Option("--jobs", help="Worker processes; all processors if not given, 0 for none.", min=0),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="ADDRESS", help="Use the Dask cluster of this scheduler (tcp://HOST:8786)."),
]
SlurmOption = Annotated[
    int | None,
    typer.Option("--slurm", metavar="JOBS", help="Start this many SLURM jobs with dask-jobqueue and use them.", min=1),
]
TimeLimitOption = Annotated[
    str | None, typer.Option("--time-limit", metavar="TIME", help="Of each point, for example '30 s'.")
]
MemoryLimitOption = Annotated[
    str | None, typer.Option("--memory-limit", metavar="SIZE", help="Of each point, for example '2 GiB'.")
]


@dataclass(frozen=True)
class Execution:
    """Where points are evaluated."""

    workers: int
    open_executor: OpenExecutor
    name: str


@contextmanager
def execution(
    jobs: int | None, scheduler: str | None, slurm: int | None, *, quiet: bool = False
) -> Iterator[Execution]:
    """Whatever the options name, ready for work; a request to end, or a terminal that closes, is like Ctrl-C.

    Raises
    ------
    InputError
        More than one of them, or a cluster that cannot be used.
    """
    given = [
        name for name, value in (("--jobs", jobs), ("--scheduler", scheduler), ("--slurm", slurm)) if value is not None
    ]
    if len(given) > 1:
        raise InputError(Problem(f"only one of {' and '.join(given)} can be given"))
    with _orderly_end(), _opened(jobs, scheduler, slurm, quiet=quiet) as where:
        yield where


@contextmanager
def _opened(jobs: int | None, scheduler: str | None, slurm: int | None, *, quiet: bool) -> Iterator[Execution]:
    from studies.running.runner import available_cpus, open_inline, open_processes

    if scheduler is not None or slurm is not None:
        from studies.running.cluster import dask_cluster, slurm_cluster

        def tell(line: str) -> None:
            note(line, quiet=quiet)

        opened = dask_cluster(scheduler, tell) if scheduler is not None else slurm_cluster(slurm or 1, tell)
        with opened as cluster:
            yield Execution(cluster.workers, cluster.open_executor, cluster.name)
    elif jobs == 0:
        yield Execution(1, open_inline, "this process")
    else:
        workers = jobs or available_cpus()
        yield Execution(workers, open_processes, f"{workers} processes")


@contextmanager
def _orderly_end() -> Iterator[None]:
    """SIGTERM and SIGHUP end the body as Ctrl-C does; a second one of them does not disturb the end, a third does."""
    received = 0

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received == 2:
            note("stopping; once more stops at once", quiet=False)
        else:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    known = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # whoever has decided about a signal already, nohup for example, has decided
    before = {number: handler for number in known if _is_usual(handler := signal.getsignal(number))}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_usual(handler: object) -> bool:
    """Whether Python, or the command line itself for commands with nothing to put away, decided about a signal."""
    usual = (signal.SIG_DFL, signal.default_int_handler)
    return handler in usual or getattr(handler, "__module__", None) == __package__


def read_limits(time_limit: str | None, memory_limit: str | None) -> Limits:
    """The limits as written.

    Raises
    ------
    InputError
        For what is no time, no size, or not above 0.
    """
    from studies.running.limits import Limits

    problems: list[Problem] = []
    time_s = _read("--time-limit", time_limit, "s", problems)
    memory_bytes = _read("--memory-limit", memory_limit, "B", problems)
    if problems:
        raise InputError(problems)
    return Limits(time_s, None if memory_bytes is None else int(memory_bytes))


def _read(option: str, text: str | None, unit: str, problems: list[Problem]) -> float | None:
    from hwmodels.reading.quantity import parse_quantity

    if text is None:
        return None
    try:
        value = parse_quantity(text, unit)
        if not value > 0:
            raise ValueError(f"must be above 0 (got {text!r})")
    except ValueError as error:
        problems.append(Problem(str(error), field=option))
        return None
    return value
