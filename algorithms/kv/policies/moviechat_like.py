"""A short memory of frames, and a long one in which alike neighbours are merged."""

from __future__ import annotations

import numpy as np

from algorithms.kv import Array, LayerContext, PolicyState, Sizes, kv_policy
from algorithms.kv.parts.frame_merge import FrameMerge, FrameMergeState


@kv_policy("moviechat_like")
class MovieChatLike(FrameMerge):
    """Modelled after MovieChat (Song et al. 2023, arXiv:2307.16449): merge the most similar neighbouring frames.

    The paper merges visual tokens before the language model; here the same is done to keys and values. A
    frame that leaves the short memory joins the long one, where, whenever there are too many, the two
    neighbours with the highest mean cosine of their tokens' keys become one by averaging. Assumed: averages
    are weighted by the frames each side already stands for, and all heads merge the same frames.
    """

    example = "moviechat_like(frame=2,short=2)"

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"{cls.name}(frame={sizes.frame})"

    def start(self, layer: LayerContext) -> PolicyState:
        return _MovieChatState(self, layer)


class _MovieChatState(FrameMergeState):
    def pair(self, likeness: Array, long_frames: int) -> tuple[int, int]:
        neighbours = likeness[np.arange(long_frames - 1), np.arange(1, long_frames)]
        best = int(neighbours.argmax())
        return best, best + 1
