"""The first tokens, which attract attention whatever they say; a part of other policies."""

from __future__ import annotations

from algorithms.kv import (
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    PolicyState,
    Sizes,
    Step,
    at_least,
    kv_policy,
    oldest,
    problems_to_error,
)


@kv_policy("sink")
class Sink(KVPolicy):
    """Keep the first tokens of the stream (attention sinks, arXiv:2309.17453); for use in a union.

    Parameters
    ----------
    tokens
        Tokens kept.
    """

    example = "sink(2)"
    tokens: int = 4

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=1))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"{cls.name}(4) + window({sizes.budget - 4})"

    def start(self, layer: LayerContext) -> PolicyState:
        return _SinkState(self, layer)


class _SinkState(PolicyState):
    policy: Sink

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        return oldest(cache, self.policy.tokens)
