"""Requests sent to replicas: open loop, each at its own time, to whoever has least to do."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace

import simpy

from algorithms.live.blocks import BlockPool
from algorithms.live.replica import Replica, Scheduler, StepLog
from algorithms.live.requests import Request, Served, nanoseconds
from algorithms.live.steps import StepTimes
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True)
class ServedRun:
    """What became of all requests.

    Parameters
    ----------
    requests
        All requests in the order of their arrival.
    logs
        Steps of each replica.
    end_ns
        When the last token was there.
    pools
        KV memory of each replica, as it was left.
    """

    requests: tuple[Served, ...]
    logs: tuple[StepLog, ...]
    end_ns: int
    pools: tuple[BlockPool, ...]


def serve(
    requests: Iterable[Request],
    make_scheduler: Callable[[], Scheduler],
    times: StepTimes,
    *,
    replicas: int = 1,
    skip: bool = True,
    clients: int | None = None,
    think_s: float = 0.0,
) -> ServedRun:
    """Replay requests on equal replicas.

    Parameters
    ----------
    requests
        All requests in the order of their arrival.
    make_scheduler
        Makes the scheduler of a replica, with its own memory.
    times
        How long steps take.
    replicas
        Each request goes to the one with the fewest sequences, the first of equals.
    skip
        Whether stretches of equal steps are one event; results are the same without.
    clients, think_s
        So many clients ask one request after the other, each so long after its last answer; then arrivals are made
        here, and not those of the requests. None: each request comes at its own time.

    Raises
    ------
    InputError
        Requests that are not in order, or no replica.
    """
    if replicas < 1:
        raise InputError(Problem(f"must be at least 1 (got {replicas})", field="replicas"))
    environment = simpy.Environment()
    fleet = [Replica(environment, make_scheduler(), times, skip=skip) for _ in range(replicas)]
    if clients is None:
        served = _open_loop(environment, fleet, requests)
    else:
        served = _closed_loop(environment, fleet, requests, clients, nanoseconds(think_s))
    environment.run()
    end = max((each.last_token_ns or 0 for each in served), default=0)
    pools = tuple(replica.scheduler.pool for replica in fleet)
    return ServedRun(tuple(served), tuple(replica.log for replica in fleet), end, pools)


def _open_loop(environment: simpy.Environment, fleet: list[Replica], requests: Iterable[Request]) -> list[Served]:
    """Each request at its own time; what becomes of all of them."""
    served: list[Served] = []

    def arrive() -> Generator[simpy.Event, object, None]:
        for request in requests:
            wait = request.arrival_ns - int(environment.now)
            if wait < 0:
                raise InputError(
                    Problem(f"request {request.number} arrives before the one in front of it", field="arrival_ns")
                )
            if wait:
                yield environment.timeout(wait)
            served.append(min(fleet, key=load).submit(request))

    environment.process(arrive())
    return served


def _closed_loop(
    environment: simpy.Environment, fleet: list[Replica], requests: Iterable[Request], clients: int, think_ns: int
) -> list[Served]:
    """Clients ask one request after the other; what becomes of all of them, in the order in which they were asked."""
    served: list[Served] = []
    left = iter(requests)

    def ask(pause_ns: int) -> Generator[simpy.Event, object, None]:
        if pause_ns:
            yield environment.timeout(pause_ns)
        for request in left:
            asked = replace(request, arrival_ns=int(environment.now))
            served.append(min(fleet, key=load).submit(asked))
            if not served[-1].refused:
                return

    def answered(_: Served) -> None:
        environment.process(ask(think_ns))

    for replica in fleet:
        replica.on_finish = answered
    for _ in range(clients):
        environment.process(ask(0))
    return served


def load(replica: Replica) -> int:
    """Sequences that a replica serves or that wait for it."""
    scheduler = replica.scheduler
    return len(scheduler.waiting) + len(scheduler.group) + len(scheduler.filling)
