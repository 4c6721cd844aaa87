"""Requests that begin alike one after the other, groups with much to decode first, as BatchLLM orders them.

All who wait are grouped by the beginning of their prompts, so that a prefix is computed once and is still cached when
the next of its group enters. Groups with the most output tokens per prompt token that is computed enter first: what
they decode then fills the steps in which prompts of later groups are computed (BatchLLM, Zheng et al. 2024,
arXiv:2412.03594). Lengths of answers are known, as in a batch job whose answers are like earlier ones; nobody is
promised to be served in the order of arrival.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import ClassVar

from algorithms.live.blocks import BlockPool
from algorithms.live.replica import Batch, Scheduler
from algorithms.live.requests import Request
from algorithms.live.schedulers.register import Limits, scheduler
from algorithms.live.schedulers.vllm import ContinuousBatching
from algorithms.live.steps import Sequence


class PrefixGroups(ContinuousBatching):
    """Continuous batching in the order of groups; parameters as those of `ContinuousBatching`."""

    first_come: ClassVar[bool] = False

    def __init__(self, pool: BlockPool, most_sequences: int = 256, most_tokens: int = 2048) -> None:
        super().__init__(pool, most_sequences, most_tokens)
        self._in_order = 0

    def form(self) -> Batch:
        if len(self.waiting) != self._in_order:
            self.waiting = deque(self._ordered())
        batch = super().form()
        self._in_order = len(self.waiting)
        batch.jumps = True
        return batch

    def _ordered(self) -> list[Sequence]:
        """Whoever lost its memory, the group that entered last, and the others, most to decode first."""
        groups: dict[int, list[Sequence]] = defaultdict(list)
        begun = [each for each in self.waiting if each.served.scheduled_ns is not None]
        for each in self.waiting:
            if each.served.scheduled_ns is None:
                groups[_group(each.request)].append(each)
        latest = next(reversed(self.running), None)
        current = None if latest is None else _group(latest.request)
        order = sorted(groups, key=lambda name: (name != current, -self._decode_share(groups[name])))
        return [*begun, *(each for name in order for each in groups[name])]

    def _decode_share(self, group: list[Sequence]) -> float:
        """Output tokens over prompt tokens that are computed when the prefix is computed once."""
        shared = _shared_blocks([each.request for each in group]) * self.pool.block_tokens
        own = sum(each.request.prompt_tokens - min(shared, each.request.prompt_tokens - 1) for each in group)
        return sum(each.request.output_tokens for each in group) / (own + shared)


def _group(request: Request) -> int:
    """The first block of a prompt; whoever begins like nobody else is a group by itself."""
    return request.prefix[0] if request.prefix else -1 - request.number


def _shared_blocks(requests: list[Request]) -> int:
    """Blocks that all prompts have in common."""
    if len(requests) < 2:
        return 0
    columns = zip(*(each.prefix for each in requests), strict=False)
    return next(
        (place for place, names in enumerate(columns) if len(set(names)) > 1), min(len(r.prefix) for r in requests)
    )


@scheduler("prefix_groups")
def prefix_groups(pool: BlockPool, limits: Limits) -> Scheduler:
    """Requests that begin alike together, groups with most to decode first (BatchLLM)."""
    return PrefixGroups(pool, limits.most_sequences, limits.most_tokens)
