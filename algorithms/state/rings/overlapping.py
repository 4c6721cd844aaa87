"""A network over windows that overlap: what is worked on again for a window, and what is only for new samples.

(Kechris et al. 2024, arXiv:2408.03223, StreamiNNC.) The network is that of the authors' measured times, for seizures in
accelerometer signals (esl-epfl/streaminnc 9cd4cb4, seizure_acc/c++11): six convolutions over time keep rings, the mean
of a window and the dense layers behind it are made anew for every window.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from algorithms.state.rings.convolution import CausalConvolution
from algorithms.state.rings.pooling import WindowPool
from algorithms.state.rings.ring import RingLayer, held_elements, macs_per_frame
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True)
class OverlappingWindows:
    """Sizes of a network.

    Parameters
    ----------
    window
        Samples that an output is made from.
    fresh
        New samples of a window; all of them where nothing is kept.
    channels
        Channels of a sample, and behind each convolution.
    kernel
        Samples of a convolution.
    dense
        Widths behind each dense layer.

    Raises
    ------
    InputError
        If a window has fewer samples than are new in it.
    """

    window: int = 960
    fresh: int = 960
    channels: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256)
    kernel: int = 3
    dense: tuple[int, ...] = (256, 128, 64, 2)

    def __post_init__(self) -> None:
        if not 1 <= self.fresh <= self.window:
            message = f"must be from 1 to the window, {self.window} (got {self.fresh})"
            raise InputError(Problem(message, field="fresh"))

    @property
    def layers(self) -> tuple[RingLayer, ...]:
        """Convolutions, the mean of a window, dense layers; weights are zeros, as only sizes are asked for."""
        behind = (self.channels[-1], *self.dense)
        return (
            *(_empty(self.kernel, a, b) for a, b in itertools.pairwise(self.channels)),
            WindowPool(self.window, self.fresh),
            *(_empty(1, a, b) for a, b in itertools.pairwise(behind)),
        )

    @property
    def macs(self) -> float:
        """Multiply-adds of a window whose new samples alone pass the convolutions."""
        return self.fresh * macs_per_frame(self.layers, (self.channels[0],))

    @property
    def held_elements(self) -> int:
        """Numbers that are kept from window to window: rings, and what the mean is taken of."""
        return held_elements(self.layers, (self.channels[0],))


def _empty(kernel: int, inputs: int, outputs: int) -> CausalConvolution:
    return CausalConvolution(np.broadcast_to(np.zeros(()), (kernel, inputs, outputs)))
