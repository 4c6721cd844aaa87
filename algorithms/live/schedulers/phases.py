"""A replica whose chips compute prompts and make tokens at the same time, each on a share of the cores.

Two processes work side by side on one memory: one computes prompts, step by step, the other makes tokens. A sequence
goes over with its first token, and nothing is moved for it. A process has its share of the cores; where both shares
are more than all, they are cut in proportion while both work. The rate of the main memory is divided fairly: prompts
get what they need up to a half of it, tokens the rest. A step keeps the shares that it begins with.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import simpy
from simpy.events import EventPriority

from algorithms.live.replica import AFTER_ARRIVALS, Batch, Replica, Scheduler, StepLog, at_moment
from algorithms.live.requests import Served
from algorithms.live.schedulers.register import Limits
from algorithms.live.steps import Part, Sequence, StepTimes
from hwmodels.reading.errors import Problem

ALL = 100
HALF = 50
COARSE = 10
"""Shares are whole tenths of the cores, so that few sizes of a chip have to be simulated."""


@dataclass(frozen=True)
class Shares:
    """Per cent of the cores that each phase may use; together they may be more than all."""

    prompts: int = ALL
    tokens: int = ALL

    def of_prompts(self, both: bool) -> int:
        """What prompts get, beside tokens or by themselves."""
        return self._cut(self.prompts) if both else self.prompts

    def of_tokens(self, both: bool) -> int:
        """What tokens get, beside prompts or by themselves."""
        return self._cut(self.tokens) if both else self.tokens

    def _cut(self, share: int) -> int:
        whole = self.prompts + self.tokens
        return share if whole <= ALL else max(COARSE * round(ALL * share / whole / COARSE), COARSE)


def problems_of_shares(limits: Limits) -> list[Problem]:
    """Shares of phases that cannot be, at the fields of a scenario."""
    return [
        Problem(f"must be from {COARSE / ALL:g} to 1 in steps of {COARSE / ALL:g} (got {share / ALL:g})", field=name)
        for name, share in (("prompts_share", limits.prompts_pct), ("tokens_share", limits.tokens_pct))
        if share % COARSE or not COARSE <= share <= ALL
    ]


@runtime_checkable
class DividedTimes(StepTimes, Protocol):
    """How long steps take on parts of a chip."""

    def at(self, cores_pct: int, memory_pct: int) -> StepTimes:
        """Steps on so many per cent of the cores, with so much of the rate of the main memory."""

    def memory_pct(self, cores_pct: int, prefill: tuple[Part, ...]) -> int:
        """Per cent of the main memory's rate that a step of prompts takes where nobody else does."""


class PhasedScheduler(Scheduler):
    """Decides who is in the next step of each phase; `form` is that of tokens.

    Parameters
    ----------
    pool
        KV memory of both.
    """

    shares: Shares

    @abstractmethod
    def form_prompts(self) -> Batch:
        """Choose the next step of prompts; without prefills where all of them have to wait for memory."""

    @abstractmethod
    def prompts_end(self) -> None:
        """The step of prompts is over."""

    @property
    @abstractmethod
    def makes_tokens(self) -> bool:
        """Whether anybody has tokens to make."""

    @abstractmethod
    def observe(self, ttft_ns: list[int], steps: int, steps_ns: int) -> None:
        """Times to the first tokens that are new; steps of tokens so far, and how long they took."""


