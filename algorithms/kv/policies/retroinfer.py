"""Clusters of keys: the best exactly, the next by their centroids."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    CacheShape,
    IntArray,
    KVCache,
    KVPolicy,
    LayerContext,
    Placement,
    PolicyState,
    Selection,
    Sizes,
    Step,
    Work,
    at_least,
    kv_policy,
    problems_to_error,
    ranking_work,
)
from algorithms.kv.parts.blocks import BlockMemory
from algorithms.kv.parts.clusters import Clusters, WaveIndex, segment_kmeans
from algorithms.kv.parts.shared import SharedWork


@kv_policy("retroinfer")
class RetroInfer(KVPolicy):
    """RetroInfer (Chen et al. 2025, arXiv:2505.02922; microsoft/RetrievalAttention 6b1228c).

    Wave index: per KV head the keys between the first `sink` and the newest `local` are clustered by
    spherical k-means in segments. Each step ranks clusters by the softmax of query against centroid, summed
    over the query heads of a group. The steady zone and the best clusters are attended exactly, the next
    ones as one entry each (centroid, sum of values, size), the rest not at all. Keys live in the lowest
    tier in pages; a cache of clusters stays in the fast one. New tokens join the index every `update`.

    Parameters
    ----------
    sink, local
        Steady zone.
    retrieve, estimate
        Shares of the clusters attended exactly and by centroid. With a budget, clusters are attended
        exactly while they fit in it.
    cluster
        Keys per cluster on average.
    segment
        Keys clustered together.
    iterations
        Iterations of k-means.
    update
        New tokens between two additions to the index.
    cached
        Clusters kept in the fast tier, as a multiple of those retrieved.
    """

    example = "retroinfer(sink=1,local=2,cluster=2,segment=8,update=2,iterations=3)"
    needs = frozenset({"keys", "values"})
    action = "place"
    exactness = "bounded"
    granularity = 16
    requires_budget = False
    unites = False
    sink: int = 4
    local: int = 64
    retrieve: float = 0.018
    estimate: float = 0.232
    cluster: int = 16
    segment: int = 8192
    iterations: int = 10
    update: int = 1024
    cached: float = 3.0

    def __post_init__(self) -> None:
        problems_to_error(
            at_least(
                self,
                sink=0,
                local=1,
                retrieve=0,
                estimate=0,
                cluster=1,
                segment=self.cluster,
                iterations=1,
                update=self.cluster,
                cached=0,
            )
        )

    def least_tokens(self) -> int:
        return self.sink + self.local + 4 * self.cluster

    def share(self, shape: CacheShape) -> object:
        return SharedWork[Clusters]()

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"{cls.name}(local={sizes.part(8, 64)},cluster={sizes.part(8, 16)})"

    def start(self, layer: LayerContext) -> PolicyState:
        return _RetroState(self, layer)


class _RetroState(PolicyState):
    policy: RetroInfer

    def __init__(self, policy: RetroInfer, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        self.index = WaveIndex(layer.shape.kv_heads)
        self.memory: BlockMemory | None = None

    def _update_tokens(self) -> int:
        budget = self.layer.budget
        if budget is None or budget.tokens is None:
            return self.policy.update
        spare = budget.tokens - self.policy.sink - self.policy.local
        return min(self.policy.update, max(self.policy.cluster, spare // 2))

    def append(self, step: Step, cache: KVCache) -> None:
        p = self.policy
        start = p.sink + self.index.tokens
        waiting = cache.count - start - p.local
        # the index is extended by whole updates; a prefill adds everything it can at once
        update = self._update_tokens()
        due = waiting // update * update if step.phase != "prefill" else waiting
        due = due // p.cluster * p.cluster
        if due < p.cluster or (step.phase == "prefill" and not step.closes):
            return
        for at in range(start, start + due, p.segment):
            stop = min(at + p.segment, start + due)
            self._extend(cache, at, stop)

    def _extend(self, cache: KVCache, start: int, stop: int) -> None:
        p, shape = self.policy, self.layer.shape
        clusters = max(1, (stop - start) // p.cluster)
        keys, values = cache.keys[:, start:stop], cache.values[:, start:stop]
        shared = self.layer.shared if isinstance(self.layer.shared, SharedWork) else SharedWork[Clusters]()
        found = shared.once(
            cache.span(start, stop),
            f"clusters of {p}",
            lambda: segment_kmeans(keys, values, clusters, 1, p.iterations),
        )
        self.index.add(found, start)
        tokens = stop - start
        self.spend(
            Work(
                "cluster keys",
                macs=shape.kv_heads * p.iterations * tokens * clusters * shape.head_dim,
                compares=shape.kv_heads * p.iterations * tokens * clusters,
                read_bytes=shape.kv_heads * p.iterations * tokens * shape.key_bytes,
                serial_depth=p.iterations,
            )
        )
        retrieved = max(1, round(p.retrieve * self.index.clusters))
        if self.memory is None:
            self.memory = BlockMemory(
                self.layer,
                self.layer.placement or Placement(),
                max(1, round(p.cached * retrieved)),
                p.cluster,
                shape.kv_heads,
            )
        self.memory.write_back(self, clusters * shape.kv_heads)

    def select(self, step: Step, cache: KVCache) -> Selection | None:
        p = self.policy
        if self.memory is None or step.phase == "prefill":  # nothing was indexed yet, or all is seen
            return None
        rank = self.index.rank(step.q)
        exact, estimated = self._zones(rank)
        self.memory.fetch(self, exact, step)
        steady = np.zeros(cache.count, bool)
        steady[: p.sink] = True
        steady[p.sink + self.index.tokens :] = True
        mask = np.broadcast_to(steady, (cache.heads, cache.count)).copy()
        for head, clusters in enumerate(exact):
            mask[head, self.index.members(head, clusters)] = True
        self._charge(step, estimated.shape[1], max(len(clusters) for clusters in exact))
        chosen = Selection.of_mask(mask, cache.heads)
        return Selection(chosen.indices, chosen.lengths, summaries=self.index.summaries(estimated))

    def _zones(self, rank: IntArray) -> tuple[list[list[int]], IntArray]:
        """Clusters attended exactly per head, and those estimated `(heads, n)` padded with -1."""
        p, total = self.policy, rank.shape[1]
        budget = self.layer.budget
        if budget is None or budget.tokens is None:
            probe = max(1, round(p.retrieve * total))
            exact = [[int(c) for c in row[:probe]] for row in rank]
        else:
            exact = [self._that_fit(head, row, budget.tokens) for head, row in enumerate(rank)]
        wanted = round(p.estimate * total)
        estimated = np.full((rank.shape[0], wanted), -1, np.int64)
        for head, row in enumerate(rank):
            after = row[len(exact[head]) : len(exact[head]) + wanted]
            estimated[head, : len(after)] = after
        return exact, estimated

    def _that_fit(self, head: int, row: IntArray, budget: int) -> list[int]:
        """Clusters of `head`, best first, as long as their members fit beside the steady zone."""
        open_tokens = self.policy.local + self._update_tokens() + self.policy.cluster
        room = budget - self.policy.sink - open_tokens
        ends = np.cumsum(self.index.sizes[head, row])
        return [int(cluster) for cluster in row[: np.searchsorted(ends, room, side="right")]]

    def _charge(self, step: Step, estimated: int, exact: int) -> None:
        shape, clusters = self.layer.shape, self.index.clusters
        rows = shape.query_heads * step.tokens
        self.spend(
            Work(
                "centroid scores",
                macs=rows * clusters * shape.head_dim,
                exps=rows * clusters,
                read_bytes=shape.kv_heads * clusters * shape.key_bytes,
                serial_depth=(shape.head_dim - 1).bit_length(),
                moment="before",
                barrier="group",
            )
        )
        kept = exact + estimated
        self.spend(ranking_work("choose clusters", shape.kv_heads, clusters, kept, "before", "none"))
        # an estimated cluster costs its centroid, its sum of values and its size
        row_bytes = shape.token_bytes + 4
        self.spend(Work("estimation zone", read_bytes=shape.kv_heads * estimated * row_bytes, moment="fused"))

    def fast_tokens(self, cache: KVCache) -> IntArray:
        steady = self.policy.sink + cache.count - self.policy.sink - self.index.tokens
        held = 0 if self.memory is None else self.memory.tiers.fast_blocks() * self.policy.cluster
        found: IntArray = np.minimum(np.zeros(cache.heads, np.int64) + steady + held, cache.count)
        return found

    def state_bytes(self, cache: KVCache) -> float:
        shape = self.layer.shape
        return cache.heads * self.index.clusters * (shape.token_bytes + 4)
