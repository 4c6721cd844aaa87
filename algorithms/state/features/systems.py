"""Published systems as lists of blocks, with the sizes of their papers and code.

Only what a system keeps of features is here, where the paper puts it: before the language model. Systems whose sizes
are not published (MATR, Memformer, OmniLive's memory) have no entry. Weights of attention, where a block has some, are
random: sizes and values do not depend on training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from algorithms.state.features.block import Array, FeatureBlock, FeatureMemory, most_elements, tokens_between
from algorithms.state.features.merging import (
    Clusters,
    ClusterTree,
    MergeNeighbours,
    OrderedClusters,
    SimilarNeighbours,
)
from algorithms.state.features.pooling import Carrier, RoundBudget, Split, Voxels
from algorithms.state.features.prototypes import Prototypes
from algorithms.state.features.queues import Batch, Every, Fifo
from algorithms.state.features.slots import RecurrentTokens, SemanticAttention, Sensory
from hwmodels.reading.errors import InputError, Problem, did_you_mean

Blocks = tuple[FeatureBlock, ...]


@dataclass(frozen=True)
class Branch:
    """One chain of a system.

    Parameters
    ----------
    name
        Name of the chain in the words of the paper.
    blocks
        Makes the chain.
    tokens, width
        Shape of a frame's features.
    read_tokens
        Tokens of it that a model is given where it chooses some; all of them when None.
    """

    name: str
    blocks: Callable[[], Blocks]
    tokens: int
    width: int
    read_tokens: int | None = None

    @property
    def most_elements(self) -> int:
        """Most numbers that the chain keeps."""
        return most_elements(self.blocks(), self.tokens, self.width)

    @property
    def most_tokens(self) -> int:
        """Most tokens that a model is given."""
        return self.most_elements // self.width if self.read_tokens is None else self.read_tokens


@dataclass(frozen=True)
class System:
    """A published system.

    Parameters
    ----------
    branches
        Chains that all see every frame.
    source
        Where its sizes are from.
    dtype_bytes
        Bytes of a number.
    """

    branches: tuple[Branch, ...]
    source: str
    dtype_bytes: float = 2.0

    @property
    def most_bytes(self) -> float:
        """Bytes of all chains when they are full."""
        return self.dtype_bytes * sum(branch.most_elements for branch in self.branches)

    @property
    def most_tokens(self) -> int:
        """Tokens that a model is given when all chains are full."""
        return sum(branch.most_tokens for branch in self.branches)

    def memories(self) -> dict[str, FeatureMemory]:
        """Empty memories of all chains by name."""
        return {each.name: FeatureMemory(each.blocks(), each.tokens, each.width) for each in self.branches}

    def rate(self, branch: Branch) -> int:
        """Tokens of an item that leaves the last block of a chain."""
        return tokens_between(branch.blocks(), branch.tokens)[-1]


def _drawn(*sizes: int) -> Array:
    return np.random.default_rng(0).standard_normal(sizes) / math.sqrt(sizes[-2])


_XMEM_KEY, _XMEM_VALUE = 64, 512 + 1
"""Numbers of a key, and of a value with its shrinkage."""
_XMEM_PLACES = 30 * 54
"""Places of a frame of 480 x 854 with a stride of 16."""

SYSTEMS = {
    "moviechat": System(
        (Branch("long", lambda: (Batch(18), MergeNeighbours(2), Fifo(256)), 32, 768),),
        "arXiv:2307.16449: 32 tokens of a Q-Former per frame, 18 frames become 2, 256 are kept",
    ),
    "flash_vstream": System(
        (
            Branch("spatial", lambda: (Carrier(64), Fifo(1)), 256, 1024),
            Branch("temporal", lambda: (Carrier(16), Clusters(25)), 256, 1024),
            Branch("abstract", lambda: (Carrier(1), SemanticAttention(25)), 256, 1024),
            Branch("buffer", lambda: (Carrier(64), Fifo(300)), 256, 1024, 3 * 64),
        ),
        "arXiv:2406.08085: 1 x 64 spatial, 25 x 16 temporal, 25 abstract tokens and 3 x 64 retrieved of 300 frames",
    ),
    "flash_vstream2": System(
        (Branch("synopsis", lambda: (Carrier(64), OrderedClusters(60)), 256, 3584),),
        "arXiv:2506.23825: 60 steps of 64 tokens in order; the bank of details is no constant state and left out",
    ),
    "streamchat": System(
        (
            Branch("short", lambda: (Fifo(20),), 144, 3584, 5 * 144),
            Branch("long", lambda: (ClusterTree(10, 5),), 144, 3584),
        ),
        "arXiv:2501.13468: a window of 20 of which 5 are remembered; trees of 5 clusters of 10",
    ),
    "videostreaming": System(
        (Branch("clip", lambda: (RecurrentTokens(_drawn(4, 2560, 2560), 64),), 16 * 4, 2560),),
        "16 frames of 4 summary tokens per clip through a 16-layer Phi-2; one bridge of its width here",
    ),
    "videollamb": System(
        (Branch("bridge", lambda: (RecurrentTokens(_drawn(4, 1024, 1024), 128, 16),), 256, 1024),),
        "arXiv:2409.01071: 128 memory tokens that a bridge layer renews per segment",
    ),
    "dense_captioning": System(
        (Branch("clusters", lambda: (Split(), Clusters(514, 2)), 257, 1024),),
        "scenic's configuration of streaming dense captioning: 2 x 257 clusters, 2 iterations",
    ),
    "sfhand": System(
        (Branch("roi", lambda: (Split(), Fifo(1386)), 197, 768),),
        "SFHand's code: 1,386 tokens of a CLIP ViT-B/16",
    ),
    "videoscan": System(
        (Branch("carriers", lambda: (Carrier(1), SimilarNeighbours(64)), 196, 3584),),
        "arXiv:2503.09387: a carrier token per frame, 64 of them with the most similar neighbours merged",
    ),
    "streambridge": System(
        (Branch("rounds", lambda: (RoundBudget(16_384),), 49, 3584),),
        "arXiv:2505.05467: at most 16,384 tokens, the oldest rounds pooled first; 49 tokens per frame (LLaVA-OV)",
    ),
    "streamvln": System(
        (Branch("voxels", lambda: (Voxels(8 * 196, 0.2),), 196, 3584),),
        "arXiv:2507.05240: 8 x 196 tokens, one voxel keeps the newest; its edge is chosen here",
    ),
    "long3r": System(
        (
            Branch("short", lambda: (Fifo(10),), 196, 1024),
            Branch("long", lambda: (Voxels(3000, 0.05),), 196, 1024),
        ),
        "LONG3R: 10 frames, and 3,000 tokens by voxels, whose edge adapts in the paper and is chosen here",
    ),
    "xmem": System(
        (
            Branch("sensory", lambda: (Sensory(_drawn(3, 128, 64)),), _XMEM_PLACES, 64),
            Branch(
                "working",
                lambda: (Every(5), Fifo(5), Batch(5), Prototypes(128, 10_000, _XMEM_KEY)),
                _XMEM_PLACES,
                _XMEM_KEY + _XMEM_VALUE,
            ),
        ),
        "arXiv:2207.07115: every fifth frame, 5 to 10 of them, 128 prototypes per consolidation, at most 10,000",
    ),
}
"""Systems by name."""


def system(name: str) -> System:
    """The system called ``name``; raises InputError with the nearest name if there is none."""
    if name not in SYSTEMS:
        message = f"no system of feature memories is called {name!r}"
        raise InputError(Problem(message, field="system", hint=did_you_mean(name, list(SYSTEMS))))
    return SYSTEMS[name]
