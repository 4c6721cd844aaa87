"""What fine-tuning T5 holds at its worst moment: everything, or samples of rows and single bits (WTA-CRS).

Bytes are those of float32 as the transformers library trains: a norm keeps its input and its quotient, softmax and ReLU
their results, dropout a byte per number, a linear layer its input where its weights, or an adapter beside it, are
trained. With samples (Liu et al. 2023, arXiv:2305.15265, and zirui-ray-liu/WTACRS c0ee14a) linear layers and the two
products of attention keep a share of the rows of their operands, norms work in place, and ReLU and dropout keep a bit.
Targets are a few tokens long, so of the decoder only keys and values of the encoder's tokens count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hwmodels.reading.errors import InputError, Problem, did_you_mean

SINGLE = 4.0
"""Bytes of a number."""
TRAINED = 4
"""Numbers for every weight that is trained: itself, its gradient, and two moments of Adam."""
BIT = 1 / 8
Method = Literal["all", "adapters", "sampled"]
"""All weights trained; adapters of low rank beside linear layers; the same with samples of rows."""


@dataclass(frozen=True)
class EncoderDecoder:
    """Sizes of a model of the kind of T5.

    Parameters
    ----------
    width, inner
        Numbers of a token, between layers and inside a feed-forward layer.
    heads, head_dim
        Heads of attention, and the width of each.
    layers
        Layers of the encoder; the decoder has as many.
    vocabulary
        Rows of the table that embedding and head share.
    adapts_all
        Whether adapters are beside all linear layers, or beside queries, keys and values alone.
    """

    width: int
    inner: int
    heads: int
    head_dim: int
    layers: int
    vocabulary: int = 32128
    adapts_all: bool = True

    @property
    def attended(self) -> int:
        """Numbers of a token inside attention."""
        return self.heads * self.head_dim

    @property
    def parameters(self) -> int:
        """Weights of both stacks, whose decoder attends twice, and of the table; norms left out as small."""
        attention, behind = 4 * self.width * self.attended, 2 * self.width * self.inner
        return self.layers * (3 * attention + 2 * behind) + self.vocabulary * self.width

    def static_bytes(self, method: Method) -> float:
        """Weights, and what is beside those that are trained; adapters themselves are left out as small."""
        return SINGLE * self.parameters * (TRAINED if method == "all" else 1)

    def layer_bytes(self, method: Method, tokens: int, share: float = 1.0) -> float:
        """What a layer of the encoder keeps of a token of a sequence of so many, for the way back.

        Queries, keys and values have one tensor for an input; of samples each has rows of its own.
        """
        width, inner, attended, scores = self.width, self.inner, self.attended, self.heads * tokens
        behind = attended + width + inner if self.adapts_all or method == "all" else 0
        if method == "sampled":
            bits = BIT * (2 * width + 2 * inner + scores)
            operands = share * (3 * width + 3 * attended + scores + behind)
            return SINGLE * (2 * width + scores + operands) + bits
        numbers = 4 * width + width + 3 * attended + 2 * scores + inner + behind
        return SINGLE * numbers + 2 * width + inner + scores

    def token_bytes(self, method: Method, tokens: int, share: float = 1.0) -> float:
        """What grows with tokens at the worst moment: all layers, and gradients inside a feed-forward layer."""
        crossing = 2 * self.layers * self.attended * (share if method == "sampled" else 1.0)
        passing = 2 * self.inner
        return self.layers * self.layer_bytes(method, tokens, share) + SINGLE * (crossing + passing)

    def peak_bytes(self, method: Method, batch: int, tokens: int, share: float = 1.0) -> float:
        """At the worst moment of a step."""
        return self.static_bytes(method) + batch * tokens * self.token_bytes(method, tokens, share)

    def largest_batch(self, memory_bytes: float, method: Method, tokens: int, share: float = 1.0) -> int:
        """Sequences of a step that a memory holds; raises InputError if the weights alone do not fit."""
        left = memory_bytes - self.static_bytes(method)
        if left <= 0:
            message = f"weights take {self.static_bytes(method) / 1e9:.1f} GB and do not fit into"
            raise InputError(Problem(f"{message} {memory_bytes / 1e9:.1f} GB", field="memory_bytes"))
        return int(left / (tokens * self.token_bytes(method, tokens, share)))


T5 = {
    "base": EncoderDecoder(768, 3072, 12, 64, 12),
    "large": EncoderDecoder(1024, 4096, 16, 64, 24),
    "3b": EncoderDecoder(1024, 16384, 32, 128, 24),
}
"""T5 by size (Raffel et al. 2020, arXiv:1910.10683, section 3.7)."""


def t5(size: str) -> EncoderDecoder:
    """The model of a size; raises InputError with the nearest name if there is none."""
    if size not in T5:
        raise InputError(Problem(f"no T5 of size {size!r}", field="size", hint=did_you_mean(size, list(T5))))
    return T5[size]
