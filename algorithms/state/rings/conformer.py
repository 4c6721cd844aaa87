"""The stateful FastConformer: what its layers keep, and what its encoder works per frame, from the layers themselves.

(Noroozi et al. 2023, arXiv:2312.17279; sizes of the published 114 M model: 17 layers, 70 frames to the left, frames of
80 ms after a subsampling of 8. Width 512, 8 heads and a kernel of 9 as in the configuration that NeMo ships for it.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from algorithms.state.rings.attention import LeftContextAttention
from algorithms.state.rings.convolution import CausalConvolution
from algorithms.state.rings.ring import held_elements, macs_per_frame

FRAME_SECONDS = 0.08
"""Of audio in a frame of the encoder."""


@dataclass(frozen=True)
class StatefulConformer:
    """Sizes of an encoder.

    Parameters
    ----------
    layers, width, heads
        Layers, and the width and heads of each.
    kernel
        Frames of the convolution by channel.
    left
        Frames before a chunk that are attended.
    right
        Frames of look-ahead; a chunk has one more.
    expansion
        Width of each of the two feed-forward blocks over that of the layer.
    """

    layers: int = 17
    width: int = 512
    heads: int = 8
    kernel: int = 9
    left: int = 70
    right: int = 0
    expansion: int = 4

    @property
    def chunk(self) -> int:
        """Frames that enter together."""
        return self.right + 1

    @property
    def parts(self) -> tuple[LeftContextAttention, CausalConvolution]:
        """What of a layer keeps something; weights are zeros, as only sizes are asked for."""
        projections = np.broadcast_to(np.zeros(()), (4, self.width, self.width))
        attention = LeftContextAttention(projections, self.heads, self.left, self.chunk)
        return attention, CausalConvolution(np.zeros((self.kernel, self.width)), by_channel=True)

    @property
    def cached_elements(self) -> int:
        """Numbers that all layers keep of a stream."""
        return self.layers * held_elements(self.parts, (self.width,))

    @property
    def frame_macs(self) -> float:
        """Multiply-adds of all layers per frame: attention, convolution and its projections, feed-forward twice."""
        pointwise = 3.0 * self.width**2
        feed_forward = 2.0 * 2.0 * self.expansion * self.width**2
        return self.layers * (macs_per_frame(self.parts, (self.width,)) + pointwise + feed_forward)

    @property
    def buffered_ratio(self) -> float:
        """Work of recomputing left context, chunk and look-ahead for every chunk, over that of the new frames alone."""
        return (self.left + self.chunk) / self.chunk
