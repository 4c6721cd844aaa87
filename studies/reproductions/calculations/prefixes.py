"""Prompts with common beginnings through a cache of beginnings that forgets the least lately used."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from algorithms.models.text import load_model
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError, Problem
from studies.reproductions.calculation import Figures, calculation
from studies.reproductions.calculations.kv import cache_shape

ORDERS = ("grouped", "shuffled")


@calculation("prefix_reuse")
def prefix_reuse(
    order: str = "grouped",
    groups: int = 400,
    members: int = 16,
    prefix_tokens: int = 16384,
    own_tokens: int = 256,
    model: str = "llama3-8b",
    chip: str = "a100_sxm4_80g",
    usable: float = 0.9,
    seed: int = 0,
) -> Figures:
    """Share of all prompt tokens that need not be computed again, of groups of requests with a prefix each.

    Requests come group after group, or in a random order; keys and values of prefixes fill what a GPU has left beside
    the weights.
    """
    if order not in ORDERS:
        raise InputError(Problem(f"must be grouped or shuffled (got {order})", field="order"))
    shape = cache_shape(model)
    room = usable * load_accelerator(chip).memory.capacity_bytes - 2.0 * load_model(model).parameters
    capacity = int(room // (shape.token_bytes * shape.kv_heads * shape.layers * prefix_tokens))
    if capacity < 1:
        raise InputError(Problem("a prefix does not fit beside the weights", field="prefix_tokens"))
    requests = np.repeat(np.arange(groups), members)
    if order == "shuffled":
        np.random.default_rng(seed).shuffle(requests)
    cached: OrderedDict[int, None] = OrderedDict()
    saved = 0
    for group in requests.tolist():
        if group in cached:
            cached.move_to_end(group)
            saved += prefix_tokens
            continue
        if len(cached) == capacity:
            cached.popitem(last=False)
        cached[group] = None
    return {"reuse": saved / (len(requests) * (prefix_tokens + own_tokens)), "prefixes": capacity}
