"""LMUFormer for keywords in speech: convolutions over time, a Legendre memory, a mixer of channels, from the layers.

(Liu et al. 2024, arXiv:2402.04882; zeyuliu1037/LMUFormer 3bf561f, src/lmu_rnn.py and src/blocks: four convolutions and
a fifth around which its input goes, one block of a Legendre memory of one signal with as many coefficients as the
width, and of a feed-forward layer; a head of 35 words.)
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from algorithms.state.legendre import LegendreMemory
from algorithms.state.rings.convolution import CausalConvolution
from algorithms.state.rings.ring import held_elements, macs_per_frame
from algorithms.state.rule import Shape

EMBEDDING_LAYERS = 5
FLOPS_PER_MAC = 2


@dataclass(frozen=True)
class LMUFormer:
    """Sizes of a network.

    Parameters
    ----------
    bands
        Mel bands of a frame.
    width
        Channels behind the first convolution, and coefficients of the memory.
    kernel
        Frames of a convolution.
    blocks
        Blocks of memory and mixer.
    expansion
        Width inside the mixer over that of a frame.
    classes
        Classes that are told apart.
    """

    bands: int = 128
    width: int = 256
    kernel: int = 3
    blocks: int = 1
    expansion: int = 4
    classes: int = 35

    @property
    def embedding(self) -> tuple[CausalConvolution, ...]:
        """Convolutions over time; weights are zeros, as only sizes are asked for."""
        widths = [self.bands, *[self.width] * EMBEDDING_LAYERS]
        return tuple(_empty(self.kernel, a, b) for a, b in itertools.pairwise(widths))

    @property
    def mixing(self) -> tuple[CausalConvolution, ...]:
        """Products of a block frame by frame: what enters the memory, what leaves it, projection, mixer."""
        width, hidden = self.width, self.expansion * self.width
        return (
            _empty(1, width, 1),
            _empty(1, width + width, width),
            _empty(1, width, width),
            _empty(1, width, hidden),
            _empty(1, hidden, width),
        )

    @property
    def parameters(self) -> int:
        """Weights that are trained; the memory's own two matrices are fixed."""
        own = sum(layer.weights.size for layer in (*self.embedding, *self.blocks * self.mixing))
        return own + self.width * self.classes

    @property
    def frame_macs(self) -> float:
        """Multiply-adds of a frame, the memory step by step."""
        shape = Shape(kv_heads=1, group=0, key_dim=self.width, value_dim=1)
        memory = LegendreMemory().step_work(shape)
        mixing = sum(layer.macs((layer.channels[0],)) for layer in self.mixing)
        stepped = (memory.matrix_flops + memory.vector_flops) / FLOPS_PER_MAC
        embedding = macs_per_frame(self.embedding, (self.bands,))
        return embedding + self.blocks * (mixing + stepped) + self.width * self.classes

    @property
    def held_elements(self) -> int:
        """Numbers that are kept of a stream: rings of the convolutions, and coefficients."""
        return held_elements(self.embedding, (self.bands,)) + self.blocks * self.width


def _empty(kernel: int, inputs: int, outputs: int) -> CausalConvolution:
    return CausalConvolution(np.broadcast_to(np.zeros(()), (kernel, inputs, outputs)))
