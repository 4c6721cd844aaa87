"""A replica of a model: requests wait, a scheduler forms batches, steps take their time, tokens come out.

Where nothing arrives, ends or runs out of blocks, steps differ only in how long their contexts are: such a stretch is
one event, with the times of all of its steps computed together. Times are whole nanoseconds, so the result is the same
as step by step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import simpy
from simpy.events import EventPriority

from algorithms.live.blocks import BlockPool
from algorithms.live.requests import Request, Served
from algorithms.live.steps import DecodeGroup, Part, Prefill, Sequence, StepTimes
from algorithms.live.tiers import IntArray
from hwmodels.reading.errors import InputError, Problem

AFTER_ARRIVALS = EventPriority(2)
"""Priority of ends of steps: a request that arrives at this very moment is there when the next batch is formed."""

LONGEST_STRETCH = 1 << 14
"""Steps of a stretch at most, which bounds its arrays."""


@dataclass
class Batch:
    """What a step does beside the group that decodes."""

    prefills: list[Prefill] = field(default_factory=list)
    preempted: list[Sequence] = field(default_factory=list)
    """Sequences that lost their blocks just now."""
    interrupted: list[Sequence] = field(default_factory=list)
    """Those of them that were making tokens."""
    joined: list[Sequence] = field(default_factory=list)
    """Those whose first token is there for a while, and who make tokens from this step on."""
    blocked: bool = False
    """Whether whoever waits next has to wait for memory, or for a place, so that further arrivals change nothing."""
    jumps: bool = False
    """Whether arrivals change something even then: who comes later may enter before."""


class Scheduler(ABC):
    """Decides who is in the next step.

    Parameters
    ----------
    pool
        KV memory.
    """

    first_come: ClassVar[bool] = True
    """Whether nobody is begun before somebody who came earlier."""
    longest_tokens: int | None = None
    """Tokens that the model knows positions of; None for any number."""

    def __init__(self, pool: BlockPool) -> None:
        self.pool = pool
        self.waiting: deque[Sequence] = deque()
        self.group = DecodeGroup(pool.block_tokens)
        self.filling: list[Sequence] = []

    @abstractmethod
    def form(self) -> Batch:
        """Choose the next step: blocks are taken, members leave or stay, prompts or parts of them are added."""

    @abstractmethod
    def why_never(self, request: Request) -> str:
        """Why a request can never be served; empty if it can."""

    def refusal(self, request: Request) -> str:
        """Why a request can be served neither by the model nor in this memory; empty if it can."""
        tokens = request.prompt_tokens + request.output_tokens - 1  # the last token is made, but never computed
        if self.longest_tokens is not None and tokens > self.longest_tokens:
            return f"its {tokens + 1:,} tokens exceed the {self.longest_tokens:,} positions that the model knows"
        return self.why_never(request)

    def filled(self, sequence: Sequence, more: bool) -> None:
        """All that is known of a sequence is computed; whether it has more tokens to make."""
        self.filling.remove(sequence)
        if more:
            self.group.join(sequence)

    def release(self, sequence: Sequence) -> None:
        """A sequence has all of its tokens: its blocks can be used again."""
        self.pool.release(sequence.blocks)
        sequence.blocks = []

    @property
    def load(self) -> int:
        """Sequences that are served or that wait."""
        return len(self.waiting) + len(self.group) + len(self.filling)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.waiting or self.group.members or self.filling)


def at_moment(environment: simpy.Environment, moment_ns: int, turn: EventPriority) -> simpy.Event:
    """An event at a moment, in its turn among those of that moment."""
    event = environment.event()
    event._ok, event._value = True, None
    environment.schedule(event, turn, moment_ns - int(environment.now))
    return event


class Replica:
    """A replica in simulated time.

    Parameters
    ----------
    environment
        SimPy's clock, in nanoseconds.
    scheduler
        Who is in which step.
    times
        How long steps take.
    skip
        Whether stretches are one event; the result is the same without.
    on_finish
        Called with each request that has all of its tokens: closed loops send the next one then.
    """

    turn: ClassVar[EventPriority] = AFTER_ARRIVALS

    def __init__(
        self,
        environment: simpy.Environment,
        scheduler: Scheduler,
        times: StepTimes,
        *,
        skip: bool = True,
        on_finish: Callable[[Served], None] | None = None,
    ) -> None:
        self.environment = environment
        self.scheduler = scheduler
        self.times = times
        self.skip = skip
        self.on_finish = on_finish
        self.served: list[Served] = []
        self.log = StepLog()
        self._wake = environment.event()
        self._ends: IntArray | None = None  # of the steps of a stretch
        self._taken = 1  # steps of a stretch whose blocks are taken
        environment.process(self._work())

    @property
    def logs(self) -> tuple[StepLog, ...]:
        """Steps, one after the other in each."""
        return (self.log,)

    def submit(self, request: Request) -> Served:
        """A request arrives now."""
        served = Served(request, refused=self.scheduler.refusal(request))
        self.served.append(served)
        if not served.refused:
            self.scheduler.waiting.append(Sequence(served))
            self._rouse()
        return served

    def receive(self, sequence: Sequence) -> None:
        """A sequence whose prompt was computed elsewhere arrives now, with its keys and values."""
        self.served.append(sequence.served)
        self.scheduler.waiting.append(sequence)
        self._rouse()

    def _rouse(self) -> None:
        """There may be something to do."""
        if not self._wake.triggered:
            self._wake.succeed()

    def _work(self) -> Generator[simpy.Event, object, None]:
        while True:
            if self.scheduler.idle:
                self._wake = self.environment.event()
                yield self._wake
                yield self._until(int(self.environment.now))  # whoever arrives at the same moment comes first
            batch = self.scheduler.form()
            parts = self._begin(batch)
            group = self.scheduler.group
            self.log.begin(int(self.environment.now), self.scheduler, parts)
            if batch.prefills:
                context = group.context_tokens if len(group) else 0
                duration = self._beside_moves(self.times.mixed(len(group), context, parts))
                yield self._until(int(self.environment.now) + duration)
                self._advance(np.array([duration]), batch)
            else:
                yield from self._decode(batch)

    def _begin(self, batch: Batch) -> tuple[Part, ...]:
        """Moments that the beginning of a step fixes; the parts of prompts in it."""
        for sequence in batch.interrupted:  # its last token is as old as the last step
            sequence.last_token_ns = int(self.environment.now)
        for prefill in batch.prefills:
            if prefill.sequence.served.scheduled_ns is None:
                prefill.sequence.served.scheduled_ns = int(self.environment.now)
        return tuple(prefill.part for prefill in batch.prefills)

    def _decode(self, batch: Batch) -> Generator[simpy.Event, object, None]:
        """One step of the group, or a stretch of them."""
        group = self.scheduler.group
        if not len(group):
            raise InputError(Problem("no request that waits fits, and none is being served", field="scheduler"))
        steps = 1
        if self.skip and not batch.preempted and (batch.blocked or not self.scheduler.waiting):
            steps = self._stretch()
        contexts = group.context_tokens + len(group) * np.arange(steps, dtype=np.int64)
        durations, moving = self._with_moves(self.times.decode(len(group), contexts))
        now = int(self.environment.now)
        ends = now + np.cumsum(durations)
        self._ends, self._taken = ends, 1
        if steps > 1 and (batch.jumps or not batch.blocked):
            self._wake = self.environment.event()
            over = self._until(int(ends[-1]))
            yield over | self._wake
            if not over.processed:
                # somebody arrived: the step that is under way ends, and the next batch is formed
                steps = int(np.searchsorted(ends, int(self.environment.now), side="left")) + 1
                over.callbacks = [] if over.callbacks is not None else None
                yield self._until(int(ends[steps - 1]))
        else:
            yield self._until(int(ends[-1]))
        self._take_blocks(steps)
        self._ends = None
        self.log.moving_ns += int(moving[:steps].sum())
        self._advance(durations[:steps], batch)

    def _beside_moves(self, duration: int) -> int:
        """How long a step takes beside the blocks that it moves between tiers."""
        far = self.scheduler.pool.far
        longest = duration if far is None else max(duration, far.moved_ns())
        self.log.moving_ns += longest - duration
        return longest

    def _with_moves(self, durations: IntArray) -> tuple[IntArray, IntArray]:
        """The same for all steps of a stretch, and what of it is spent on waiting for moves alone."""
        group, pool = self.scheduler.group, self.scheduler.pool
        if pool.far is None:
            return durations, np.zeros(1, dtype=np.int64)
        taken = np.array([len(group.in_need(ahead)) for ahead in range(1, len(durations))], dtype=np.int64)
        moves = np.concatenate(([pool.far.moved_ns()], pool.far.pushing_ns(pool.pushed_by(taken))))
        longest = np.maximum(durations, moves)
        return longest, longest - durations

    def _stretch(self) -> int:
        """Steps until a member ends or blocks run out."""
        group, pool = self.scheduler.group, self.scheduler.pool
        steps = min(group.until_an_end(), LONGEST_STRETCH)
        if pool.free is None or group.block_tokens == 0:
            return steps
        # the blocks of the first step are taken already
        free = pool.free
        whole = len(group)
        rounds = free // whole if whole else 0
        if rounds * group.block_tokens >= steps:
            return steps
        ahead, left = 1, free
        while ahead < steps:
            left -= len(group.in_need(ahead))
            if left < 0:
                break
            ahead += 1
        return ahead

    def _take_blocks(self, steps: int) -> None:
        """Blocks for the steps of a stretch after its first, in the order in which they are needed."""
        group, pool = self.scheduler.group, self.scheduler.pool
        for ahead in range(self._taken, steps):
            for member in group.in_need(ahead):
                member.blocks += pool.take(1)
        self._taken = steps
        if pool.far is not None:
            pool.far.moved_ns()  # its time is in the steps of the stretch

    def _advance(self, durations: IntArray, batch: Batch) -> None:
        """Everything that the end of steps changes."""
        now, group = int(self.environment.now), self.scheduler.group
        self.log.end(durations)
        group.steps += len(durations)
        for member in list(group.ended()):
            self._finish(member, now)
        for prefill in batch.prefills:
            self._prefilled(prefill, now)

    def _prefilled(self, prefill: Prefill, now: int) -> None:
        sequence, served = prefill.sequence, prefill.sequence.served
        sequence.computed += prefill.part.new_tokens
        if sequence.computed < sequence.known_tokens:
            return
        sequence.generated += 1
        if served.first_token_ns is None:
            served.first_token_ns = now
        else:
            self.log.add_gap(now - sequence.last_token_ns)
        sequence.last_token_ns = now
        more = sequence.generated < sequence.request.output_tokens
        self.scheduler.filled(sequence, more)
        if not more:
            self._finish(sequence, now)

    def _finish(self, sequence: Sequence, now: int) -> None:
        sequence.served.last_token_ns = now
        self.scheduler.release(sequence)
        if self.on_finish is not None:
            self.on_finish(sequence.served)

    def _until(self, moment_ns: int) -> simpy.Event:
        """An event at a moment, after all arrivals of that moment."""
        return at_moment(self.environment, moment_ns, self.turn)


@dataclass
class StepLog:
    """Times of all steps with the number of sequences that made a token in each: every gap between two tokens.

    Entry by entry, each a step or a stretch of them: durations, sequences that decode, when it began, tokens that its
    first step reads, parts of prompts, and who waits and how many blocks are owned when it has begun.
    """

    durations: list[IntArray] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    starts_ns: list[int] = field(default_factory=list)
    contexts: list[int] = field(default_factory=list)
    parts: list[tuple[Part, ...]] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)
    late: list[tuple[int, ...]] = field(default_factory=list)
    """Last tokens of those that make tokens from the entry on: their first gap is longer than its first step."""
    prefill_tokens: int = 0
    busy_ns: int = 0
    moving_ns: int = 0
    """Time in which steps are done but for blocks that they move between tiers."""
    steps: int = 0

    def begin(
        self,
        now_ns: int,
        scheduler: Scheduler,
        parts: tuple[Part, ...],
        joined: Iterable[Sequence] = (),
        *,
        alone: bool = False,
    ) -> None:
        """A step, or a stretch of them, begins; alone, if nobody makes tokens in it."""
        decoding = 0 if alone else len(scheduler.group)
        self.starts_ns.append(now_ns)
        self.sequences.append(decoding)
        self.contexts.append(scheduler.group.context_tokens if decoding else 0)
        self.late.append(tuple(sequence.last_token_ns for sequence in joined))
        self.parts.append(parts)
        self.waiting.append(len(scheduler.waiting))
        self.blocks.append(scheduler.pool.used)

    def end(self, durations: IntArray) -> None:
        """What began last has taken so long."""
        self.durations.append(durations)
        if self.late[-1]:
            first_ns = self.starts_ns[-1] + int(durations[0])
            self.gaps += [first_ns - last_ns for last_ns in self.late[-1]]
        self.prefill_tokens += sum(part.new_tokens for part in self.parts[-1])
        self.busy_ns += int(durations.sum())
        self.steps += len(durations)

    def add_gap(self, gap_ns: int) -> None:
        """A gap between two tokens of a sequence that had to be computed again in between."""
        self.gaps.append(gap_ns)

    def token_gaps(self) -> tuple[IntArray, IntArray]:
        """Gaps between tokens in nanoseconds, and how often each occurred."""
        gaps = [*self.durations, np.array(self.gaps, dtype=np.int64)]
        counts = [np.full(len(d), n) for d, n in zip(self.durations, self.sequences, strict=True)]
        for place, late in enumerate(self.late):
            if late:
                counts[place][0] -= len(late)
        counts.append(np.ones(len(self.gaps), dtype=np.int64))
        return np.concatenate(gaps), np.concatenate(counts).astype(np.int64)
