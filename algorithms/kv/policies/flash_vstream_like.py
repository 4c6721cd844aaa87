"""A recent window of frames, and clusters of all earlier ones."""

from __future__ import annotations

from algorithms.kv import Array, LayerContext, PolicyState, Sizes, kv_policy
from algorithms.kv.parts.frame_merge import FrameMerge, FrameMergeState


@kv_policy("flash_vstream_like")
class FlashVStreamLike(FrameMerge):
    """Modelled after Flash-VStream (Zhang et al. 2024, arXiv:2406.08085): the past as weighted cluster centres.

    The paper keeps a spatial queue and a temporal memory of weighted k-means centres, updated on line. Here
    a frame that leaves the window is averaged into the most similar centre, with the weight the centre
    has; while there is room it becomes a centre of its own. The paper's further memories are left out.
    """

    example = "flash_vstream_like(frame=2,short=2)"

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"{cls.name}(frame={sizes.frame})"

    def start(self, layer: LayerContext) -> PolicyState:
        return _FlashState(self, layer)


class _FlashState(FrameMergeState):
    def pair(self, likeness: Array, long_frames: int) -> tuple[int, int]:
        leaving = long_frames - 1
        return int(likeness[leaving, :leaving].argmax()), leaving
