"""Keys and values judged against the chunk that follows them."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    Array,
    KVCache,
    KVPolicy,
    LayerContext,
    Sizes,
    Step,
    Work,
    at_least,
    kv_policy,
    problems_to_error,
)
from algorithms.kv.parts.rowscore import RowScoreState


@kv_policy("lagkv")
class LagKV(KVPolicy):
    """Lag-relative information (Liang et al. 2025, arXiv:2504.04704; kvpress 0.5.5).

    The sequence behind the sinks is cut in chunks of `lag`. Each key and value is normalised by the channel
    minima and maxima of the next chunk; the standard deviation over channels, soft-maxed over the chunk,
    says how much it stands out. Ranks inside the chunk are compared, so chunks lose equally many. Sinks, the
    last full chunk and the tail stay. A sequence shorter than two chunks keeps its sinks and newest keys.

    Parameters
    ----------
    tokens
        Keys kept; the budget when None.
    sink, lag
        First keys kept, and chunk length.
    cross_scoring
        Compare scores across chunks instead of ranks.
    """

    example = "lagkv(sink=2,lag=2)"
    ties = True
    needs = frozenset({"keys", "values"})
    schedule = "prefill"
    synthetic_evaluable = False
    tokens: int | None = None
    sink: int = 4
    lag: int = 128
    cross_scoring: bool = False

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, tokens=1, sink=0, lag=2))

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def least_tokens(self) -> int:
        return self.sink + 1

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"{cls.name}(lag={sizes.block})"

    def start(self, layer: LayerContext) -> RowScoreState:
        return _LagKVState(self, layer)


class _LagKVState(RowScoreState):
    policy: LagKV

    def score_rows(self, keys: Array, values: Array) -> Array:
        sink, lag = self.policy.sink, self.policy.lag
        heads, n = keys.shape[:2]
        scores = np.ones((heads, n))
        if n < sink + 2 * lag:
            scores[:, sink:] = np.arange(n - sink) / max(1, n - sink)
            return scores
        chunks = (n - sink) // lag
        relative = (self._stands_out(keys, chunks) + self._stands_out(values, chunks)) / 2
        if not self.policy.cross_scoring:
            order = np.argsort(relative, axis=-1, kind="stable")
            relative = np.argsort(order, axis=-1, kind="stable") / lag
        scores[:, sink : sink + (chunks - 1) * lag] = relative.reshape(heads, -1)
        return scores

    def _stands_out(self, rows: Array, chunks: int) -> Array:
        """`(heads, chunks - 1, lag)`: spread over channels relative to the next chunk, soft-maxed."""
        sink, lag = self.policy.sink, self.policy.lag
        cut = rows[:, sink : sink + chunks * lag].astype(np.float64)
        cut = cut.reshape(rows.shape[0], chunks, lag, -1)
        low = cut[:, 1:].min(2, keepdims=True)
        high = cut[:, 1:].max(2, keepdims=True)
        spread = ((cut[:, :-1] - low) / (high - low)).std(-1, ddof=1)
        weight = np.exp(spread - spread.max(-1, keepdims=True))
        probability: Array = weight / weight.sum(-1, keepdims=True)
        return probability

    def score(self, step: Step, cache: KVCache) -> Array:
        shape, keys = self.layer.shape, int(cache.lengths.sum())
        elements = keys * (shape.head_dim + shape.value_dim)
        self.spend(
            Work(
                "lag scores",
                macs=2 * elements,
                exps=2 * keys,
                compares=2 * elements,
                read_bytes=2 * keys * shape.token_bytes,
                serial_depth=2 * (self.policy.lag - 1).bit_length(),
            )
        )
        return super().score(step, cache)
