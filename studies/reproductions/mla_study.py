"""Orders of multi-head latent attention on chips: time and energy, and where one order becomes better than another.

Every number comes from a plan that is simulated on a chip (`algorithms.chip.timing.mapping`);
`studies.validate.mla.formulas` has the closed formulas that stand beside them. Chips are taken as their data sheets
say, with as many tiles on their way as the memory's latency asks for and a core has room for, with kernels that load
for the next work item while they work on one, and no gap between launches: differences between orders are those of the
work, not of software.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from algorithms.chip.latent.blocks import get_block
from algorithms.chip.latent.fit import BlockParameters
from algorithms.chip.plan.plan import TilePlan
from algorithms.chip.plan.profile import KernelProfile, unfitted_for
from algorithms.chip.timing.energy import energy_of
from algorithms.chip.timing.mapping import time_plan
from algorithms.workload.shape import Workload
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import Accelerator, load_accelerator

CHIPS = (
    "a100_sxm4_80g",
    "h100_sxm5_80g",
    "h200_sxm_141g",
    "h20",
    "b200",
    "mi300x",
    "tpu_v5e",
    "tpu_v5p",
    "tenstorrent_wormhole_n150",
    "jetson_agx_orin_64g",
    "flat_cloud",
)
FREE = 1e9
"""Factor on a rate that shall bind nothing."""
TOKEN_STEP = 64
"""New tokens between two trials for a crossover: whole tiles, so that ragged ones do not decide."""
MOST_TOKENS = 512
RIDGES = (10.0, 1000.0)
BISECTIONS = 10


@dataclass(frozen=True)
class Cost:
    """A block on a chip.

    Parameters
    ----------
    chip, order
        Names.
    seconds, energy_j
        Of one step.
    tokens
        New ones, of all sequences.
    flops, bytes
        Useful FLOP; bytes that the main memory moved.
    ridge
        FLOP per byte of the chip.
    binding
        The largest lower bound.
    """

    chip: str
    order: str
    seconds: float
    energy_j: float
    tokens: int
    flops: int
    bytes: int
    ridge: float
    binding: str

    @property
    def tokens_per_second(self) -> float:
        """Of this layer alone."""
        return self.tokens / self.seconds

    @property
    def intensity(self) -> float:
        """Useful FLOP per byte moved."""
        return self.flops / self.bytes


def decode_step(batch: int, context: int, new_tokens: int = 1, model: str = "deepseek-v3") -> Workload:
    """New tokens against a cache, every one against all of it."""
    return load_workload(model).with_(batch=batch, q_len=new_tokens, kv_len=context, phase="decode", mask="full")


def persistent(parameters: BlockParameters) -> KernelProfile:
    """Kernels with as many tiles on the way as `parameters`, decided for a chip, say, the next item's among them."""
    return dataclasses.replace(unfitted_for(parameters), name="persistent", next_item="ahead")


@lru_cache(maxsize=4096)
def cost(order: str, workload: Workload, chip: Accelerator) -> Cost:
    """Plan and simulate a block: ``mla.seq`` and the other orders, ``block.mha`` and the other plain ones.

    Raises
    ------
    simulator.CapacityError
        No tile fits into a core.
    """
    block = get_block(order)
    parameters = block.resolved(workload, BlockParameters(), chip)
    plan = block.plan(workload, parameters, chip)
    run = time_plan(plan, chip, persistent(parameters))
    energy = energy_of(plan, chip, run.tier_bytes, run.seconds)
    return Cost(
        chip=chip.name,
        order=order,
        seconds=run.seconds,
        energy_j=sum(energy.values()),
        tokens=workload.batch * workload.q_len,
        flops=plan.useful_flops,
        bytes=run.tier_bytes[chip.memory.name],
        ridge=chip.ridge_flops_per_byte(workload.dtype),
        binding=run.bounds.binding,
    )


def over_chips(orders: Sequence[str], workload: Workload, chips: Sequence[str] = CHIPS) -> Iterator[Cost]:
    """Every order on every chip."""
    for name, order in itertools.product(chips, orders):
        yield cost(order, workload, load_accelerator(name))


