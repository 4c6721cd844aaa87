"""Requests sent to replicas: open loop, each at its own time, to whoever has least to do."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import simpy

from algorithms.live.blocks import BlockPool
from algorithms.live.replica import Replica, Scheduler, StepLog
from algorithms.live.requests import Request, Served, nanoseconds
from algorithms.live.schedulers.phases import DividedTimes, PhasedReplica, PhasedScheduler
from algorithms.live.steps import Sequence, StepTimes
from hwmodels.reading.errors import InputError, Problem
from simulator.engines.progress import report


@dataclass(frozen=True)
class ServedRun:
    """What became of all requests.

    Parameters
    ----------
    requests
        All requests in the order of their arrival.
    logs
        Steps of each replica; of one that computes prompts and makes tokens at the same time, those of tokens first.
    end_ns
        When the last token was there.
    pools
        KV memory of each replica, as it was left.
    """

    requests: tuple[Served, ...]
    logs: tuple[StepLog, ...]
    end_ns: int
    pools: tuple[BlockPool, ...]


@dataclass(frozen=True)
class Split:
    """Prompts on replicas of their own.

    Parameters
    ----------
    prompts
        How many of all replicas compute prompts.
    transfer_ns
        Time in which keys and values of so many tokens get from one replica to another; a replica sends one after the
        other, and its blocks are free again when it begins.
    make_scheduler, times
        Arguments like those of `serve`, where prompts are computed on chips of another kind; None: the same.
    """

    prompts: int
    transfer_ns: Callable[[int], int]
    make_scheduler: Callable[[], Scheduler] | None = None
    times: StepTimes | None = None


class Door(Protocol):
    """Where requests come in."""

    def submit(self, request: Request) -> Served:
        """A request arrives now."""

    def tell(self, answered: Callable[[Served], None]) -> None:
        """Have somebody called with each request that has all of its tokens."""


CAME = "requests that came"
"""Words for how far a replay is."""


def serve(
    requests: Iterable[Request],
    make_scheduler: Callable[[], Scheduler],
    times: StepTimes,
    *,
    replicas: int = 1,
    skip: bool = True,
    clients: int | None = None,
    think_s: float = 0.0,
    split: Split | None = None,
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
    split
        Replicas that compute prompts alone, the others then make the tokens; None: all do both.

    Raises
    ------
    InputError
        Requests that are not in order, or no replica.
    """
    if replicas < 1:
        raise InputError(Problem(f"must be at least 1 (got {replicas})", field="replicas"))
    if split is not None and not 0 < split.prompts < replicas:
        message = f"must leave replicas for prompts and for tokens, of {replicas} in all (got {split.prompts})"
        raise InputError(Problem(message, field="prefill"))
    environment = simpy.Environment()
    prompts = split.prompts if split else 0
    fleet = [_replica(environment, make_scheduler(), times, skip) for _ in range(replicas - prompts)]
    if split:
        make, own = split.make_scheduler or make_scheduler, split.times or times
        fleet = [*(Replica(environment, make(), own, skip=skip) for _ in range(prompts)), *fleet]
    door: Door = _Split(environment, fleet, split) if split else _Whole(fleet)
    all_of_them = tuple(requests)
    if clients is None:
        served = _open_loop(environment, door, all_of_them)
    else:
        served = _closed_loop(environment, door, all_of_them, clients, nanoseconds(think_s))
    environment.run()
    end = max((each.last_token_ns or 0 for each in served), default=0)
    pools = tuple(replica.scheduler.pool for replica in fleet)
    return ServedRun(tuple(served), tuple(log for replica in fleet for log in replica.logs), end, pools)


def _replica(environment: simpy.Environment, scheduler: Scheduler, times: StepTimes, skip: bool) -> Replica:
    """A replica as its scheduler needs it."""
    if not isinstance(scheduler, PhasedScheduler):
        return Replica(environment, scheduler, times, skip=skip)
    if not isinstance(times, DividedTimes):
        raise InputError(Problem("needs times of steps on parts of a chip", field="scheduler"))
    return PhasedReplica(environment, scheduler, times, skip=skip)


