"""Settings of the hybrid pattern, and the checks of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from algorithms.workload.levers import knob
from hwmodels.reading.errors import InputError, Problem

_MAY_BE_ZERO = ("feed_forward", "experts", "expert_hidden", "score_depth")


@dataclass(frozen=True)
class HybridParameters:
    """A model's feed-forward layers, and the hardware it runs on.

    The vector that UbiMoE searches, [num, T_a, N_a, T_in, T_out, N_L], is here ``streaming_modules``,
    ``attention_tile``, ``attention_queries``, ``linear_in``, ``linear_out``, ``linear_units``.

    Raises
    ------
    InputError
        For values out of range, all at once.
    """

    value_parameters: ClassVar[tuple[str, ...]] = ()
    """Nothing here changes values: there are none."""

    streaming_modules: int = field(
        default=1,
        metadata=knob(
            "copies of QKV, attention and projection; each takes its share of the queries",
            speeds=("qkv", "qk", "pv", "project"),
        ),
    )
    attention_tile: int = field(
        default=8,
        metadata=knob("elements of a key, and of a value, that one query takes in per cycle", speeds=("qk", "pv")),
    )
    attention_queries: int = field(
        default=4,
        metadata=knob("queries that share one pass over keys and values", speeds=("qk", "pv")),
    )
    linear_in: int = field(
        default=16,
        metadata=knob("inputs of a linear unit's block of weights", speeds=("qkv", "project", "feed_forward")),
    )
    linear_out: int = field(
        default=16,
        metadata=knob("outputs of a linear unit's block of weights", speeds=("qkv", "project", "feed_forward")),
    )
    linear_units: int = field(
        default=3,
        metadata=knob(
            "linear units of the feed-forward layers; each takes its share of the tokens", speeds=("feed_forward",)
        ),
    )
    feed_forward: int = field(default=0, metadata=knob("width of the feed-forward layers; 0: four times hidden"))
    experts: int = field(default=0, metadata=knob("experts of every second layer; 0: all layers are dense"))
    expert_hidden: int = field(default=0, metadata=knob("width of an expert; 0: twice hidden"))
    experts_per_token: int = field(default=2, metadata=knob("experts that each token is sent to"))
    images: int = field(default=1, metadata=knob("images that go through each layer together"))
    activation_bits: int = field(default=32, metadata=knob("width of an activation", "bit", format_of="activations"))
    weight_bits: int = field(default=16, metadata=knob("width of a weight", "bit", format_of="weights"))
    bus_bits: int = field(default=256, metadata=knob("width of a memory port and of a word of activations", "bit"))
    memory_bytes_per_cycle: int = field(
        default=64, metadata=knob("rate of the memory that weights come from, for all ports together", "B/cycle")
    )
    exp_dsp: int = field(default=4, metadata=knob("DSP slices of one exponential unit (an assumption)"))
    score_depth: int = field(
        default=0,
        metadata=knob(
            "depth of the FIFO of scores, in keys; 0: all tokens of an image, the least it needs", depth=True
        ),
    )

    def __post_init__(self) -> None:
        problems = []
        for name, value in vars(self).items():
            least = 0 if name in _MAY_BE_ZERO else 1
            if value < least:
                problems.append(Problem(f"must be at least {least} (got {value})", field=name))
        if self.experts and self.experts_per_token > self.experts:
            message = f"must not exceed experts = {self.experts} (got {self.experts_per_token})"
            problems.append(Problem(message, field="experts_per_token"))
        if not problems and self.bus_bits < max(self.activation_bits, self.weight_bits, 8):
            problems.append(Problem(f"must hold an element (got {self.bus_bits})", field="bus_bits"))
        if problems:
            raise InputError(problems)
