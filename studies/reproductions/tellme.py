"""TeLLMe v2 (arXiv:2510.15926): a ternary model on an edge FPGA, matrix products as table look-ups.

Weights are -1, 0 or 1. A group of G of them picks one of 3^G sums of activations from a table; what a cycle can do is
how many such indices the ultra RAMs deliver.
"""

from __future__ import annotations

from collections.abc import Iterable

from hwmodels.chips.accelerator import load_accelerator
from studies.reproductions.register import Row, quoted, reproduced, reproduction

ABSTRACT = "arXiv:2510.15926, abstract"
NOTES = "arXiv:2510.15926, by readers' notes of its tables"

URAM_BITS = 72
"""Width of an ultra RAM's port."""
CASCADED_URAMS = 2
GROUPS = (2, 3, 4)
TERNARY_PARAMETERS = 680e6
"""Of the transformer; the head of 49 M runs on the processor."""
HEAD_S = 9e-3
TTFT_S = {64: 0.45, 128: 0.96}


@reproduction("tellme", "TeLLMe v2: a ternary model by table look-up on a KV260")
def tellme() -> Iterable[Row]:
    """Weights per cycle from the width of ultra RAMs and the bits of an index, time per token from them and from the
    memory, and which of both binds."""
    board = load_accelerator("kv260")
    per_cycle = {group: _weights_per_cycle(group) for group in GROUPS}
    best = max(per_cycle, key=lambda group: per_cycle[group])
    listed = ", ".join(f"{weights} for G = {group}" for group, weights in per_cycle.items())
    yield reproduced(
        "weights per index with the most per cycle",
        "",
        3,
        best,
        NOTES,
        within_pct=0.0,
        note=f"weights per cycle: {listed}",
    )
    lookup_s = TERNARY_PARAMETERS / per_cycle[best] / board.clock_hz
    yield reproduced(
        "decode rate",
        "1/s",
        25.0,
        1 / (lookup_s + HEAD_S),
        ABSTRACT,
        within_pct=5.0,
        note=f"{lookup_s * 1e3:.1f} ms of look-ups and {HEAD_S * 1e3:g} ms of the head",
    )
    weight_bytes = TERNARY_PARAMETERS / best * _index_bits(best) / 8
    memory_s = weight_bytes / board.memory.bytes_per_second
    yield reproduced(
        "time of look-ups over time of reading the weights",
        "x",
        None,
        lookup_s / memory_s,
        "-",
        note=f"{weight_bytes / 1e6:.0f} MB per token: look-ups bind, not the memory",
    )
    slope_s = (TTFT_S[128] - TTFT_S[64]) / 64
    yield reproduced(
        "tokens that share a look-up in prefill, implied",
        "",
        None,
        lookup_s / slope_s,
        ABSTRACT,
        note=f"{slope_s * 1e3:.1f} ms per further token between the two stated times to the first token",
    )
    yield quoted("power", "W", 5.0, ABSTRACT)


def _index_bits(group: int) -> int:
    """Bits that tell all ternary groups apart."""
    return int(3**group - 1).bit_length()


def _weights_per_cycle(group: int) -> int:
    """Weights that the indices read in one cycle stand for."""
    return URAM_BITS * CASCADED_URAMS // _index_bits(group) * group
