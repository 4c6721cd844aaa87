"""Prompts and tokens at the same time on shares of the cores, with one copy of weights and one KV memory, as semi-PD.

Whoever waits enters as with continuous batching, its prompt is computed beside those that make tokens, and it goes over
to them with its keys and values where they are. Nobody loses blocks that a step under way writes to: where tokens need
a block, whoever entered last loses its own and is computed again; where a prompt needs one, prompts behind it do.

Shares follow their targets (semi-PD, Hong et al. 2025, arXiv:2504.19867, section 5): after so many first tokens the
time to them that nine of ten keep, and the mean step of tokens, are held against the limits. The phase that is further
above its own gets a tenth of the cores more; where it has all of them already, the other one gets a tenth less. Where
requests wait for memory or a place, cores for prompts would not help them: then tokens get them.
"""

from __future__ import annotations

import math

from algorithms.live.blocks import BlockPool
from algorithms.live.replica import Batch, Scheduler
from algorithms.live.requests import nanoseconds
from algorithms.live.schedulers.phases import ALL, COARSE, PhasedScheduler, Shares, problems_of_shares
from algorithms.live.schedulers.register import Limits, scheduler
from algorithms.live.schedulers.vllm import ContinuousBatching
from algorithms.live.steps import Sequence
from hwmodels.reading.errors import InputError

WINDOW = 10
"""First tokens after which shares are adjusted: the fewest of which nine of ten can be told."""
KEPT = 0.9


class PhasesTogether(ContinuousBatching, PhasedScheduler):
    """Prompts and tokens at the same time.

    Parameters
    ----------
    pool
        KV memory.
    limits
        Bounds of batches; shares of the cores, and the times that they are adjusted to.

    Raises
    ------
    InputError
        As `ContinuousBatching`; shares that are no whole tenths.
    """

    def __init__(self, pool: BlockPool, limits: Limits) -> None:
        super().__init__(pool, limits.most_sequences, limits.most_tokens)
        problems = problems_of_shares(limits)
        if problems:
            raise InputError(problems)
        self.shares = Shares(limits.prompts_pct, limits.tokens_pct)
        self.handed: list[Sequence] = []
        """Sequences whose prompts are computed, and who make tokens from the next step on."""
        self._computing: set[Sequence] = set()
        self._ttft_ns = None if limits.ttft_s is None else nanoseconds(limits.ttft_s)
        self._tpot_ns = None if limits.tpot_s is None else nanoseconds(limits.tpot_s)
        self._seen: list[int] = []
        self._steps = self._steps_ns = 0
        self._held_up = False

    # tokens

    @property
    def makes_tokens(self) -> bool:
        return bool(self.group.members or self.handed)

    @property
    def load(self) -> int:
        return super().load + len(self.handed)

    def form(self) -> Batch:
        batch = Batch(blocked=True, jumps=True)  # nobody waits for this, and prompts change how long steps take
        joined, self.handed = self.handed, []
        for sequence in joined:
            self.group.join(sequence)
        self._serve_members(batch)
        batch.joined = [sequence for sequence in joined if sequence in self.group.members]
        batch.interrupted = [sequence for sequence in batch.interrupted if sequence not in joined]
        return batch

    def _loser(self) -> Sequence:
        return next(each for each in reversed(self.running) if each not in self._computing)

    # prompts

    def form_prompts(self) -> Batch:
        batch = Batch()
        budget = self.most_tokens
        for sequence in list(self.filling):
            budget -= self._continue(sequence, budget, batch)
        if not batch.preempted:
            self._admit(budget, batch)
        self._held_up |= batch.blocked
        self._computing = {prefill.sequence for prefill in batch.prefills}
        return batch

    def _continue(self, sequence: Sequence, budget: int, batch: Batch) -> int:
        new = min(sequence.known_tokens - sequence.computed, budget)
        missing = self.pool.needed(sequence.computed + new) - len(sequence.blocks)
        while new > 0 and not self.pool.has(missing) and self.filling[-1] is not sequence:
            self._preempt(self.filling[-1], batch)
        if sequence not in self.running or not self.pool.has(missing):
            return 0
        return super()._continue(sequence, budget, batch)

    def prompts_end(self) -> None:
        self._computing = set()

    def filled(self, sequence: Sequence, more: bool) -> None:
        self.filling.remove(sequence)
        if more:
            self.handed.append(sequence)

    # shares

    def observe(self, ttft_ns: list[int], steps: int, steps_ns: int) -> None:
        self._seen += ttft_ns
        if len(self._seen) < WINDOW:
            return
        kept = sorted(self._seen)[math.ceil(KEPT * len(self._seen)) - 1]
        mean = (steps_ns - self._steps_ns) / (steps - self._steps) if steps > self._steps else 0.0
        held_up, self._held_up = self._held_up, False
        self._seen, self._steps, self._steps_ns = [], steps, steps_ns
        prompts = kept / self._ttft_ns if self._ttft_ns else 0.0
        tokens = mean / self._tpot_ns if self._tpot_ns else 0.0
        if max(prompts, tokens) > 1:
            self.shares = _shifted(self.shares, prompts > tokens and not held_up)


def _shifted(shares: Shares, to_prompts: bool) -> Shares:
    """A tenth of the cores more for one phase, or less for the other."""
    own, other = (shares.prompts, shares.tokens) if to_prompts else (shares.tokens, shares.prompts)
    if own < ALL:
        own += COARSE
    else:
        other = max(other - COARSE, COARSE)
    return Shares(own, other) if to_prompts else Shares(other, own)


@scheduler("semi_pd", phases=True)
def semi_pd(pool: BlockPool, limits: Limits) -> Scheduler:
    """Prompts and tokens at the same time on shares of the cores that follow their targets, one memory (semi-PD)."""
    return PhasesTogether(pool, limits)
