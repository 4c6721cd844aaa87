"""Dask clusters as executors: one that runs somewhere, or SLURM jobs started for the purpose.

Needs the extra ``cluster``. Workers have to run the same code as the caller: a point is the same on any computer only
if the program is.
"""

from __future__ import annotations

import functools
import importlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from hwmodels.reading.errors import InputError, Problem
from studies.running.runner import ExecutorLostError, OpenExecutor
from studies.running.slurm import SlurmJob, SlurmJobs
from studies.store.provenance import code_state, provenance

if TYPE_CHECKING:
    from dask_jobqueue import SLURMCluster
    from distributed import Client
    from distributed import Future as DaskFuture

P = ParamSpec("P")
T = TypeVar("T")

CONNECT_S = 10
WORKERS_S = 60
WATCH_EVERY_S = 30.0
LOG_FOLDER = Path("out") / "slurm"
"""Where the logs of SLURM jobs go, unless the configuration of dask-jobqueue says otherwise."""
_EXAMPLE = "jobqueue: {slurm: {cores: 4, memory: 8 GiB}}"


@dataclass(frozen=True)
class Cluster:
    """A cluster in use: its executors, how many points it evaluates at once, and its name for people."""

    open_executor: OpenExecutor
    workers: int
    name: str


@contextmanager
def dask_cluster(address: str, tell: Callable[[str], None] | None = None) -> Iterator[Cluster]:
    """The cluster of the scheduler at `address`, e.g. ``tcp://127.0.0.1:8786``.

    Parameters
    ----------
    address
        Of the scheduler.
    tell
        Takes lines for people: that no worker is left.

    Raises
    ------
    InputError
        Dask is not installed, nobody answers, there are no workers, or they run other code.
    """
    _silence()
    with _connected(address) as client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_S)
        except TimeoutError:
            message = f"{address}: no worker has joined within {WORKERS_S:.0f} s"
            raise InputError(Problem(message, field="--scheduler")) from None
        _refuse_other_code(client, address)
        threads = sum(client.nthreads().values())
        with _watched(client, address, tell or (lambda line: None)):
            yield Cluster(lambda workers: _DaskExecutor(client, address, Future()), max(threads, 1), address)


@contextmanager
def slurm_cluster(jobs: int, tell: Callable[[str], None] | None = None) -> Iterator[Cluster]:
    """A cluster of that many SLURM jobs, described in the user's configuration of dask-jobqueue.

    Parameters
    ----------
    jobs
        How many.
    tell
        Takes lines for people: why jobs wait, which ones ended.

    Raises
    ------
    InputError
        dask-jobqueue is not installed or not configured, SLURM does not take the jobs, or they run other code.
    """
    name = f"{jobs} SLURM jobs"
    _silence()
    with _scheduler_for_jobs() as (cluster, client):
        describe, workers_each = _job_maker(cluster)

        def joined() -> list[str]:
            scheduler = cluster.scheduler
            return [str(state.name) for state in list(scheduler.workers.values())] if scheduler else []

        with SlurmJobs(describe, jobs, joined, tell or (lambda line: None)) as running:
            running.wait_for_worker()
            _refuse_other_code(client, name)
            yield Cluster(lambda workers: _DaskExecutor(client, name, running.lost), jobs * workers_each, name)


@contextmanager
def _scheduler_for_jobs() -> Iterator[tuple[SLURMCluster, Client]]:
    """A scheduler of this process as the configuration describes it, and no job yet."""
    at_interrupt = signal.getsignal(signal.SIGINT)
    try:
        import dask
        from dask_jobqueue import SLURMCluster
        from distributed import Client
    except ImportError:
        raise _missing("--slurm", "dask-jobqueue") from None
    finally:
        # the import makes Ctrl-C end the program without a word and with exit code 0
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, at_interrupt)
    configured = dask.config.get("jobqueue.slurm", {})
    file = f"{dask.config.PATH}/jobqueue.yaml"
    missing = [key for key in ("cores", "memory") if configured.get(key) is None]
    if missing:
        message = f"how many {' and how much '.join(missing)} a job gets is not configured"
        raise InputError(Problem(message, field="--slurm", hint=f"write for example '{_EXAMPLE}' to {file}"))
    # its status page would be open to the network
    options = {"dashboard": False, "dashboard_address": "127.0.0.1:0"} | (configured.get("scheduler-options") or {})
    try:
        cluster = SLURMCluster(scheduler_options=options)
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        message = f"the job described in Dask's configuration, {file} for example, cannot be used: {error}"
        raise InputError(Problem(message, field="--slurm")) from None
    with cluster, Client(cluster) as client:
        yield cluster, client


def _job_maker(cluster: SLURMCluster) -> tuple[Callable[[str], SlurmJob], int]:
    """What makes a job for a worker of some name, and how many points such a job evaluates at once."""
    import dask
    from dask_jobqueue.slurm import SLURMJob

    configured = dask.config.get("jobqueue.slurm")
    # one thread to a process: an evaluation holds the interpreter, and its limits are those of a process
    processes = configured.get("processes") or int(configured["cores"])
    title = configured.get("name")
    title = "attnflow" if title in (None, "dask-worker") else str(title)
    folder = Path(configured.get("log-directory") or LOG_FOLDER).expanduser().absolute()
    address = cluster.scheduler_address

    def describe(name: str) -> SlurmJob:
        try:
            job = SLURMJob(address, name, processes=processes, job_name=title, log_directory=str(folder))
        except OSError as error:
            message = f"no logs can be written to {folder}: {error.strerror}"
            raise InputError(Problem(message, field="--slurm")) from None
        return SlurmJob(name, job.job_script(), str(folder / f"{title}-%J.err"))

    return describe, max(int(configured["cores"]), 1)


