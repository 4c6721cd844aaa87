"""Continuous batching with chunked prefill, as version 1 of vLLM does it.

A step has a budget of tokens. Whoever runs comes first, one token each, or the next part of its prompt; then whoever
waits enters in order of arrival, as long as there are tokens, places and blocks, with the blocks of its prompt that are
still cached. Where a running sequence finds no block, the one that entered last loses its own and computes its tokens
again, or, where tiers lie below, reads what is still there; in such a step nobody enters (vllm-project/vllm,
v1/core/sched/scheduler.py).
"""

from __future__ import annotations

from algorithms.live.blocks import BELOW, BlockPool
from algorithms.live.replica import Batch, Scheduler
from algorithms.live.requests import Request
from algorithms.live.schedulers.register import Limits, scheduler
from algorithms.live.steps import Part, Prefill, Sequence
from algorithms.live.tiers import Name
from hwmodels.reading.errors import InputError, Problem


class ContinuousBatching(Scheduler):
    """Continuous batching with a token budget, chunked prefill and preemption by recomputation.

    Parameters
    ----------
    pool
        KV memory.
    most_sequences
        Sequences that run together (``max_num_seqs``).
    most_tokens
        Tokens of a step (``max_num_batched_tokens``).

    Raises
    ------
    InputError
        For limits below 1, or fewer tokens than sequences.
    """

    def __init__(self, pool: BlockPool, most_sequences: int = 256, most_tokens: int = 2048) -> None:
        super().__init__(pool)
        problems = []
        if most_sequences < 1:
            problems.append(Problem(f"must be at least 1 (got {most_sequences})", field="most_sequences"))
        if most_tokens < most_sequences:
            message = f"must hold a token of each of {most_sequences} sequences (got {most_tokens})"
            problems.append(Problem(message, field="most_tokens"))
        if problems:
            raise InputError(problems)
        self.most_sequences = most_sequences
        self.most_tokens = most_tokens
        self.running: dict[Sequence, None] = {}

    def why_never(self, request: Request) -> str:
        if self.pool.blocks is None:
            return ""
        # the last token is made, but never computed
        blocks = self.pool.needed(request.prompt_tokens + request.output_tokens - 1)
        if blocks <= self.pool.blocks:
            return ""
        tokens = request.prompt_tokens + request.output_tokens
        return f"its {tokens:,} tokens need {blocks:,} KV blocks, more than all {self.pool.blocks:,}"

    def form(self) -> Batch:
        batch = Batch()
        self._serve_members(batch)
        budget = self.most_tokens - len(self.group)
        for sequence in list(self.filling):
            budget -= self._continue(sequence, budget, batch)
        if not batch.preempted:
            self._admit(budget, batch)
        return batch

    def release(self, sequence: Sequence) -> None:
        super().release(sequence)
        del self.running[sequence]

    def _serve_members(self, batch: Batch) -> None:
        """A block for each member that needs one."""
        needy = self.group.in_need()
        if needy and not self.pool.has(len(needy)):
            self._serve_in_order(batch)
        else:
            for member in needy:
                member.blocks += self.pool.take(1)

    def _serve_in_order(self, batch: Batch) -> None:
        """Blocks for members in the order in which they entered, taken from whoever entered last."""
        for member in [sequence for sequence in self.running if sequence in self.group.in_need()]:
            if member not in self.running:
                continue
            while member in self.running and not self.pool.has(1):
                self._preempt(self._loser(), batch)
            if member in self.running:
                member.blocks += self.pool.take(1)

    def _loser(self) -> Sequence:
        """Who loses its memory next: whoever entered last."""
        return next(reversed(self.running))

    def _preempt(self, victim: Sequence, batch: Batch) -> None:
        """Take all blocks of a sequence; it waits in front, and computes its tokens again."""
        del self.running[victim]
        if victim in self.group.members:
            self.group.leave(victim)
            batch.interrupted.append(victim)
        else:
            self.filling.remove(victim)
        if self.pool.far is not None:
            victim.kept = self._kept(victim)
        self.pool.release(victim.blocks)
        victim.blocks, victim.computed = [], 0
        victim.served.preemptions += 1
        self.waiting.appendleft(victim)
        batch.preempted.append(victim)

    def _kept(self, victim: Sequence) -> tuple[Name, ...]:
        """Names of all full blocks of a sequence; what no hash of its prompt stands for is found by itself alone."""
        prefix, number = victim.request.prefix, victim.request.number
        hashed = min(len(prefix), victim.request.prompt_tokens // self.pool.block_tokens)
        full = victim.computed // self.pool.block_tokens
        own: list[Name] = [(number, place) for place in range(hashed, full)]
        names: tuple[Name, ...] = (*prefix[: min(hashed, full)], *own)
        for block, name in zip(victim.blocks, names, strict=False):
            self.pool.remember(block, name)
        return names

    def _continue(self, sequence: Sequence, budget: int, batch: Batch) -> int:
        """The next part of a prompt that runs already; returns its tokens."""
        new = min(sequence.known_tokens - sequence.computed, budget)
        if new <= 0:
            return 0
        missing = self.pool.needed(sequence.computed + new) - len(sequence.blocks)
        while sequence in self.running and not self.pool.has(missing):
            self._preempt(self._loser(), batch)
        if sequence not in self.running:
            return 0
        self._fill(sequence, new, missing, batch)
        return new

    def _admit(self, budget: int, batch: Batch) -> None:
        """Whoever waits enters in order, until tokens, places or blocks run out."""
        while self.waiting and budget > 0:
            if len(self.running) == self.most_sequences:
                batch.blocked = True
                return
            sequence = self.waiting[0]
            found, cached = self._at_hand(sequence)
            new = min(sequence.known_tokens - cached, budget)
            here = [block for block in found if block != BELOW]
            if not self.pool.has(self.pool.needed(cached + new) - len(here) + self.pool.idle_among(here)):
                batch.blocked = True
                return
            self.waiting.popleft()
            self._own(sequence, found, here)
            sequence.computed, sequence.received = cached, 0
            if sequence.served.scheduled_ns is None:
                sequence.served.cached_tokens = cached
            self.running[sequence] = None
            self.filling.append(sequence)
            self._fill(sequence, new, self.pool.needed(cached + new) - len(found), batch)
            budget -= new

    def _own(self, sequence: Sequence, found: list[int], here: list[int]) -> None:
        """Blocks that were found become those of a sequence, from tiers below those that are not here."""
        if not sequence.received and not sequence.kept:
            count = self.pool.count
            count.looked_for += self.pool.needed(sequence.request.prompt_tokens)
            count.found += len(found)
            count.below += len(found) - len(here)
        self.pool.share(here)
        sequence.blocks = self.pool.fetch(found, sequence.kept or sequence.request.prefix)
        for name in sequence.kept:
            if isinstance(name, tuple):
                self.pool.disown(name)
        sequence.kept = ()

    def _at_hand(self, sequence: Sequence) -> tuple[list[int], int]:
        """Blocks of a sequence that are cached here, and its tokens that are cached here or come with it."""
        if sequence.received:
            return [], sequence.received
        found = self.pool.match(sequence.kept or sequence.request.prefix, sequence.known_tokens - 1)
        return found, len(found) * self.pool.block_tokens

    def _fill(self, sequence: Sequence, new: int, missing: int, batch: Batch) -> None:
        """Blocks for the next part of a prompt; those that it fills are known by their content from now on."""
        before = sequence.computed // self.pool.block_tokens
        sequence.blocks += self.pool.take(missing)
        batch.prefills.append(Prefill(sequence, Part(new, sequence.computed)))
        prefix = sequence.request.prefix
        full = min(sequence.computed + new, sequence.request.prompt_tokens) // self.pool.block_tokens
        for place in range(before, min(full, len(prefix))):
            self.pool.remember(sequence.blocks[place], prefix[place])


@scheduler("vllm")
def continuous_batching(pool: BlockPool, limits: Limits) -> Scheduler:
    """Continuous batching with a token budget, chunked prompts and preemption by recomputation (vLLM, version 1)."""
    return ContinuousBatching(pool, limits.most_sequences, limits.most_tokens)
