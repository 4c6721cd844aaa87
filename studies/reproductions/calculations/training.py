"""Memory of training: the longest sequence whose backward pass fits, by checkpoints of layers or by chunks of it."""

from __future__ import annotations

from algorithms.training.ledger import qwen3
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError, Problem
from studies.reproductions.calculation import Figures, calculation

TUNINGS = ("lora", "full")


@calculation("backward_memory")
def backward_memory(
    size: str = "4b", chip: str = "a100_sxm4_80g", tuning: str = "lora", chunk_tokens: int = 2000
) -> Figures:
    """Longest sequence that Qwen3 of a size is fine-tuned on, with checkpoints and with StreamBP's chunks."""
    if tuning not in TUNINGS:
        raise InputError(Problem(f"must be lora or full (got {tuning})", field="tuning"))
    model, room = qwen3(size), load_accelerator(chip).memory.capacity_bytes
    checkpointed, streamed = (
        model.longest(room, method, trains_all=tuning == "full", chunk=chunk_tokens)
        for method in ("checkpoints", "streambp")
    )
    return {
        "checkpointed_tokens": checkpointed,
        "streamed_tokens": streamed,
        "ratio": streamed / checkpointed,
    }