def _missing(option: str, package: str) -> InputError:
    return InputError(Problem(f"needs {package}: pip install 'attnflow[cluster]'", field=option))


def _silence() -> None:
    """Keep what Dask logs about connections from the user: whatever matters is told in one line.

    For good, since its threads go on logging when their cluster is closed already.
    """
    with suppress(ImportError):
        importlib.import_module("distributed.client")  # sets the levels of its loggers, once
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        from distributed import Client
    except ImportError:
        raise _missing("--scheduler", "Dask") from None
    try:
        client = Client(address, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(Problem(f"no scheduler answers at {address!r} ({told})", field="--scheduler")) from None
    try:
        yield client
    finally:
        client.close()


@contextmanager
def _watched(client: Client, name: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Say when a cluster has no worker left: its work waits for new ones, for as long as it takes."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(WATCH_EVERY_S):
            with suppress(OSError, RuntimeError):  # the scheduler is gone; its tasks say so
                if not client.nthreads():
                    tell(f"{name}: no worker is left; waiting for new ones, Ctrl-C stops")

    watcher = threading.Thread(target=look, daemon=True, name="watch-workers")
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join(CONNECT_S)


def _refuse_other_code(client: Client, name: str) -> None:
    ours = _code()
    for worker, theirs in client.run(_code, on_error="return").items():
        if theirs != ours:
            raise InputError(Problem(_other_code(worker, theirs, ours), name))


def _other_code(worker: str, theirs: object, ours: str) -> str:
    told = f"does not have this program ({theirs})" if isinstance(theirs, Exception) else f"runs other code: {theirs}"
    return f"worker {worker} {told}, here it is {ours}"


@functools.cache
def _code() -> str:
    """State of the code of this process, as it was when first asked: files that change later are not loaded again."""
    return code_state(provenance({}))


class _OtherCodeError(Exception):
    """A worker that joined late has other code than the caller."""


def _with_code(ours: str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What a worker does with a task: look whether it has the caller's code, then run it."""
    if _code() != ours:
        from distributed import get_worker

        raise _OtherCodeError(_other_code(get_worker().address, _code(), ours))
    return fn(*args, **kwargs)


class _DaskExecutor(Executor):
    """Submits to a cluster that outlives it; a task that loses its workers again and again ends as broken.

    `distributed`'s own adapter knows no difference between a task that fails and one that kills its worker.

    Parameters
    ----------
    client
        Of the cluster.
    name
        Of the cluster, for people.
    lost
        Ends with the reason when the cluster cannot go on; so does every task then.
    """

    def __init__(self, client: Client, name: str, lost: Future[None]) -> None:
        self._client, self._name, self._lost = client, name, lost
        self._futures: dict[DaskFuture[Any], Future[Any]] = {}
        lost.add_done_callback(self._lose)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Send a task."""
        if self._client.status == "closed":
            raise self._gone("its scheduler is gone")
        made: Future[T] = Future()
        made.set_running_or_notify_cancel()
        # impure: two points with equal arguments are not there, and keys by content cost time
        sent = self._client.submit(_with_code, _code(), fn, *args, pure=False, **kwargs)
        self._futures[sent] = made

        def finish(done: DaskFuture[T]) -> None:
            self._futures.pop(done, None)
            try:
                result = done.result()
            except BaseException as error:
                _end(made, self._meaning(error))
            else:
                with suppress(InvalidStateError):
                    made.set_result(result)

        sent.add_done_callback(finish)
        if self._lost.done():
            self._lose(self._lost)
        return made

    def _lose(self, lost: Future[None]) -> None:
        error = lost.exception()
        for made in list(self._futures.values()) if error else []:
            _end(made, error)

    def _meaning(self, error: BaseException) -> BaseException:
        """What an error of a task says: about its points, its worker, or the whole cluster."""
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker

        if isinstance(error, KilledWorker | OSError):  # the latter: computed, but lost on its way here
            return BrokenExecutor(str(error))
        if isinstance(error, FutureCancelledError):
            why = f"the cluster has given up its work ({error.reason})"
        elif isinstance(error, _OtherCodeError | ImportError):
            why = str(error)
        else:
            return error if isinstance(error, Exception) else BrokenExecutor(str(error))
        return self._gone(why)

    def _gone(self, why: str) -> ExecutorLostError:
        return ExecutorLostError(Problem(why, self._name, hint="points stored so far are safe: repeat the command"))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Give up what has not finished; the cluster goes on."""
        del wait
        if cancel_futures and self._futures and self._client.status == "running":
            with suppress(OSError):  # the scheduler is gone, and its work with it
                self._client.cancel(list(self._futures), force=True)


def _end(made: Future[T], error: BaseException | None) -> None:
    """Give a future its error, unless it has ended already."""
    with suppress(InvalidStateError):
        made.set_exception(error)
