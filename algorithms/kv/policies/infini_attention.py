"""A compressive memory of constant size beside attention inside a segment."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    Array,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    PolicyState,
    Step,
    Work,
    at_least,
    kv_policy,
    problems_to_error,
)
from algorithms.kv.parts.memory import AssociativeMemory


@kv_policy("infini_attention")
class InfiniAttention(KVPolicy):
    """Infini-attention (Munkhdalai et al. 2024, arXiv:2404.07143; a-r-r-o-w/infini-attention e93923e).

    Queries of a segment attend the segment and read a memory of everything before it; a gate mixes both:
    ``sigmoid(gate) * memory + (1 - sigmoid(gate)) * local``. At its end the segment enters the memory.

    Parameters
    ----------
    segment
        Tokens per segment; the budget when None.
    gate
        Learned per query head in the paper; one number for all, or one per query head.
    delta
        Whether the memory only takes in what it does not already say.
    """

    needs = frozenset({"keys", "values"})
    exact_when_unlimited = False
    unites = False
    segment: int | None = None
    gate: float | tuple[float, ...] = 0.0
    delta: bool = False

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, segment=1))

    def fixed_tokens(self) -> int | None:
        return self.segment

    def prefill_chunk(self) -> int | None:
        return self.segment

    def start(self, layer: LayerContext) -> PolicyState:
        return InfiniState(self, layer)


class InfiniState(PolicyState):
    """State of the policy in one layer."""

    policy: InfiniAttention
    combines = True

    def __init__(self, policy: InfiniAttention, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        self.memory = AssociativeMemory(policy.delta)
        self._share = 1.0 / (1.0 + np.exp(-np.asarray(policy.gate, np.float64)))

    def make_room(self, step: Step, cache: KVCache) -> Mask | None:
        if cache.count + step.tokens <= self.capacity(cache):
            return None
        return self._flush(cache)

    def _flush(self, cache: KVCache) -> Mask:
        shape, tokens = self.layer.shape, cache.count
        self.memory.update(np.asarray(cache.keys, np.float64), np.asarray(cache.values, np.float64))
        passes = 2 if self.policy.delta else 1
        memory_bytes = self.state_bytes(cache)
        self.spend(
            Work(
                "update memory",
                macs=passes * shape.kv_heads * tokens * shape.head_dim * shape.value_dim,
                exps=shape.kv_heads * tokens * shape.head_dim,
                read_bytes=shape.kv_heads * tokens * shape.token_bytes + memory_bytes,
                write_bytes=memory_bytes,
            )
        )
        return np.zeros((1, cache.count), bool)

    def combine(self, step: Step, q: Array, output: Array) -> Array:
        shape = self.layer.shape
        rows = shape.query_heads * step.tokens
        self.spend(
            Work(
                "read memory",
                macs=rows * shape.head_dim * (shape.value_dim + 1),
                exps=rows * shape.head_dim,
                read_bytes=self.state_bytes_of(),
                moment="before",
            )
        )
        share = self._share.reshape(-1, 1, 1)
        return share * self.memory.read(np.asarray(q, np.float64), output.shape[-1]) + (1 - share) * output

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        return self._flush(cache) if cache.count >= self.capacity(cache) else None

    def state_bytes_of(self) -> float:
        """Bytes of the memory and its normaliser."""
        shape = self.layer.shape
        return shape.kv_heads * shape.head_dim * (shape.value_dim + 1) * shape.element_bytes

    def state_bytes(self, cache: KVCache) -> float:
        return self.state_bytes_of()
