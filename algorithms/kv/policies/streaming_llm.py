"""Attention sinks and a recent window."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    IntArray,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    PolicyState,
    Step,
    Work,
    at_least,
    kv_policy,
    newest,
    oldest,
    problems_to_error,
)
from hwmodels.reading.errors import InputError, Problem


@kv_policy("streaming_llm", aliases=("streaming",))
class StreamingLLM(KVPolicy):
    """Sinks and the newest tokens (Xiao et al. 2023, arXiv:2309.17453; mit-han-lab/streaming-llm 2e50426).

    The new token is appended and attended before the oldest of the window leaves, so a query sees one key
    more than is kept. Keys are cached before their rotation and rotated every step at their place in the
    cache, which costs work in every step.

    Parameters
    ----------
    sink
        First tokens, never dropped.
    recent
        Newest tokens; the rest of the budget when None.
    rotate
        Whether keys are rotated every step.
    """

    example = "streaming_llm(sink=2)"
    sink: int = 4
    recent: int | None = None
    rotate: bool = True

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, sink=0, recent=1))

    def fixed_tokens(self) -> int | None:
        return None if self.recent is None else self.sink + self.recent

    def least_tokens(self) -> int:
        return self.sink + 1

    def kept_for(self, length: int, coming: int) -> IntArray:
        """Ranks kept of a cache of `length` keys when room is made for `coming` tokens before a prompt.

        The published chat example evicts so once per prompt instead of once per token.

        Raises
        ------
        InputError
            If `recent` is not set.
        """
        if self.recent is None:
            raise InputError(Problem("must be set to make room before a prompt", field=f"policy.{self.name}.recent"))
        ranks = np.arange(length)
        if length + coming <= self.sink + self.recent:
            return ranks
        return ranks[(ranks < self.sink) | (ranks >= length - self.recent + coming)]

    def start(self, layer: LayerContext) -> PolicyState:
        return _StreamingState(self, layer)


class _StreamingState(PolicyState):
    policy: StreamingLLM

    def append(self, step: Step, cache: KVCache) -> None:
        if self.policy.rotate:
            # two multiply-adds per element: x cos - y sin and x sin + y cos
            macs = 2 * int(cache.lengths.sum()) * self.layer.shape.head_dim
            self.spend(Work("rotate keys", macs=macs, moment="fused"))

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        capacity = self.capacity(cache)
        if cache.count <= capacity:
            return None
        return oldest(cache, self.policy.sink) | newest(cache, capacity - self.policy.sink)
