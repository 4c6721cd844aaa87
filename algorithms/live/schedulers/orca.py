"""Batches that change from step to step, with whole prompts and all memory from the beginning, as Orca forms them.

Whoever waits enters in order of arrival as soon as there is a place and as many blocks as its prompt and its whole
answer will ever need; prompts are computed in one piece beside those that make tokens, and nobody loses its memory
(Yu et al., Orca, OSDI 2022: iteration-level scheduling, slots reserved for the longest answer).
"""

from __future__ import annotations

from algorithms.live.blocks import BlockPool
from algorithms.live.replica import Batch, Scheduler
from algorithms.live.requests import Request
from algorithms.live.schedulers.register import Limits, scheduler
from algorithms.live.steps import DecodeGroup, Part, Prefill, Sequence
from hwmodels.reading.errors import InputError, Problem


class WholePrompts(Scheduler):
    """Whole prompts, and blocks for everything from the beginning.

    Parameters
    ----------
    pool
        KV memory; nothing is found again in it.
    most_sequences
        Sequences that run together.
    most_tokens
        Prompt tokens of a step; a longer prompt is computed alone.

    Raises
    ------
    InputError
        For limits below 1.
    """

    def __init__(self, pool: BlockPool, most_sequences: int = 256, most_tokens: int = 2048) -> None:
        super().__init__(pool)
        limits = {"most_sequences": most_sequences, "most_tokens": most_tokens}
        problems = [
            Problem(f"must be at least 1 (got {value})", field=name) for name, value in limits.items() if value < 1
        ]
        if problems:
            raise InputError(problems)
        self.group = DecodeGroup(0)
        self.most_sequences = most_sequences
        self.most_tokens = most_tokens

    def why_never(self, request: Request) -> str:
        blocks = self._blocks_of(request)
        if self.pool.blocks is None or blocks <= self.pool.blocks:
            return ""
        tokens = request.prompt_tokens + request.output_tokens
        return f"its {tokens:,} tokens need {blocks:,} KV blocks, more than all {self.pool.blocks:,}"

    def form(self) -> Batch:
        batch = Batch()
        tokens = 0
        while self.waiting:
            sequence = self.waiting[0]
            blocks = self._blocks_of(sequence.request)
            if len(self.group) + len(batch.prefills) == self.most_sequences or not self.pool.has(blocks):
                batch.blocked = True
                break
            tokens += sequence.known_tokens
            if batch.prefills and tokens > self.most_tokens:
                break
            self._enter(self.waiting.popleft(), blocks, batch)
        return batch

    def _enter(self, sequence: Sequence, blocks: int, batch: Batch) -> None:
        sequence.blocks = self.pool.take(blocks)
        self.filling.append(sequence)
        batch.prefills.append(Prefill(sequence, Part(sequence.known_tokens, 0)))

    def _blocks_of(self, request: Request) -> int:
        # the last token is made, but never computed
        return self.pool.needed(request.prompt_tokens + request.output_tokens - 1)


@scheduler("orca")
def orca(pool: BlockPool, limits: Limits) -> Scheduler:
    """Whole prompts beside sequences that make tokens, memory for the whole answer from the beginning (Orca)."""
    return WholePrompts(pool, limits.most_sequences, limits.most_tokens)