def over_bandwidth(
    orders: Sequence[str], workload: Workload, chip: Accelerator, factors: Sequence[float]
) -> Iterator[tuple[float, Cost]]:
    """Every order with the bandwidth of the main memory scaled by every factor: pairs (bytes per second, cost)."""
    for factor, order in itertools.product(factors, orders):
        scaled = chip.memory.bytes_per_second * factor
        yield scaled, cost(order, workload, chip.with_(**{f"{chip.memory.name}.bytes_per_second": scaled}))


def arithmetic_alone(chip: Accelerator) -> Accelerator:
    """The chip with everything but its matrix arrays made too fast to bind."""
    rates = {f"{tier.name}.bytes_per_second": tier.bytes_per_second * FREE for tier in chip.tiers}
    core = chip.core
    return chip.with_(
        **rates,
        **{
            "core.exp_per_cycle": core.exp_per_cycle * FREE,
            "core.vector_flops_per_cycle": core.vector_flops_per_cycle * FREE,
            "core.sram_bytes_per_cycle": core.sram_bytes_per_cycle * FREE,
        },
    )


def with_ridge(chip: Accelerator, ridge: float, number_format: str = "bfloat16") -> Accelerator:
    """The chip with matrix arrays that give it this ridge, its memory as it is."""
    rate = chip.core.matrix_rate(number_format) * ridge / chip.ridge_flops_per_byte(number_format)
    return chip.with_(**{f"core.matrix_flops_per_cycle.{chip.core.matrix_format(number_format)}": rate})


def absorption_point(chip: Accelerator, context: int, batch: int = 1) -> float | None:
    """New tokens per sequence from which expanding the latent takes less time than absorbing the projections.

    Between whole tiles the ratio of times is interpolated; None when absorbing is still faster at `MOST_TOKENS`.
    """

    def slower(tokens: int) -> float:
        workload = decode_step(batch, context, tokens)
        return math.log(cost("mla.seq", workload, chip).seconds / cost("mla.exp", workload, chip).seconds)

    last, before = 1, slower(1)
    if before >= 0:
        return 1.0
    for tokens in range(TOKEN_STEP, min(MOST_TOKENS, context) + 1, TOKEN_STEP):
        now = slower(tokens)
        if now >= 0:
            return last + (tokens - last) * before / (before - now)
        last, before = tokens, now
    return None


def reuse_ridge(chip: Accelerator, workload: Workload, recomputed: str = "mla.rc", reused: str = "mla.ru") -> float:
    """Ridge above which recomputing a composite takes less time than reading it, on this chip's memory and cores."""

    def gain(ridge: float) -> float:
        changed = with_ridge(chip, ridge)
        return cost(reused, workload, changed).seconds / cost(recomputed, workload, changed).seconds - 1

    return _sign_change(gain, *RIDGES)


def reuse_ridge_by_launch(
    chip: Accelerator, workload: Workload, recomputed: str = "mla.rc", reused: str = "mla.ru"
) -> float:
    """The same if every launch took its own roofline time: nothing of one launch hides behind another."""
    plans = [get_block(order).plan(workload, BlockParameters(), chip) for order in (recomputed, reused)]

    def seconds(plan: TilePlan, ridge: float) -> float:
        """In units of one byte's time."""
        return sum(max(launch.total("flops") / ridge, launch.unique_load_bytes) for launch in plan.launches)

    return _sign_change(lambda ridge: seconds(plans[1], ridge) - seconds(plans[0], ridge), *RIDGES)


def _sign_change(gain: Callable[[float], float], low: float, high: float) -> float:
    """Where `gain` turns positive, by bisection of the logarithm; an end of the range if it does not turn."""
    if gain(low) > 0:
        return low
    if gain(high) < 0:
        return high
    for _ in range(BISECTIONS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if gain(middle) > 0 else (middle, high)
    return math.sqrt(low * high)
