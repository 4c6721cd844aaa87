"""Attention on chips with much memory, everything else on chips with much arithmetic, two batches in turns, as Lamina.

Keys and values lie on the chips of the pool ``attention``, split by heads, weights on those of the pool ``compute``. In
every layer queries, new keys and new values go over, and what was attended comes back. Half of the sequences is on one
side while the other half is on the other, so that two halves take twice the longer side, and no less than one half
takes from end to end (Lamina, Chen et al. 2024, arXiv:2405.01814). Prompts are computed on the ``compute``
chips by themselves, and their keys and values are sent over behind them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from algorithms.live.requests import NANOSECONDS
from algorithms.live.steps import Part
from algorithms.live.tiers import IntArray
from algorithms.live.times.table import TableTimes
from algorithms.models.blocks import Attention
from algorithms.models.model import Model
from algorithms.workload.shape import DTYPE_BYTES
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True)
class Crossing:
    """What goes between the two pools.

    Parameters
    ----------
    layers
        Crossings of a step, there and back each.
    token_bytes, cached_bytes
        Bytes of a sequence that makes a token, in all layers both ways; and those of a token of a prompt.
    latency_s, bytes_per_second
        Latency of one way, and rate of all links that work side by side.
    """

    layers: int
    token_bytes: int
    cached_bytes: int
    latency_s: float
    bytes_per_second: float

    def seconds(self, sequences: int) -> float:
        """Time on links in a step of so many sequences."""
        return 2 * self.layers * self.latency_s + sequences * self.token_bytes / self.bytes_per_second

    @classmethod
    def of(cls, model: Model, kv_format: str, latency_s: float, bytes_per_second: float) -> Crossing:
        """Of a model whose layers attend with heads of their own; raises InputError for others."""
        decoder = model.decoder
        blocks = [(block, run.times) for run in (decoder.runs if decoder else ()) for block in run.blocks]
        attending = [(block, times) for block, times in blocks if isinstance(block, Attention)]
        if not attending or any(block.kind == "latent_attention" for block, _ in blocks):
            message = f"{model.name} has no heads that other chips could attend for"
            raise InputError(Problem(message, field="model"))
        element = DTYPE_BYTES["bfloat16"]
        crossing = sum(
            times * 2 * (block.heads + block.groups) * block.head_dim * element for block, times in attending
        )
        cached = sum(times * 2 * block.groups * block.head_dim * DTYPE_BYTES[kv_format] for block, times in attending)
        return cls(sum(times for _, times in attending), crossing, cached, latency_s, bytes_per_second)


class StaggeredTimes:
    """Times of steps of two pools of chips; a `algorithms.live.steps.StepTimes`.

    Parameters
    ----------
    compute, attention
        Tables of the same model on the chips of each pool.
    crossing
        Bytes that go between them.
    """

    def __init__(self, compute: TableTimes, attention: TableTimes, crossing: Crossing) -> None:
        self.compute, self.attention, self.crossing = compute, attention, crossing

    @property
    def filled(self) -> int:
        """Values that were computed."""
        return self.compute.filled + self.attention.filled

    def decode(self, sequences: int, context_tokens: IntArray) -> IntArray:
        """See `StepTimes`."""
        half = -(-sequences // 2)
        contexts = np.asarray(context_tokens, dtype=np.int64)
        layers = self.compute.rest(half, half)
        attended = self.attention.decode_attention(half, np.maximum(contexts * half // sequences, half))
        one = layers + attended + self.crossing.seconds(half)
        both = one if sequences == 1 else np.maximum(2 * np.maximum(layers, attended), one)
        return np.asarray(np.rint((self.compute.overhead_s + both) * NANOSECONDS), dtype=np.int64)

    def mixed(self, sequences: int, context_tokens: int, prefill: tuple[Part, ...]) -> int:
        """See `StepTimes`."""
        tokens = sum(part.new_tokens for part in prefill)
        sent_ns = round(NANOSECONDS * tokens * self.crossing.cached_bytes / self.crossing.bytes_per_second)
        prompts = max(self.compute.mixed(0, 0, prefill), sent_ns) if prefill else 0
        alone = int(self.decode(sequences, np.array([context_tokens]))[0]) if sequences else 0
        return prompts + alone

    def exact_mixed(self, sequences: int, context_tokens: int, prefill: tuple[Part, ...]) -> int:
        """The time of a step without the tables."""
        compute, attention = (
            TableTimes(each.source, each.grids, each.overhead_s, exact=True, joined=each.joined)
            for each in (self.compute, self.attention)
        )
        return StaggeredTimes(compute, attention, self.crossing).mixed(sequences, context_tokens, prefill)
