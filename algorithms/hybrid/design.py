"""A model on a hybrid design: cycles of every phase, from the loop bounds of the sources, and FPGA resources."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from algorithms.hybrid.parameters import HybridParameters
from algorithms.rounding import ceil_div
from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError, Problem

MULTIPLIER_BITS = (26, 17)
"""Magnitude bits of both operands of a DSP48E2's signed 27 x 18 multiplier (AMD UG579, named, not re-read)."""
BLOCK_RAM_SHAPES = ((512, 72), (1024, 36), (2048, 18), (4096, 9))
"""Depths and widths of a 36 Kbit block RAM with one port for reading and one for writing (AMD UG573, likewise)."""
GATE_CYCLES_PER_EXPERT = 4
"""Softmax over the experts takes 3 cycles each (``pipeline II=3``), the selection 1 (Edge-MoE, src/moe.cpp)."""


@dataclass(frozen=True)
class HybridDesign:
    """`workload`, one image of a vision transformer, on the hardware that `parameters` describe.

    Raises
    ------
    InputError
        A workload that is no encoder: other keys than its own tokens, or a causal mask.
    """

    workload: Workload
    parameters: HybridParameters

    def __post_init__(self) -> None:
        work, problems = self.workload, []
        if work.q_len != work.kv_len:
            message = f"the tokens of an image attend to each other: must be kv_len = {work.kv_len} (got {work.q_len})"
            problems.append(Problem(message, field="q_len"))
        if work.mask != "full":
            problems.append(Problem(f"an encoder has none: must be full (got {work.mask})", field="mask"))
        if problems:
            raise InputError(problems)

    # --- the model --------------------------------------------------------------------------------------

    @property
    def tokens(self) -> int:
        """Patches of an image and its class token."""
        return self.workload.q_len

    @property
    def hidden(self) -> int:
        """Width of the residual stream; that of all heads where the workload does not say."""
        return self.workload.hidden or self.workload.heads * self.workload.head_dim

    @property
    def layers(self) -> int:
        """Layers of the model; one where the workload does not say."""
        return self.workload.layers or 1

    @property
    def feed_forward(self) -> int:
        """Width of a dense feed-forward layer."""
        return self.parameters.feed_forward or 4 * self.hidden

    @property
    def expert_hidden(self) -> int:
        """Width of an expert."""
        return self.parameters.expert_hidden or 2 * self.hidden

    def has_experts(self, layer: int) -> bool:
        """Whether a layer has experts: every second one does (M3ViT; Edge-MoE, arXiv:2305.18691)."""
        return self.parameters.experts > 0 and layer % 2 == 1

    @cached_property
    def queue_lengths(self) -> tuple[int, ...]:
        """Tokens sent to each expert: every token picks different experts at random, by the workload's seed."""
        rng = np.random.default_rng(self.workload.seed)
        count = self.parameters.experts
        picks = rng.random((self.tokens, count)).argsort(axis=1)[:, : self.parameters.experts_per_token]
        return tuple(np.bincount(picks.ravel(), minlength=count).tolist())

    # --- cycles -----------------------------------------------------------------------------------------

    @property
    def words(self) -> int:
        """Words of activations per token."""
        return ceil_div(self.hidden * self.parameters.activation_bits, self.parameters.bus_bits)

    @property
    def pass_cycles(self) -> int:
        """Cycles of a norm or an addition: every word of the image once."""
        return self.tokens * self.words

    def linear_cycles(self, tokens: int, inputs: int, outputs: int, units: int) -> int:
        """Cycles of a linear layer: a block of weights per cycle, or as fast as tokens come and go word by word."""
        own = self.parameters
        blocks = ceil_div(inputs, own.linear_in) * ceil_div(outputs, own.linear_out)
        moved = ceil_div(max(inputs, outputs) * own.activation_bits, own.bus_bits)
        return max(ceil_div(tokens, units) * blocks, tokens * moved)

    @property
    def share(self) -> int:
        """Queries of one streaming module."""
        return ceil_div(self.tokens, self.parameters.streaming_modules)

    @property
    def projection_cycles(self) -> int:
        """Cycles of Q, K, V or the output projection."""
        return self.linear_cycles(self.share, self.hidden, self.hidden, 1)

    @property
    def query_blocks(self) -> int:
        """Passes of one module over keys and values."""
        return ceil_div(self.share, self.parameters.attention_queries)

    @property
    def key_cycles(self) -> int:
        """Cycles per key, or value, of a pass: all heads, a tile per cycle."""
        return ceil_div(self.hidden, self.parameters.attention_tile)

    @property
    def gate_cycles(self) -> int:
        """Cycles to choose the experts."""
        return self.tokens * (self.words + GATE_CYCLES_PER_EXPERT * self.parameters.experts)

    def expert_cycles(self, tokens: int) -> tuple[int, int]:
        """Cycles of both linear layers of an expert."""
        units = self.parameters.linear_units
        first = self.linear_cycles(tokens, self.hidden, self.expert_hidden, units)
        return first, self.linear_cycles(tokens, self.expert_hidden, self.hidden, units)

    @property
    def dense_cycles(self) -> tuple[int, int]:
        """Cycles of both linear layers of a dense layer."""
        units = self.parameters.linear_units
        first = self.linear_cycles(self.tokens, self.hidden, self.feed_forward, units)
        return first, self.linear_cycles(self.tokens, self.feed_forward, self.hidden, units)

    def load_cycles(self, size: int) -> int:
        """Cycles to load `size` bytes of weights through one port."""
        return ceil_div(size * 8, min(self.parameters.bus_bits, self.parameters.memory_bytes_per_cycle * 8))

    def weight_bytes(self, inputs: int, outputs: int) -> int:
        """Bytes of the weights of a linear layer."""
        return ceil_div(inputs * outputs * self.parameters.weight_bits, 8)

    @property
    def attention_block_cycles(self) -> int:
        """Least time between two images in the attention block: QKV of one beside attention of another."""
        attention = self.query_blocks * self.tokens * self.key_cycles
        return max(self.pass_cycles + 3 * self.projection_cycles, attention + self.projection_cycles)

    @property
    def feed_forward_cycles(self) -> float:
        """Least time between two images in the feed-forward block, mean over layers; loads hide behind products."""
        dense = 2 * self.pass_cycles + sum(self.dense_cycles)
        if not self.parameters.experts:
            return dense
        with_experts = sum(map(self.has_experts, range(self.layers)))
        load = self.load_cycles(self.weight_bytes(self.hidden, self.expert_hidden))
        sparse = 2 * self.pass_cycles + self.gate_cycles
        sparse += sum(max(part, load) for tokens in self.queue_lengths if tokens for part in self.expert_cycles(tokens))
        return (with_experts * sparse + (self.layers - with_experts) * dense) / self.layers

    # --- resources --------------------------------------------------------------------------------------

    @property
    def attention_dsp(self) -> int:
        """DSP slices of a module's attention, ``(2 Psi(q) T_a + D_exp h) N_a`` (arXiv:2502.05602, section IV)."""
        own = self.parameters
        products = 2 * dsp_per_product(own.activation_bits, own.activation_bits) * own.attention_tile
        return (products + own.exp_dsp * self.workload.heads) * own.attention_queries

    @property
    def linear_dsp(self) -> int:
        """DSP slices of one linear unit."""
        own = self.parameters
        return own.linear_in * own.linear_out * dsp_per_product(own.activation_bits, own.weight_bits)

    @property
    def dsp(self) -> int:
        """DSP slices: attention with the linear units of QKV and projection in every module, and the shared units."""
        own = self.parameters
        return own.streaming_modules * (self.attention_dsp + 2 * self.linear_dsp) + own.linear_units * self.linear_dsp

    @property
    def block_rams(self) -> int:
        """36 Kbit block RAMs of weights (four of attention, two of feed-forward), of Q, K, V twice, of the attention's
        and the projection's output, and of the FIFO of scores."""
        own = self.parameters
        block = own.linear_in * own.linear_out * own.weight_bits
        attention = block_rams(block, ceil_div(self.hidden, own.linear_in) * ceil_div(self.hidden, own.linear_out))
        widest = max(self.feed_forward, self.expert_hidden if own.experts else 0)
        blocks = max(
            ceil_div(self.hidden, own.linear_in) * ceil_div(widest, own.linear_out),
            ceil_div(widest, own.linear_in) * ceil_div(self.hidden, own.linear_out),
        )
        activations = block_rams(own.bus_bits, self.tokens * self.words)
        scores = own.attention_queries * (1 << (self.workload.heads - 1).bit_length()) * own.activation_bits
        fifo = block_rams(scores, own.score_depth or self.tokens)
        return 4 * attention + 2 * block_rams(block, blocks) + 8 * activations + own.streaming_modules * fifo


def dsp_per_product(first_bits: int, second_bits: int) -> int:
    """DSP slices of a multiplier, each operand cut into pieces that one slice takes; the better way round."""
    long, short = MULTIPLIER_BITS
    ways = [ceil_div(a, long) * ceil_div(b, short) for a, b in ((first_bits, second_bits), (second_bits, first_bits))]
    return min(ways)


def block_rams(width_bits: int, depth: int) -> int:
    """Block RAMs of a memory, in the shape that takes fewest."""
    return min(ceil_div(width_bits, width) * ceil_div(depth, rows) for rows, width in BLOCK_RAM_SHAPES)
