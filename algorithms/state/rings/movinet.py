"""MoViNets A0 to A5 as lists of blocks, their stream buffers and work per frame.

Tables from the authors' code (tensorflow/models, official/projects/movinet/modeling/movinet.py, BLOCK_SPECS); sizes of
frames and clips from Kondratyuk et al. 2021, arXiv:2103.11511, table 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from algorithms.state.rings.convolution import CausalConvolution
from algorithms.state.rings.mobile import BlockShape, MobileBlock
from algorithms.state.rings.pooling import CausalAverage
from algorithms.state.rings.ring import Array, Frame, RingLayer
from algorithms.state.titans import silu
from hwmodels.reading.errors import InputError, Problem, did_you_mean

CLASSES = 600
"""Of Kinetics 600."""


@dataclass(frozen=True)
class MoViNet:
    """A published network.

    Parameters
    ----------
    stem
        Channels of the first convolution, 1 x 3 x 3 with a stride of 2.
    groups
        Blocks: channels out, stride in space of the first of them, and per block its expanded channels and its kernel,
        as frames and rows.
    head
        Channels before and behind the first dense layer.
    size
        Rows and columns of a frame.
    clip
        Frames of a clip.
    """

    stem: int
    groups: tuple[tuple[int, int, str], ...]
    head: tuple[int, int]
    size: int
    clip: int

    @property
    def frame(self) -> Frame:
        """Shape of a frame."""
        return (self.size, self.size, 3)

    def blocks(self) -> Iterator[BlockShape]:
        """Blocks, first to last."""
        channels = self.stem
        for out, stride, table in self.groups:
            for number, cell in enumerate(table.split()):
                expanded, kernel = cell.split("/")
                time, space = int(kernel[0]), int(kernel[1])
                yield BlockShape(channels, int(expanded), out, (time, space, space), stride if number == 0 else 1)
                channels = out

    def layers(self, seed: int = 0) -> tuple[RingLayer, ...]:
        """The network with random weights: stem, blocks, the convolution before the mean, the mean, dense layers."""
        shapes = list(self.blocks())
        draws = np.random.default_rng(seed)

        def drawn(*sizes: int) -> Array:
            return draws.standard_normal(sizes) / math.sqrt(math.prod(sizes[:-1]))

        last, (before, behind) = shapes[-1].channels_out, self.head
        return (
            CausalConvolution(drawn(1, 3, 3, 3, self.stem), (1, 2, 2), activation=silu),
            *(MobileBlock(shape, seed + 1 + number) for number, shape in enumerate(shapes)),
            CausalConvolution(drawn(1, 1, 1, last, before), (1, 1, 1), activation=silu),
            CausalAverage(),
            CausalConvolution(drawn(1, 1, 1, before, behind), (1, 1, 1), activation=silu),
            CausalConvolution(drawn(1, 1, 1, behind, CLASSES), (1, 1, 1)),
        )


_WIDE = "480/53 384/15 384/15 480/15 480/15 480/33 576/13"

MOVINETS = {
    "a0": MoViNet(
        8,
        (
            (8, 2, "24/15"),
            (32, 2, "80/33 80/33 80/33"),
            (56, 2, "184/53 112/33 184/33"),
            (56, 1, "184/53 184/33 184/33 184/33"),
            (104, 2, "384/53 280/15 280/15 344/15"),
        ),
        (480, 2048),
        172,
        50,
    ),
    "a1": MoViNet(
        16,
        (
            (16, 2, "40/15 40/33"),
            (40, 2, "96/33 120/33 96/33 96/33"),
            (64, 2, "216/53 128/33 216/33 168/33 216/33"),
            (64, 1, "216/53 216/33 216/33 128/33 128/15 216/33"),
            (136, 2, "456/53 360/15 360/15 360/15 456/15 456/33 544/13"),
        ),
        (600, 2048),
        172,
        50,
    ),
    "a2": MoViNet(
        16,
        (
            (16, 2, "40/15 40/33 64/33"),
            (40, 2, "96/33 120/33 96/33 96/33 120/33"),
            (72, 2, "240/53 160/33 240/33 192/33 240/33"),
            (72, 1, "240/53 240/33 240/33 240/33 144/15 240/33"),
            (144, 2, _WIDE),
        ),
        (640, 2048),
        224,
        50,
    ),
    "a3": MoViNet(
        16,
        (
            (16, 2, "40/15 40/33 64/33 40/33"),
            (48, 2, "112/33 144/33 112/33 112/15 144/33 144/33"),
            (80, 2, "240/53 152/33 240/33 192/33 240/33"),
            (88, 1, "264/53 264/33 264/33 264/33 160/15 264/33 264/33 264/33"),
            (168, 2, "560/53 448/15 448/15 560/15 560/15 560/33 448/15 448/15 560/33 672/13"),
        ),
        (744, 2048),
        256,
        120,
    ),
    "a4": MoViNet(
        24,
        (
            (24, 2, "64/15 64/33 96/33 64/33 96/33 64/33"),
            (56, 2, "168/33 168/33 136/33 136/33 168/33 168/33 168/33 136/15 136/33"),
            (96, 2, "320/53 160/33 320/33 192/33 320/33 160/33 320/33 256/33 320/33"),
            (96, 1, "320/53 320/33 320/33 320/33 192/15 320/33 320/33 192/33 320/33 320/33"),
            (
                192,
                2,
                "640/53 512/15 512/15 640/15 640/15 640/33 512/15 512/15 640/15 768/15 640/15 640/33 768/33",
            ),
        ),
        (856, 2048),
        290,
        80,
    ),
    "a5": MoViNet(
        24,
        (
            (24, 2, "64/15 64/15 96/33 64/33 96/33 64/33"),
            (64, 2, "192/53 152/33 152/33 152/33 192/33 192/33 192/33 152/33 152/33 192/33 192/33"),
            (
                112,
                2,
                "376/53 224/33 376/33 376/33 296/33 376/33 224/33 376/33 376/33 296/33 376/33 376/33 376/33",
            ),
            (120, 1, "376/53 376/33 376/33 376/33 224/15 376/33 376/33 224/33 376/33 376/33 376/33"),
            (
                224,
                2,
                "744/53 744/33 600/15 600/15 744/15 744/15 744/33 896/15 600/15 600/15 896/15 744/15 744/33 896/15 "
                "600/15 600/15 744/15 744/33",
            ),
        ),
        (992, 2048),
        320,
        120,
    ),
}
"""Networks by name."""


def movinet(name: str) -> MoViNet:
    """The network called ``name``; raises InputError with the nearest name if there is none."""
    if name not in MOVINETS:
        message = f"no MoViNet is called {name!r}"
        raise InputError(Problem(message, field="network", hint=did_you_mean(name, list(MOVINETS))))
    return MOVINETS[name]
