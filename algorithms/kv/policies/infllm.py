"""A local window, and blocks of the past fetched by representative keys."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    Array,
    IntArray,
    KVCache,
    KVPolicy,
    LayerContext,
    Placement,
    PolicyState,
    Seen,
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


@kv_policy("infllm")
class InfLLM(KVPolicy):
    """InfLLM (Xiao et al. 2024, arXiv:2402.04617; thunlp/InfLLM 12b7079).

    The first `init` tokens, the newest `local` and the best blocks of what lies between share one softmax.
    A block that leaves the window is represented, per query head, by the mean of its `representatives` keys
    with the most attention from inside the window. Blocks are ranked by the mean query of the step against
    those means, summed over heads, so all heads fetch the same ones. Everything lives in the lowest tier;
    `cached` blocks stay in the fast one.

    Parameters
    ----------
    init, local
        First and newest tokens.
    block, blocks
        Tokens per block, and blocks fetched per step; as many as fit in the budget when None.
    representatives
        Keys averaged per block.
    cached
        Blocks in the fast tier.
    chunk
        Tokens per step of a prefill.
    strict
        Whether a query of a prefill chunk sees every key once. The published mask lets early queries of a
        chunk see up to `chunk - 1` keys in the window and again as part of the remainder.
    """

    example = "infllm(init=2,local=4,block=2,blocks=none,representatives=1,cached=4,chunk=4)"
    needs = frozenset({"col_sums"})
    heads = "layer"
    action = "place"
    granularity = 128
    requires_budget = False
    unites = False
    init: int = 128
    local: int = 4096
    block: int = 128
    blocks: int | None = 16
    representatives: int = 4
    cached: int = 32
    chunk: int = 512
    strict: bool = True

    def __post_init__(self) -> None:
        problems_to_error(
            at_least(self, init=0, local=1, block=1, blocks=1, representatives=1, cached=self.blocks or 1, chunk=1)
        )

    def prefill_chunk(self) -> int:
        return min(self.chunk, self.local)

    def least_tokens(self) -> int:
        return self.init + self.local + self.block

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        block, local = sizes.block, sizes.budget // 2
        return f"{cls.name}(init={block},local={local},block={block},blocks=none,chunk={min(512, local)})"

    def start(self, layer: LayerContext) -> PolicyState:
        return InfLLMState(self, layer)


class InfLLMState(PolicyState):
    """State of the policy in one layer."""

    policy: InfLLM

    def __init__(self, policy: InfLLM, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        self._init = 0
        self._local_mass: Array = np.empty((1, 0))
        self.memory = BlockMemory(layer, layer.placement or Placement(), policy.cached, policy.block)
        self._representatives: list[Array] = []
        self._open = 0
        self.chosen: list[int] = []

    @property
    def representatives(self) -> Array:
        """`(blocks, query_heads, head_dim)`."""
        return np.stack(self._representatives)

    @property
    def _remainder(self) -> int:
        """First position that is neither initial nor in a block."""
        return self._init + len(self._representatives) * self.policy.block

    def _wanted_blocks(self) -> int:
        if self.policy.blocks is not None:
            return self.policy.blocks
        budget = self.layer.budget
        if budget is None or budget.tokens is None:
            return 16
        # between two blocks the remainder grows to one block more than the window
        fixed = self.policy.init + self.policy.local + self.policy.block
        return max(1, (budget.tokens - fixed) // self.policy.block)

    def _rank_blocks(self, step: Step) -> list[int]:
        """Blocks to attend, best first; all in order when there are few enough."""
        known, wanted = len(self._representatives), self._wanted_blocks()
        if known <= wanted:
            return list(range(known))
        shape = self.layer.shape
        scores = np.einsum("bhd,hd->b", self.representatives, step.q.mean(1))
        self.spend(
            Work(
                "block scores",
                macs=known * shape.query_heads * shape.head_dim,
                read_bytes=known * shape.query_heads * shape.head_dim * shape.element_bytes,
                serial_depth=(shape.query_heads * shape.head_dim - 1).bit_length(),
                moment="before",
                barrier="layer",
            )
        )
        self.spend(ranking_work("choose blocks", 1, known, wanted, "before", "layer"))
        return [int(block) for block in np.argsort(-scores, kind="stable")[:wanted]]

    def select(self, step: Step, cache: KVCache) -> Selection | None:
        p = self.policy
        self.chosen = self._rank_blocks(step)
        self.memory.fetch(self, [self.chosen], step)
        blocks = [np.arange(p.block) + self._init + p.block * block for block in sorted(self.chosen)]
        start = self._remainder
        self._open = cache.count - start
        tail = np.arange(start, cache.count)
        index = np.concatenate([np.arange(self._init), *blocks, tail]).astype(np.int64)
        visits, local = self._visits(step, tail, cache.count)
        head = np.ones((step.q.shape[1], index.size - tail.size))
        with np.errstate(divide="ignore"):
            pair_bias = np.log(np.concatenate([head, visits], 1)) if step.q.shape[1] > 1 else None
        return Selection(
            np.broadcast_to(index, (cache.heads, index.size)),
            np.full(cache.heads, index.size),
            pair_bias=pair_bias,
            pair_count=np.concatenate([np.zeros_like(head), local / np.maximum(visits, 1)], 1),
        )

    def _visits(self, step: Step, tail: IntArray, count: int) -> tuple[Array, Array]:
        """How often each query sees each key from the remainder on, in all and inside its window."""
        distance = step.query_positions[:, None] - tail
        local = distance < self.policy.local
        if step.causal:
            local &= distance >= 0
        left_window = tail < count - self.policy.local
        beyond = left_window & (distance >= self.policy.local) if self.policy.strict else left_window
        return (local.astype(float) + beyond), local.astype(float)

    def observe(self, step: Step, cache: KVCache, seen: Seen) -> None:
        mass = np.array(seen.attended.asked_sums[:, -self._open :])
        mass[:, : self._local_mass.shape[1]] += self._local_mass
        self._local_mass = mass
        self._close_blocks(cache)

    def _close_blocks(self, cache: KVCache) -> None:
        p = self.policy
        outside = cache.count - self._remainder - p.local
        if self._init < p.init and outside > 0:
            taken = min(p.init - self._init, outside)
            self._init += taken
            self._local_mass = self._local_mass[:, taken:]
        while cache.count - self._remainder - p.block >= p.local:
            start = self._remainder
            self._represent(cache.keys[:, start : start + p.block])
            self._local_mass = self._local_mass[:, p.block :]
            self.memory.write_back(self, 1)

    def _represent(self, keys: Array) -> None:
        group = self._local_mass.shape[0] // keys.shape[0]
        best = np.argsort(-self._local_mass[:, : self.policy.block], axis=1, kind="stable")
        best = best[:, : self.policy.representatives]
        rows = np.arange(best.shape[0])[:, None] // group
        self._representatives.append(keys[rows, best].mean(1))

    def fast_tokens(self, cache: KVCache) -> IntArray:
        held = self._init + cache.count - self._remainder + self.memory.held() * self.policy.block
        return np.full(cache.heads, min(held, cache.count))

    def state_bytes(self, cache: KVCache) -> float:
        shape = self.layer.shape
        per_block = shape.query_heads * shape.head_dim * shape.element_bytes
        counters = (cache.count - self._remainder) * shape.query_heads * 4
        return len(self._representatives) * per_block + counters
