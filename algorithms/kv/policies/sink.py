"""The first tokens, which attract attention whatever they say; a part of other policies."""

from __future__ import annotations

from algorithms.kv.cache import KVCache
from algorithms.kv.policy import (
    KVPolicy,
    LayerContext,
    PolicyState,
    Step,
    at_least,
    oldest,
    problems_to_error,
)
from algorithms.kv.ranking import Mask
from algorithms.kv.registry import kv_policy


@kv_policy("sink")
class Sink(KVPolicy):
    """Keep the first tokens of the stream (attention sinks, arXiv:2309.17453); for use in a union.

    Parameters
    ----------
    tokens
        Tokens kept.
    """

    tokens: int = 4

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=1))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def start(self, layer: LayerContext) -> PolicyState:
        return _SinkState(self, layer)


class _SinkState(PolicyState):
    policy: Sink

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        return oldest(cache, self.policy.tokens)
