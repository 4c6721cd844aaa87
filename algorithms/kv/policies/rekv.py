"""Frames in a lower tier, fetched once per question."""

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
    Selection,
    Sizes,
    Step,
    Work,
    at_least,
    kv_policy,
    problems_to_error,
    ranking_work,
    top_mask,
)
from algorithms.kv.parts.blocks import BlockMemory
from algorithms.kv.parts.pages import segment_means


@kv_policy("rekv")
class ReKV(KVPolicy):
    """ReKV (Di et al. 2025, arXiv:2503.00540; Becomebright/ReKV 63793f7): InfLLM with a frame per block.

    While frames are encoded, tokens see the newest `local` ones. A step that asks a question ranks all
    frames by the inner product of its mean query with each frame's mean key (summed over heads, not
    normalised) and fetches the best; answer steps go on with those until the next question. All keys live
    in the lowest tier.

    Parameters
    ----------
    frame
        Tokens per frame.
    frames
        Frames fetched; as many as fit in the budget when None.
    local
        Window while encoding.
    """

    example = "rekv(frame=4,frames=none,local=8)"
    needs = frozenset({"keys", "grid"})
    heads = "layer"
    action = "place"
    granularity = 196
    requires_budget = False
    frame: int = 196
    frames: int | None = 64
    local: int = 15000

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, frame=1, frames=1, local=1))

    def least_tokens(self) -> int:
        return 2 * self.frame

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"{cls.name}(frame={sizes.frame},frames=none,local={sizes.budget})"

    def exact_tokens(self) -> int:
        return self.local

    def spare_tokens(self) -> int:
        return self.local + self.frame  # the window while encoding, and the frame that is still arriving

    def start(self, layer: LayerContext) -> PolicyState:
        return _ReKVState(self, layer)


class _ReKVState(PolicyState):
    policy: ReKV

    def __init__(self, policy: ReKV, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        self._means: Array | None = None
        self._chosen: IntArray | None = None
        wanted = policy.frames or 1
        self._memory = BlockMemory(layer, layer.placement or Placement(), wanted, policy.frame)

    def _wanted(self, cache: KVCache) -> int:
        if self.policy.frames is not None:
            return self.policy.frames
        budget = self.layer.budget
        # the frame that is still arriving is attended too
        room = cache.count if budget is None else self.capacity(cache) - self.policy.frame
        return max(1, room // self.policy.frame)

    def append(self, step: Step, cache: KVCache) -> None:
        whole = cache.count // self.policy.frame
        done = 0 if self._means is None else self._means.shape[1]
        if whole > done:
            fresh = cache.keys[:, done * self.policy.frame : whole * self.policy.frame]
            means = segment_means(np.asarray(fresh), self.policy.frame)
            self._means = means if self._means is None else np.concatenate([self._means, means], 1)
            self._memory.write_back(self, whole - done)

    def select(self, step: Step, cache: KVCache) -> Selection | None:
        if step.phase in ("prefill", "frame"):
            return self._window(step, cache)
        means, wanted = self._means, self._wanted(cache)
        if means is None or means.shape[1] <= wanted:
            return None
        frames = means.shape[1]
        if step.question or self._chosen is None:
            self._chosen = self._ask(step, means, wanted)
            self._memory.fetch(self, [self._chosen.tolist()], step)
        mask = np.ones(cache.count, bool)
        mask[: frames * self.policy.frame] = np.repeat(np.isin(np.arange(frames), self._chosen), self.policy.frame)
        return Selection.of_mask(mask[None], cache.heads)

    def _window(self, step: Step, cache: KVCache) -> Selection | None:
        start = cache.count - step.tokens - self.policy.local
        if start <= 0:
            return None
        return Selection.of_mask((np.arange(cache.count) >= start)[None], cache.heads)

    def _ask(self, step: Step, means: Array, wanted: int) -> IntArray:
        shape, frames = self.layer.shape, means.shape[1]
        query = step.q.mean(1).reshape(shape.kv_heads, -1, step.q.shape[-1]).sum(1)
        scores = np.einsum("hfd,hd->f", means, query)
        self.spend(
            Work(
                "frame scores",
                macs=frames * shape.query_heads * shape.head_dim,
                read_bytes=frames * shape.kv_heads * shape.key_bytes,
                serial_depth=(shape.query_heads * shape.head_dim - 1).bit_length(),
                moment="before",
                barrier="layer",
            )
        )
        self.spend(ranking_work("choose frames", 1, frames, wanted, "before", "layer"))
        return np.flatnonzero(top_mask(scores[None], wanted)[0])

    def fast_tokens(self, cache: KVCache) -> IntArray:
        held = self._memory.held() * self.policy.frame
        return np.minimum(cache.lengths, self.policy.local + held)

    def state_bytes(self, cache: KVCache) -> float:
        frames = 0 if self._means is None else self._means.shape[1]
        return frames * self.layer.shape.kv_heads * self.layer.shape.key_bytes
