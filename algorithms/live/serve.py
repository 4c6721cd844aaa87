"""Requests sent to replicas: open loop, each at its own time, to whoever has least to do."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

import simpy

from algorithms.live.blocks import BlockPool
from algorithms.live.replica import Replica, Scheduler, StepLog
from algorithms.live.requests import Request, Served
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

    Raises
    ------
    InputError
        Requests that are not in order, or no replica.
    """
    if replicas < 1:
        raise InputError(Problem(f"must be at least 1 (got {replicas})", field="replicas"))
    environment = simpy.Environment()
    fleet = [Replica(environment, make_scheduler(), times, skip=skip) for _ in range(replicas)]
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
            chosen = min(fleet, key=load)
            served.append(chosen.submit(request))

    environment.process(arrive())
    environment.run()
    end = max((each.last_token_ns or 0 for each in served), default=0)
    pools = tuple(replica.scheduler.pool for replica in fleet)
    return ServedRun(tuple(served), tuple(replica.log for replica in fleet), end, pools)


def load(replica: Replica) -> int:
    """Sequences that a replica serves or that wait for it."""
    scheduler = replica.scheduler
    return len(scheduler.waiting) + len(scheduler.group) + len(scheduler.filling)
