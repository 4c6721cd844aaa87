"""Memory of training: the longest sequence whose backward pass fits, by checkpoints of layers or by chunks of it."""

from __future__ import annotations

from dataclasses import replace

from algorithms.training.encoder_ledger import t5
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


@calculation("sampled_memory")
def sampled_memory(
    size: str = "base",
    chip: str = "a100_sxm4_80g",
    batch: int = 100,
    tokens: int = 128,
    share: float = 0.3,
    adapts_all: bool = True,
) -> Figures:
    """Memory of fine-tuning T5 of a size: all weights, adapters, and adapters with a share of rows (WTA-CRS)."""
    if not 0.0 < share <= 1.0:
        raise InputError(Problem(f"must be above 0 and at most 1 (got {share:g})", field="share"))
    model, room = replace(t5(size), adapts_all=adapts_all), load_accelerator(chip).memory.capacity_bytes
    peaks = [model.peak_bytes(method, batch, tokens, share) for method in ("all", "adapters", "sampled")]
    batches = [model.largest_batch(room, method, tokens, share) for method in ("all", "sampled")]
    return {
        "all_bytes": peaks[0],
        "adapters_bytes": peaks[1],
        "sampled_bytes": peaks[2],
        "memory_ratio": peaks[0] / peaks[2],
        "batch_ratio": batches[1] / batches[0],
    }
