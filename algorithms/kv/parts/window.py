"""The last queries of a stream, and the attention they pay: what SnapKV and its relatives score by."""

from __future__ import annotations

import numpy as np

from algorithms.kv.cache import Array, KVCache
from algorithms.kv.cost import SCORE_BYTES, CacheShape, Work
from algorithms.kv.layer import LayerContext
from algorithms.kv.ranking import IntArray
from algorithms.kv.run.attention import Visible, attend
from algorithms.kv.step import Step


class RecentQueries:
    """Remembers the last `window` queries.

    Parameters
    ----------
    window
        Queries kept.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.q: Array | None = None
        self.positions: IntArray = np.empty(0, np.int64)

    def add(self, step: Step) -> None:
        """The queries of `step` join, older ones leave."""
        q = step.q[:, -self.window :]
        self.q = q if self.q is None else np.concatenate([self.q, q], 1)[:, -self.window :]
        self.positions = np.concatenate([self.positions, step.query_positions])[-self.window :]

    def probabilities(self, cache: KVCache) -> Array:
        """Probability of each resident key summed over the remembered queries, `(query_heads, count)`.

        The softmax is causal and runs over everything resident, the window's own keys included.
        """
        if self.q is None:
            raise RuntimeError("no query has come yet")
        visible = Visible(cache.keys, cache.values, cache.positions, cache.valid)
        return attend(self.q, self.positions, visible, column_sums=True).asked_sums

    def work(self, layer: LayerContext, cache: KVCache) -> Work:
        """Cost of `probabilities` as a separate QK pass."""
        return query_pass("window scores", layer.shape, len(self.positions), int(cache.lengths.sum()))


def query_pass(what: str, shape: CacheShape, queries: int, keys: int) -> Work:
    """A QK pass of `queries` rows of each query head over `keys` keys (summed over the KV heads)."""
    pairs = queries * keys * shape.group
    return Work(
        what,
        macs=pairs * shape.head_dim,
        exps=pairs,
        adds=pairs,
        read_bytes=keys * shape.key_bytes,
        write_bytes=keys * SCORE_BYTES,
        serial_depth=max(1, keys // max(1, shape.kv_heads) - 1).bit_length(),
    )
