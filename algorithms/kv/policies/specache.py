"""A low-bit copy guesses what the next step needs; full keys are fetched ahead."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from algorithms.kv import (
    Array,
    CacheShape,
    IntArray,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    Placement,
    PolicyState,
    Selection,
    Span,
    Step,
    Work,
    at_least,
    indices_of,
    kv_policy,
    problems_to_error,
    ranking_work,
    top_mask,
)
from algorithms.kv.parts.blocks import BlockMemory
from algorithms.kv.parts.quantize import low_bit_bytes, quantize_rows
from algorithms.kv.parts.shared import SharedWork


@kv_policy("specache")
class SpeCache(KVPolicy):
    """SpeCache (Jie et al. 2025, arXiv:2503.16163): speculative prefetch of full-precision keys.

    Fast memory holds a copy of all keys (per channel) and values (per token) in `bits` bits with a scale
    and a zero in 16 bits per `group` numbers, and the newest `residual` tokens in full. Each step runs a
    second query row, a guess of the next one; its attention over the copy picks the `top` keys per KV head,
    which arrive in full before the next step. A step attends everything: the fetched keys and the residual
    in full, the rest from the copy. Without a guess the present query stands for the next.

    Parameters
    ----------
    bits, group, residual
        Bits, numbers per scale, and newest tokens left out of the copy.
    top
        Keys fetched per KV head and step.
    """

    example = "specache(group=4,residual=2,top=2)"
    budgeted = False
    needs = frozenset({"keys", "values"})
    action = "place"
    exactness = "bounded"
    requires_budget = False
    unites = False
    bits: int = 1
    group: int = 64
    residual: int = 64
    top: int = 64

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, bits=1, group=2, residual=0, top=1))

    def share(self, shape: CacheShape) -> object:
        return SharedWork[Array]()

    def exact_tokens(self) -> int:
        return self.residual + self.group - 1

    def start(self, layer: LayerContext) -> PolicyState:
        return _SpeCacheState(self, layer)


class _SpeCacheState(PolicyState):
    policy: SpeCache

    def __init__(self, policy: SpeCache, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        self._keys: Array | None = None
        self._values: Array | None = None
        self._fetched: Mask | None = None
        # one block is one token of one head: what is fetched stays for one step
        self._memory = BlockMemory(layer, layer.placement or Placement(), policy.top, 1, layer.shape.kv_heads)

    @property
    def coded(self) -> int:
        """Tokens in the low-bit copy."""
        return 0 if self._keys is None else self._keys.shape[1]

    def append(self, step: Step, cache: KVCache) -> None:
        group = self.policy.group
        due = max(0, cache.count - self.policy.residual - self.coded) // group * group
        if due:
            start, stop = self.coded, self.coded + due
            span = cache.span(start, stop)
            self._keys = self._extended(self._keys, cache.keys[:, start:stop], span, "channel")
            if self.layer.outputs:
                self._values = self._extended(self._values, cache.values[:, start:stop], span, "token")
            elements = due * self.layer.shape.kv_heads * (self.layer.shape.head_dim + self.layer.shape.value_dim)
            self.spend(Work("quantise", macs=elements, compares=2 * elements))
        self._memory.write_back(self, step.tokens * self.layer.shape.kv_heads)

    def _extended(
        self, copy: Array | None, rows: Array, span: Span | None, along: Literal["channel", "token"]
    ) -> Array:
        """The low-bit copy with new rows behind it."""
        p, shared = self.policy, self.layer.shared
        shared = shared if isinstance(shared, SharedWork) else SharedWork[Array]()
        fresh = shared.once(span, f"{along} {p}", lambda: quantize_rows(rows, p.bits, p.group, along))
        return fresh if copy is None else np.concatenate([copy, fresh], 1)

    def select(self, step: Step, cache: KVCache) -> Selection | None:
        if step.phase == "prefill" or self._keys is None:
            return None
        fetched = self._fetched
        arrived = 0 if fetched is None else np.count_nonzero(fetched)
        self._guess(step, cache, self._keys)
        share = (self.coded * cache.heads - arrived) / (cache.count * cache.heads)
        self.token_bytes = self.layer.shape.token_bytes * (1 - share) + self._low_token_bytes() * share
        if self._values is None:  # no outputs are wanted
            return None
        low = np.zeros((cache.heads, cache.count), bool)
        low[:, : self.coded] = True
        if fetched is not None:
            low[:, : fetched.shape[1]] &= ~fetched
        keys, values = (np.array(rows) for rows in (cache.keys, cache.values))
        keys[low] = self._keys[low[:, : self.coded]]
        values[low] = self._values[low[:, : self.coded]]
        index = np.broadcast_to(np.arange(cache.count), (cache.heads, cache.count))
        return Selection(index, cache.lengths.copy(), keys=keys, values=values)

    def _guess(self, step: Step, cache: KVCache, copy: Array) -> None:
        """Pick and fetch what the next step will need, by its keys in the low-bit copy."""
        guess = step.q[:, -1] if step.next_q is None else step.next_q
        shape, coded = self.layer.shape, self.coded
        grouped = guess.reshape(cache.heads, -1, guess.shape[-1])
        self._fetched = top_mask(_mean_probability(grouped, copy), min(self.policy.top, coded))
        chosen, lengths = indices_of(self._fetched)
        self._memory.fetch(self, [row[:n].tolist() for row, n in zip(chosen, lengths, strict=True)], step, ahead=1)
        rows = shape.query_heads * coded
        width = shape.head_dim + shape.value_dim
        self.spend(Work("speculative row", macs=rows * width, exps=rows, moment="fused"))
        self.spend(ranking_work("choose keys", shape.kv_heads, coded, self.policy.top, "after", "none"))

    def _low_token_bytes(self) -> float:
        shape = self.layer.shape
        return low_bit_bytes(shape.head_dim + shape.value_dim, self.policy.bits, self.policy.group)

    def fast_tokens(self, cache: KVCache) -> IntArray:
        fetched = 0 if self._fetched is None else self._fetched.sum(1)
        return cache.lengths - self.coded + fetched

    def state_bytes(self, cache: KVCache) -> float:
        return cache.heads * self.coded * self._low_token_bytes()


def _mean_probability(q: Array, keys: Array) -> Array:
    """Softmax of `q` `(heads, rows, dim)` over `keys`, mean over the rows: `(heads, n)`, or its order for one row."""
    logits = q @ keys.swapaxes(1, 2) / math.sqrt(q.shape[-1])
    if logits.shape[1] == 1:
        return logits[:, 0]
    weight = np.exp(logits - logits.max(-1, keepdims=True))
    found: Array = (weight / weight.sum(-1, keepdims=True)).mean(1)
    return found