class PhasedReplica(Replica):
    """A replica of two processes; parameters as those of `Replica`."""

    turn: ClassVar[EventPriority] = EventPriority(3)
    """Steps of prompts end before those of tokens that end at the same moment."""
    scheduler: PhasedScheduler

    def __init__(
        self,
        environment: simpy.Environment,
        scheduler: PhasedScheduler,
        times: DividedTimes,
        *,
        skip: bool = True,
        on_finish: Callable[[Served], None] | None = None,
    ) -> None:
        # blocks on their way between tiers are counted step by step where two processes move them
        super().__init__(environment, scheduler, times, skip=skip and scheduler.pool.far is None, on_finish=on_finish)
        self.divided = times
        self.prompts_log = StepLog()
        self._prompts_wake = environment.event()
        self._taken_pct: int | None = None  # of the memory's rate, by the step of prompts under way
        environment.process(self._compute_prompts())

    @property
    def logs(self) -> tuple[StepLog, ...]:
        """Steps of tokens, and those of prompts."""
        return (self.log, self.prompts_log)

    def _rouse(self) -> None:
        if not self._prompts_wake.triggered:
            self._prompts_wake.succeed()

    def _rouse_tokens(self) -> None:
        if not self._wake.triggered:
            self._wake.succeed()

    # tokens

    def _work(self) -> Generator[simpy.Event, object, None]:
        while True:
            while not self.scheduler.makes_tokens:
                self._wake = self.environment.event()
                yield self._wake
                yield self._until(int(self.environment.now))
            batch = self.scheduler.form()
            self._begin(batch)
            if batch.preempted:
                self._rouse()
            if not len(self.scheduler.group):
                continue
            both = self._taken_pct is not None
            cores = self.scheduler.shares.of_tokens(both)
            self.times = self.divided.at(cores, ALL - (self._taken_pct or 0))
            self.log.begin(int(self.environment.now), self.scheduler, (), batch.joined)
            yield from self._decode(batch)

    def _finish(self, sequence: Sequence, now: int) -> None:
        super()._finish(sequence, now)
        self._rouse()

    def _steps_begun(self) -> int:
        """Steps of the stretch under way that have begun: one that ends now is followed by none yet."""
        if self._ends is None:
            return 0
        return min(int(np.searchsorted(self._ends, int(self.environment.now), side="left")) + 1, len(self._ends))

    def _settle(self) -> None:
        """Take the blocks of all steps of tokens that have begun, before anybody else touches the memory."""
        if self._ends is not None:
            self._take_blocks(max(self._steps_begun(), self._taken))

    # prompts

    def _compute_prompts(self) -> Generator[simpy.Event, object, None]:
        while True:
            self._settle()
            batch = self.scheduler.form_prompts()
            if not batch.prefills:
                self._prompts_wake = self.environment.event()
                yield self._prompts_wake
                yield at_moment(self.environment, int(self.environment.now), AFTER_ARRIVALS)
                continue
            parts = self._begin(batch)
            now = int(self.environment.now)
            self.prompts_log.begin(now, self.scheduler, parts, alone=True)
            duration = self._prompts_ns(parts)
            self._rouse_tokens()
            yield at_moment(self.environment, now + duration, AFTER_ARRIVALS)
            self._settle()
            self._prompts_done(batch, duration)
            self._rouse_tokens()

    def _prompts_ns(self, parts: tuple[Part, ...]) -> int:
        """How long a step of prompts takes, on what it has of the chip; what it takes of the memory's rate is kept."""
        both = len(self.scheduler.group) > 0
        cores = self.scheduler.shares.of_prompts(both)
        taken = self.divided.memory_pct(cores, parts)
        given = HALF if both and taken > HALF else ALL
        self._taken_pct = min(taken, HALF)
        return self._beside_moves(self.divided.at(cores, given).mixed(0, 0, parts))

    def _prompts_done(self, batch: Batch, duration: int) -> None:
        """Everything that the end of a step of prompts changes."""
        now = int(self.environment.now)
        self._taken_pct = None
        self.prompts_log.end(np.array([duration]))
        self.scheduler.prompts_end()
        first = [prefill.sequence for prefill in batch.prefills if prefill.sequence.served.first_token_ns is None]
        for prefill in batch.prefills:
            self._prefilled(prefill, now)
        ttft = [now - each.request.arrival_ns for each in first if each.served.first_token_ns is not None]
        ended, spent = self.log.steps, self.log.busy_ns
        over = 0 if self._ends is None else int(np.searchsorted(self._ends, now, side="left"))
        if self._ends is not None and over:
            ended, spent = ended + over, spent + int(self._ends[over - 1]) - self.log.starts_ns[-1]
        self.scheduler.observe(ttft, ended, spent)
