"""Dask clusters as executors: one that runs somewhere, or SLURM jobs started for the purpose.

Needs the extra ``cluster``. Workers have to run the same code as the caller: a point is the same on any computer only
if the program is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from hwmodels.errors import InputError, Problem
from studies.provenance import code_state, provenance

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as DaskFuture

    from studies.runner import OpenExecutor

P = ParamSpec("P")
T = TypeVar("T")

CONNECT_S = 10
WORKERS_S = 60
JOBS_S = 3600
"""SLURM may keep jobs waiting; a sweep waits that long for the first."""


@dataclass(frozen=True)
class Cluster:
    """A cluster in use: its executors, how many points it evaluates at once, and its name for people."""

    open_executor: OpenExecutor
    workers: int
    name: str


@contextmanager
def dask_cluster(address: str) -> Iterator[Cluster]:
    """The cluster of the scheduler at `address`, e.g. ``tcp://127.0.0.1:8786``.

    Raises
    ------
    InputError
        Dask is not installed, nobody answers, there are no workers, or they run other code.
    """
    client = _connect(address)
    try:
        yield _in_use(client, address, WORKERS_S)
    finally:
        client.close()


@contextmanager
def slurm_cluster(jobs: int) -> Iterator[Cluster]:
    """A cluster of that many SLURM jobs, described in the user's configuration of dask-jobqueue.

    Raises
    ------
    InputError
        dask-jobqueue is not installed or not configured, SLURM does not take the jobs, or they run other code.
    """
    try:
        from dask_jobqueue import SLURMCluster
        from distributed import Client
    except ImportError:
        raise _missing("--slurm", "dask-jobqueue") from None
    try:
        cluster = SLURMCluster()
    except (ValueError, TypeError, OSError) as error:
        advice = "describe a job in ~/.config/dask/jobqueue.yaml, see https://jobqueue.dask.org"
        raise InputError(Problem(f"{error}; {advice}", field="--slurm")) from None
    with cluster, Client(cluster) as client:
        try:
            cluster.scale(jobs=jobs)
            yield _in_use(client, f"{jobs} SLURM jobs", JOBS_S)
        except OSError as error:
            raise InputError(Problem(f"sbatch does not start: {error}", field="--slurm")) from None


def _missing(option: str, package: str) -> InputError:
    return InputError(Problem(f"needs {package}: pip install 'attnflow[cluster]'", field=option))


def _connect(address: str) -> Client:
    try:
        from distributed import Client
    except ImportError:
        raise _missing("--scheduler", "Dask") from None
    try:
        return Client(address, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(Problem(f"no scheduler answers at {address!r} ({told})", field="--scheduler")) from None


def _in_use(client: Client, name: str, patience_s: float) -> Cluster:
    try:
        client.wait_for_workers(1, timeout=patience_s)
    except TimeoutError:
        message = f"no worker has joined within {patience_s:.0f} s"
        raise InputError(Problem(f"{name}: {message}")) from None
    ours = _code()
    for worker, theirs in client.run(_code, on_error="return").items():
        if theirs != ours:
            raise InputError(Problem(f"{name}: worker {worker} runs other code: {theirs}, here it is {ours}"))
    threads = sum(client.nthreads().values())
    return Cluster(lambda workers: _DaskExecutor(client), max(threads, 1), name)


def _code() -> str:
    """State of the code of this process."""
    return code_state(provenance({}))


class _DaskExecutor(Executor):
    """Submits to a cluster that outlives it; a task that loses its workers again and again ends as broken.

    `distributed`'s own adapter knows no difference between a task that fails and one that kills its worker.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._futures: set[DaskFuture] = set()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Send a task."""
        made: Future[T] = Future()
        made.set_running_or_notify_cancel()
        # impure: two points with equal arguments are not there, and keys by content cost time
        sent = self._client.submit(fn, *args, pure=False, **kwargs)
        self._futures.add(sent)

        def finish(done: DaskFuture) -> None:
            self._futures.discard(done)
            try:
                made.set_result(done.result())
            except BaseException as error:
                made.set_exception(_as_broken(error))

        sent.add_done_callback(finish)
        return made

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Give up what has not finished; the cluster goes on."""
        del wait
        if cancel_futures and self._futures:
            self._client.cancel(list(self._futures), force=True)


def _as_broken(error: BaseException) -> BaseException:
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker

    if isinstance(error, KilledWorker | FutureCancelledError):
        return BrokenExecutor(str(error))
    return error if isinstance(error, Exception) else BrokenExecutor(str(error))
