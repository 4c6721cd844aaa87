"""Batches that stay together: nobody enters before everybody has left, as engines did before Orca.

A batch takes whoever waits, in order, as far as places and memory go; its prompts are computed, then it makes tokens
until the longest answer is there. Sequences that end earlier leave their places empty; they are not computed on.
"""

from __future__ import annotations

from algorithms.live.blocks import BlockPool
from algorithms.live.replica import Batch, Scheduler
from algorithms.live.schedulers.orca import WholePrompts
from algorithms.live.schedulers.register import Limits, scheduler


class StaticBatches(WholePrompts):
    """A batch at a time; parameters as those of `WholePrompts`."""

    def __init__(self, pool: BlockPool, most_sequences: int = 256, most_tokens: int = 2048) -> None:
        super().__init__(pool, most_sequences, most_tokens)
        self._open = True

    def form(self) -> Batch:
        if not len(self.group):
            self._open = True
        if not self._open:
            return Batch(blocked=True)
        batch = super().form()
        # prompts that a step has no room for follow in the next one
        self._open = bool(batch.prefills) and bool(self.waiting) and not batch.blocked
        return batch


@scheduler("static")
def static(pool: BlockPool, limits: Limits) -> Scheduler:
    """Batches that stay together until the longest answer is there."""
    return StaticBatches(pool, limits.most_sequences, limits.most_tokens)