def _open_loop(environment: simpy.Environment, door: Door, requests: tuple[Request, ...]) -> list[Served]:
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
            served.append(door.submit(request))
            report(CAME, len(served), len(requests))

    environment.process(arrive())
    return served


def _closed_loop(
    environment: simpy.Environment, door: Door, requests: tuple[Request, ...], clients: int, think_ns: int
) -> list[Served]:
    """Clients ask one request after the other; what becomes of all of them, in the order in which they were asked."""
    served: list[Served] = []
    left = iter(requests)

    def ask(pause_ns: int) -> Generator[simpy.Event, object, None]:
        if pause_ns:
            yield environment.timeout(pause_ns)
        for request in left:
            asked = replace(request, arrival_ns=int(environment.now))
            served.append(door.submit(asked))
            report(CAME, len(served), len(requests))
            if not served[-1].refused:
                return

    def answered(_: Served) -> None:
        environment.process(ask(think_ns))

    door.tell(answered)
    for _ in range(clients):
        environment.process(ask(0))
    return served


class _Whole:
    """Replicas that do everything; a request goes to the one with least to do."""

    def __init__(self, fleet: list[Replica]) -> None:
        self.fleet = fleet

    def submit(self, request: Request) -> Served:
        return min(self.fleet, key=load).submit(request)

    def tell(self, answered: Callable[[Served], None]) -> None:
        for replica in self.fleet:
            replica.on_finish = answered


class _Split:
    """Replicas for prompts, which hand keys and values to replicas for tokens."""

    def __init__(self, environment: simpy.Environment, fleet: list[Replica], split: Split) -> None:
        self.environment, self.split = environment, split
        self.prompts, self.tokens = fleet[: split.prompts], fleet[split.prompts :]
        self.answered: Callable[[Served], None] = lambda _: None
        self._wanted: dict[int, Served] = {}
        for replica in self.prompts:
            link = simpy.Resource(environment)
            replica.on_finish = partial(self._computed, link)

    def submit(self, request: Request) -> Served:
        """The prompt goes to whoever computes prompts with least to do."""
        served = Served(request, refused=self.tokens[0].scheduler.refusal(request))
        if not served.refused:
            prompt = min(self.prompts, key=load).submit(replace(request, output_tokens=1))
            served.refused = prompt.refused
        if not served.refused:
            self._wanted[request.number] = served
        return served

    def tell(self, answered: Callable[[Served], None]) -> None:
        self.answered = answered
        for replica in self.tokens:
            replica.on_finish = answered

    def _computed(self, link: simpy.Resource, prompt: Served) -> None:
        """A prompt is computed, and with it the first token there."""
        served = self._wanted.pop(prompt.request.number)
        served.scheduled_ns, served.first_token_ns = prompt.scheduled_ns, prompt.first_token_ns
        served.cached_tokens, served.preemptions = prompt.cached_tokens, prompt.preemptions
        if served.request.output_tokens == 1:
            served.last_token_ns = served.first_token_ns
            self.answered(served)
        else:
            self.environment.process(self._send(link, served))

    def _send(self, link: simpy.Resource, served: Served) -> Generator[simpy.Event, object, None]:
        """Keys and values over the link of a replica, to whoever makes tokens with least to do."""
        with link.request() as turn:
            yield turn
            yield self.environment.timeout(self.split.transfer_ns(served.request.prompt_tokens))
        sequence = Sequence(served, generated=1, received=served.request.prompt_tokens)
        sequence.last_token_ns = served.first_token_ns or 0
        min(self.tokens, key=load).receive(sequence)


def load(replica: Replica) -> int:
    """Sequences that a replica serves or that wait for it."""
    return replica.scheduler.load
