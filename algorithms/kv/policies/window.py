"""A sliding window over the newest tokens."""

from __future__ import annotations

from algorithms.kv import (
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    PolicyState,
    Step,
    at_least,
    kv_policy,
    newest,
    problems_to_error,
)


@kv_policy("window", aliases=("sliding_window", "recent"))
class Window(KVPolicy):
    """Keep the newest tokens (sliding-window attention).

    Parameters
    ----------
    tokens
        Tokens kept; the budget when None.
    """

    tokens: int | None = None

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=1))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def start(self, layer: LayerContext) -> PolicyState:
        return _WindowState(self, layer)


class _WindowState(PolicyState):
    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        capacity = self.capacity(cache)
        return None if cache.count <= capacity else newest(cache, capacity)
