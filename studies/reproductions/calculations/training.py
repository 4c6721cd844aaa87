"""Memory of training: what a backward pass needs at a time, by checkpoints of layers or by chunks of the sequence."""

from __future__ import annotations

from typing import Literal

from algorithms.models.blocks import Attention, FeedForward
from algorithms.models.text import load_model
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError, Problem
from studies.reproductions.calculation import Figures, calculation

Tuning = Literal["lora", "full"]
ELEMENT, LOGIT = 2, 4
"""Bytes of weights and activations, and of what a loss is computed in."""
LOGIT_CHUNK = 100
"""Rows of logits that StreamBP has at a time (arXiv:2506.03077, section 4)."""
LOGIT_COPIES = 2.5
"""Logits in 32 bit, their softmax, and both gradients in 16 bit: 10 bytes for each (ibidem)."""
STATIC_BYTES = {"lora": 2.0, "full": 4.0}
"""Of a parameter: the weight, and its gradient where all are trained (the optimizer's states are elsewhere there)."""


@calculation("backward_memory")
def backward_memory(
    model: str = "qwen3-4b", chip: str = "a100_sxm4_80g", tuning: str = "lora", chunks: int = 20, usable: float = 1.0
) -> Figures:
    """Longest sequence whose backward pass fits: no checkpoints, one for each layer, and chunks of the sequence.

    A layer keeps what its products and pointwise functions take: input, two norms, Q, K, V, output of attention, gate,
    up, and their product. Attention itself keeps nothing of the square of the length.
    """
    if tuning not in STATIC_BYTES:
        raise InputError(Problem(f"must be lora or full (got {tuning})", field="tuning"))
    read = load_model(model)
    decoder = read.decoder
    if decoder is None:
        raise InputError(Problem(f"{model} has no decoder", field="model"))
    blocks = [block for layer in decoder.runs for block in layer.blocks]
    attention = next(block for block in blocks if isinstance(block, Attention))
    feeding = next(block for block in blocks if isinstance(block, FeedForward))
    head = decoder.outputs[-1]
    vocabulary = getattr(head, "outputs", 0)
    room = usable * load_accelerator(chip).memory.capacity_bytes - STATIC_BYTES[tuning] * read.parameters

    width = decoder.width
    kept_layer = ELEMENT * (4 * width + 2 * attention.q_width + 2 * attention.kv_width + 3 * feeding.inner)
    checkpoints = ELEMENT * decoder.depth * width
    logits = LOGIT * LOGIT_COPIES * vocabulary
    # keys and values of a layer, with their gradients, stay for all chunks
    shared = ELEMENT * 4 * attention.kv_width
    whole = room / (decoder.depth * kept_layer + logits)
    checkpointed = room / (checkpoints + max(kept_layer, logits))
    streamed = (room - logits * LOGIT_CHUNK) / (checkpoints + shared + kept_layer / chunks)
    return {
        "whole_tokens": whole,
        "checkpointed_tokens": checkpointed,
        "streamed_tokens": streamed,
        "ratio": streamed / checkpointed,
    }
