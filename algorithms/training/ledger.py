"""What fine-tuning holds at its worst moment: with checkpoints, and with StreamBP's chunks.

Bytes are those of mixed precision as the transformers library trains: bfloat16 weights, inputs and gradients; a norm
keeps its input and its quotient in float32 beside two bfloat16 results; logits exist in bfloat16, in float32, and once
more as logarithms of probabilities in float32 (Luo et al. 2025, arXiv:2506.03077, count the same peak). Nothing here is
fitted to published lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from algorithms.training.layer import LayerShape
from hwmodels.reading.errors import InputError, Problem, did_you_mean

HALF, SINGLE = 2.0, 4.0
"""Bytes of a number."""
NORM_KEPT = 2 * SINGLE + 2 * HALF
"""Per element: input and quotient in float32, the quotient and the scaled output in bfloat16."""
NORM_BACK = HALF + 2 * SINGLE
"""Per element: gradients of the output, and of the quotient and the input in float32."""
LOGIT_BYTES = HALF + 2 * SINGLE
"""Per logit: as made, and logarithms of probabilities with their gradient."""
LOGIT_ROWS = 100
"""Rows whose logits StreamBP makes at a time."""

Method = Literal["checkpoints", "streambp"]


@dataclass(frozen=True)
class Trained:
    """A language model that is fine-tuned.

    Parameters
    ----------
    layer
        Sizes of a layer.
    layers, vocabulary
        Number of layers, and of tokens that logits are of.
    tied
        Whether embedding and language head are one matrix.
    """

    layer: LayerShape
    layers: int
    vocabulary: int
    tied: bool = False

    @property
    def parameters(self) -> int:
        """Weights of all layers, the last norm, embedding and head."""
        own = 0
        for size in self.layer.sizes.values():
            own += size[0] * (size[1] if len(size) == 2 else 1)
        return self.layers * own + self.layer.width + self.vocabulary * self.layer.width * (1 if self.tied else 2)

    def static_bytes(self, *, trains_all: bool) -> float:
        """Weights, and their gradients where all are trained; adapters of low rank are left out as small."""
        return self.parameters * HALF * (2 if trains_all else 1)

    @property
    def row_bytes_of_layer(self) -> float:
        """Per row: what a layer keeps for its backward pass, and the largest gradients beside it."""
        layer = self.layer
        attended, shared = layer.heads * layer.head_dim, layer.kv_heads * layer.head_dim
        kept = 2 * NORM_KEPT * layer.width + HALF * (2 * attended + 2 * shared + layer.width + 4 * layer.hidden)
        return kept + HALF * (layer.width + 3 * layer.hidden)

    def row_bytes(self, method: Method) -> float:
        """Per token of the sequence: what grows with it at the worst moment.

        With checkpoints that is the head or a layer, whichever is larger; StreamBP keeps keys, values and their
        gradients, the norm before them, and the gradients of input and output of one layer.
        """
        layer = self.layer
        inputs = self.layers * layer.width * HALF
        if method == "checkpoints":
            head = LOGIT_BYTES * self.vocabulary + (NORM_KEPT + HALF) * layer.width
            return inputs + max(head, self.row_bytes_of_layer)
        shared = layer.kv_heads * layer.head_dim
        return inputs + 4 * HALF * shared + (NORM_KEPT + NORM_BACK + 2 * HALF) * layer.width

    def fixed_bytes(self, method: Method, chunk: int) -> float:
        """What does not grow: logits of a few rows, and a chunk's way through a layer."""
        if method == "checkpoints":
            return 0.0
        return LOGIT_BYTES * LOGIT_ROWS * self.vocabulary + chunk * self.row_bytes_of_layer

    def longest(self, memory_bytes: float, method: Method, *, trains_all: bool, chunk: int = 2000) -> int:
        """Tokens of the longest sequence that a memory holds.

        Raises
        ------
        InputError
            If the weights alone do not fit.
        """
        left = memory_bytes - self.static_bytes(trains_all=trains_all) - self.fixed_bytes(method, chunk)
        if left <= 0:
            message = (
                f"weights and a chunk of {chunk:,} tokens take {(memory_bytes - left) / 1e9:.1f} GB and do not fit into"
            )
            raise InputError(Problem(f"{message} {memory_bytes / 1e9:.1f} GB", field="memory_bytes"))
        return int(left / self.row_bytes(method))


_VOCABULARY = 151_936
QWEN3 = {
    "4b": Trained(LayerShape(2560, 32, 8, 128, 9728), 36, _VOCABULARY, tied=True),
    "8b": Trained(LayerShape(4096, 32, 8, 128, 12288), 36, _VOCABULARY),
    "14b": Trained(LayerShape(5120, 40, 8, 128, 17408), 40, _VOCABULARY),
    "32b": Trained(LayerShape(5120, 64, 8, 128, 25600), 64, _VOCABULARY),
}
"""Qwen3 by size, from the configurations that were published with the weights (Qwen/Qwen3-4B ... Qwen3-32B)."""


def qwen3(size: str) -> Trained:
    """The model of a size; raises InputError with the nearest name if there is none."""
    if size not in QWEN3:
        raise InputError(Problem(f"no Qwen3 of size {size!r}", field="size", hint=did_you_mean(size, list(QWEN3))))
    return QWEN3[size]
