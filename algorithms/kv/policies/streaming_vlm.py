"""Sinks and windows that differ by modality."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    IntArray,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    PolicyState,
    Sizes,
    Step,
    at_least,
    kv_policy,
    problems_to_error,
)

TEXT, VISION = 0, 1


@kv_policy("streaming_vlm")
class StreamingVLM(KVPolicy):
    """StreamingVLM (Xu et al. 2025, arXiv:2510.09608; mit-han-lab/streaming-vlm a940d8c).

    The first text tokens, a long window of text and a short one of vision stay. The paper's vision window
    is 16 seconds; give it in tokens. Tokens without a modality count as text.

    Parameters
    ----------
    text_sink, text_window
        First and newest text tokens.
    vision_window
        Newest vision tokens; the rest of the budget when None.
    """

    example = "streaming_vlm(text_sink=2,text_window=5)"
    needs = frozenset({"modality"})
    heads = "model"
    text_sink: int = 512
    text_window: int = 512
    vision_window: int | None = None

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, text_sink=0, text_window=1, vision_window=0))

    def fixed_tokens(self) -> int | None:
        if self.vision_window is None:
            return None
        return self.text_sink + self.text_window + self.vision_window

    def least_tokens(self) -> int:
        return self.text_sink + self.text_window

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        part = sizes.budget // 4
        return f"{cls.name}(text_sink={part},text_window={part})"

    def exact_tokens(self) -> int:
        return self.text_sink + self.text_window

    def start(self, layer: LayerContext) -> PolicyState:
        return _ModalityState(self, layer)


class _ModalityState(PolicyState):
    policy: StreamingVLM

    def __init__(self, policy: StreamingVLM, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        self._texts = 0

    def append(self, step: Step, cache: KVCache) -> None:
        m = step.tokens
        modality = np.zeros(m, np.int64) if step.modality is None else np.asarray(step.modality)
        is_text = modality == TEXT
        self.column(cache, "modality", 0, np.int8)[:, cache.count - m :] = modality
        # the number of each text token among all texts, to know the first ones
        ordinals = self._texts + np.cumsum(is_text) - 1
        self.column(cache, "ordinal", 0, np.int64)[:, cache.count - m :] = ordinals
        self._texts += int(is_text.sum())

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        capacity = self.capacity(cache)
        p = self.policy
        vision = self.column(cache, "modality", 0, np.int8)[0] == VISION
        window = p.vision_window
        if window is None:
            window = capacity - p.text_sink - p.text_window
        ordinal = self.column(cache, "ordinal", 0, np.int64)[0]
        stays = np.where(vision, _from_newest(vision) < window, _from_newest(~vision) < p.text_window)
        kept: Mask = (stays | (~vision & (ordinal < p.text_sink)))[None]
        return kept

    def state_bytes(self, cache: KVCache) -> float:
        return cache.count / 8


def _from_newest(marked: Mask) -> IntArray:
    """Number of marked keys that came after each key."""
    return np.cumsum(marked[::-1])[::-1] - marked
