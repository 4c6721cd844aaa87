"""Attention with a state as operations: projections, convolution, the state of every part of the batch, output."""

from __future__ import annotations

from dataclasses import replace

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.layers.passes import Pass
from algorithms.chip.plan.profile import unfitted_for
from algorithms.models.blocks import StateAttention
from algorithms.models.steps.batch import Part
from algorithms.models.steps.building import Builder
from algorithms.models.steps.operations import Operation, Tensor
from algorithms.models.steps.rates import state_call, with_gap
from algorithms.rounding import ceil_div
from algorithms.state.on_chip import StateParameters
from algorithms.workload.shape import DTYPE_BYTES, Workload

RULE = "gated_delta"
STATE_FORMAT = "float32"
"""Of states between steps, as serving stacks keep those of this rule."""
_TAP_OPS, _SILU_OPS, _UNIT_OPS = 1.0, 6.0, 4.0
"""Per element: a multiply-add for each tap; a SiLU of float32 values with a conversion each way; a row's length."""


def kept_bytes(block: StateAttention, tp: int) -> int:
    """What one sequence leaves in one chip's memory: its states, and the last rows before the convolution."""
    heads = ceil_div(block.value_heads, tp)
    states = heads * block.key_dim * block.value_dim * DTYPE_BYTES[STATE_FORMAT]
    return states + (block.taps - 1) * _channels(block, tp) * DTYPE_BYTES["bfloat16"]


def _channels(block: StateAttention, tp: int) -> int:
    keys, values = ceil_div(block.key_heads, tp), ceil_div(block.value_heads, tp)
    return 2 * keys * block.key_dim + values * block.value_dim


def state_attention(build: Builder, block: StateAttention, at: str) -> list[Operation]:
    """All operations of a block, in order."""
    tp, rows, element = build.whole.mapping.tp, build.tokens, DTYPE_BYTES["bfloat16"]
    width, heads = build.tower.width, ceil_div(block.value_heads, tp)
    values, channels = heads * block.value_dim, _channels(block, tp)
    wide = Tensor(f"{at}rows", rows * (channels + values) * element)
    gates = Tensor(f"{at}gates", rows * 2 * heads * element)
    turned = Tensor(f"{at}turned", rows * channels * element)
    normed, out = (f"{at}normed",), Tensor(f"{at}attended", rows * values * element)
    before = build.sequences * (block.taps - 1) * channels * element
    convolved = Pass(
        f"{at}convolution",
        rows * channels,
        element,
        element,
        ops=block.taps * _TAP_OPS + _SILU_OPS + _UNIT_OPS,
        exps=1.0,
        memory_bytes=before + block.taps * channels * element,
        stored_bytes=before,
    )
    found = [
        build.product(f"{at}qkv gate", rows, channels + values, width, normed, (wide,)),
        build.product(f"{at}strength decay", rows, 2 * heads, width, normed, (gates,)),
        build.one_pass(
            convolved, "pass", (wide.name,), (turned,), weights=block.taps * channels * element, cached=2 * before
        ),
    ]
    for number, part in enumerate(build.own_parts):
        made = _attended(build, block, part, (turned.name, gates.name), (out,) if number == 0 else (), at)
        found.append(replace(made, attends=True))
    scaled = build.passes.norm(f"{at}norm of heads", rows, values)
    gated = replace(scaled, read_bytes=2 * scaled.read_bytes, ops=scaled.ops + _SILU_OPS, exps=1.0)
    found.append(build.one_pass(gated, "norm", (out.name, wide.name), ()))
    result = Tensor(f"{at}out", rows * width * element)
    found.append(build.product(f"{at}o", rows, width, values, (out.name,), (result,)))
    return [*found, *build.summed(f"{at}sum", rows, tp)]


def _attended(
    build: Builder, block: StateAttention, part: Part, takes: tuple[str, ...], makes: tuple[Tensor, ...], at: str
) -> Operation:
    """The states of a part: by the kernel that stacks call on this chip, else by what the chip's own figures allow."""
    whole, tp = build.whole, build.whole.mapping.tp
    heads, keys = ceil_div(block.value_heads, tp), ceil_div(block.key_heads, tp)
    one = part.new == 1
    states = part.sequences * heads * block.key_dim * block.value_dim * DTYPE_BYTES[STATE_FORMAT]
    workload = Workload(
        name=f"{at}states",
        phase="decode" if one else "prefill",
        heads=heads,
        kv_heads=heads,
        q_len=part.new,
        kv_len=part.new,
        head_dim=block.key_dim,
        v_head_dim=block.value_dim,
        mask="full" if one else "causal",
        dtype="bfloat16",
        batch=part.sequences,
    )
    algorithm = get_chip_algorithm("state.decode" if one else "state.prefill")
    parameters = algorithm.resolved(workload, StateParameters(rule=RULE, state_dtype=STATE_FORMAT), whole.chip)
    plan = algorithm.plan(workload, parameters, whole.chip)
    known = state_call(one, (part.sequences, part.new, keys, heads, block.key_dim, block.value_dim), whole.chip)
    own = replace(unfitted_for(parameters), bandwidth_fraction=whole.rates.bandwidth)
    launches, profile = known or (plan.launches, own)
    # a prompt's first part begins with an empty state, which is only stored
    goes_on = part.total > part.new
    return Operation(
        name=f"{at}states {part.kind}",
        kind="attention",
        launches=launches,
        profile=with_gap(profile, whole.rates.gap_s(whole.options.launch)),
        flops=plan.useful_flops,
        cache_bytes=states * (2 if goes_on or one else 1),
        takes=takes,
        makes=makes,
    )
