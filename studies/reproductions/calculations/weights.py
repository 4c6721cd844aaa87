"""Weights of models: by the part that they are of, and of many models in a large tier with a few in a fast one."""

from __future__ import annotations

import math

from algorithms.memory.experts import ExpertMemory, draw_requests, serve
from algorithms.models.blocks import Attention, FeedForward
from algorithms.models.text import load_model
from algorithms.models.weights import parameters
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError, Problem
from studies.reproductions.calculation import Figures, calculation


@calculation("weight_shares")
def weight_shares(model: str = "opt-6.7b") -> Figures:
    """Shares of a language model's weights: attention, feed-forward layers, and all else, as its tables."""
    known = load_model(model)
    decoder = known.decoder
    if decoder is None:
        raise InputError(Problem(f"{model} has no decoder", field="model"))
    counts = {
        kind: sum(
            layer.times * parameters(block.weights(decoder.width))
            for layer in decoder.runs
            for block in layer.blocks
            if isinstance(block, kind)
        )
        for kind in (Attention, FeedForward)
    }
    attention, behind = counts[Attention], counts[FeedForward]
    return {
        "attention": attention / known.parameters,
        "feed_forward": behind / known.parameters,
        "other": (known.parameters - attention - behind) / known.parameters,
    }


@calculation("expert_memory")
def expert_memory(
    model: str = "llama2-7b",
    chip: str = "sambanova_sn40l",
    chips: int = 8,
    link: str = "",
    switch_bytes_per_second: float = 0.0,
    experts: int = 150,
    requests: int = 4000,
    skew: float = 0.0,
) -> Figures:
    """Experts of a model's size on chips: time of a switch, experts that fit, and the share of requests that switch.

    The rate of a switch is as given, else that of one link of the name, else that of the far tiers of all chips.
    """
    weight_bytes = 2.0 * load_model(model).parameters
    accelerator = load_accelerator(chip)
    rate = switch_bytes_per_second
    if not rate:
        rate = accelerator.link(link).bytes_per_second if link else chips * accelerator.tier("ddr").bytes_per_second
    memory = ExpertMemory(weight_bytes, chips * accelerator.memory.capacity_bytes, rate)
    run = serve(memory, draw_requests(experts, requests, skew=skew), 0.0)
    return {
        "switch_s": memory.switch_s,
        "resident": memory.resident,
        "miss_rate": run.miss_rate,
        "expert_bytes": weight_bytes,
        "parameters": experts * weight_bytes / 2,
        "near_bytes": memory.fast_bytes,
    }


@calculation("boxes")
def boxes(held_bytes: float = 12e12, chip: str = "h100_sxm5_80g", chips: int = 8) -> Figures:
    """Boxes of chips whose main memories hold so many bytes."""
    return {"boxes": math.ceil(held_bytes / (chips * load_accelerator(chip).memory.capacity_bytes))}
