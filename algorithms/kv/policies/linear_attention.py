"""Linear attention: the whole past in one matrix per head."""

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
from algorithms.kv.parts.memory import EPSILON, feature


@kv_policy("linear_attention")
class LinearAttention(KVPolicy):
    """`phi(q) M / (phi(q) z)` with `phi = elu + 1` (Katharopoulos et al. 2020), and no cache at all.

    With a `prefix` the first tokens are read in both directions before anything is answered, the state of
    prefix-linear attention (JRT-RNN, Arora et al. 2024, arXiv:2407.05483); what the paper adds around the
    state (a second read of the prompt, a window) is not modelled.

    Parameters
    ----------
    prefix
        First tokens that every query sees, however early it comes.
    """

    budgeted = False
    needs = frozenset({"keys", "values"})
    requires_budget = False
    exact_when_unlimited = False
    unites = False
    prefix: int = 0

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, prefix=0))

    def start(self, layer: LayerContext) -> PolicyState:
        return _LinearState(self, layer)


class _LinearState(PolicyState):
    policy: LinearAttention
    combines = True

    def __init__(self, policy: LinearAttention, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        shape = layer.shape
        self._matrix: Array | float = 0.0
        self._normaliser: Array | float = 0.0
        self._bytes = shape.kv_heads * shape.head_dim * (shape.value_dim + 1) * shape.element_bytes

    def combine(self, step: Step, q: Array, output: Array) -> Array:
        keys, values = feature(np.asarray(step.k, np.float64)), np.asarray(step.v, np.float64)
        mapped = feature(np.asarray(q, np.float64))
        mapped = mapped.reshape(keys.shape[0], -1, *mapped.shape[1:])
        # weights inside the step: each query sees keys up to its own, prefix tokens see each other
        inside = mapped @ keys[:, None].swapaxes(2, 3)
        sees = (step.query_positions[:, None] >= step.positions) | (step.positions < self.policy.prefix)
        inside = inside * (sees if step.causal else 1.0)
        past, past_weight = self._past(mapped)
        total = past + inside @ values[:, None]
        weight = past_weight + inside.sum(-1)
        self._matrix = self._matrix + keys.swapaxes(1, 2) @ values
        self._normaliser = self._normaliser + keys.sum(1)
        self._charge(step.tokens)
        result: Array = (total / (weight + EPSILON)[..., None]).reshape(output.shape)
        return result

    def _past(self, mapped: Array) -> tuple[Array | float, Array | float]:
        if isinstance(self._matrix, float) or isinstance(self._normaliser, float):
            return 0.0, 0.0
        return mapped @ self._matrix[:, None], (mapped * self._normaliser[:, None, None]).sum(-1)

    def _charge(self, m: int) -> None:
        shape = self.layer.shape
        both = (shape.query_heads + shape.kv_heads) * m
        self.spend(
            Work(
                "linear state",
                macs=both * shape.head_dim * (shape.value_dim + 1),
                exps=both * shape.head_dim,
                read_bytes=self._bytes,
                write_bytes=self._bytes,
                moment="fused",
            )
        )

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        return np.zeros((1, cache.count), bool)

    def state_bytes(self, cache: KVCache) -> float:
        return float(self._bytes)
