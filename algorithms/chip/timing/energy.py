"""Energy of a plan on a chip: operations and bytes by the chip's table, and what chip and memory draw meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from algorithms.chip.plan.plan import Launch, TilePlan
from algorithms.chip.timing.throughput import padded_launch_flops
from algorithms.workload.shape import operand_bytes
from hwmodels.chips.accelerator import Accelerator
from hwmodels.costs.energy import energy_table


def energy_of(plan: TilePlan, chip: Accelerator, tier_bytes: Mapping[str, int], seconds: float) -> dict[str, float]:
    """Joules by component: ``matrix``, ``exp``, ``vector``, ``sram``, every tier by its name, ``static``.

    A tier's name stands for the bits that it moved, ``hbm.idle`` for its standby and refresh over the whole time.

    Products count as the array issues them. Local memory is written once by every load, and read once per product for
    both operands; what warps exchange in it, or write to it again in another order, comes on top. Instructions and
    clocks are not in the table, so the sum is a lower estimate of what a programmable chip draws.

    Parameters
    ----------
    tier_bytes
        Bytes that each shared tier moved.
    seconds
        How long it took.

    Raises
    ------
    InputError
        A number format that the chip has no products of.
    """
    table = energy_table(chip)
    moved = {name: count * table.tier_j_per_byte(name) for name, count in tier_bytes.items()}
    return {
        "matrix": sum(
            padded_launch_flops(launch, chip.core)
            * table.matmul_j_per_flop(chip.core.matrix_format(launch.matrix_format))
            for launch in plan.launches
        ),
        "exp": plan.total("exps") * table.exp_j,
        "vector": 2 * plan.total("vector_ops") * table.vector_j_per_flop,
        "sram": sum(map(_sram_bytes, plan.launches)) * table.sram_j_per_byte,
        **moved,
        **{f"{name}.idle": watts * seconds for name, watts in table.idle_w.items()},
        "static": table.static_w * seconds,
    }


@lru_cache(maxsize=4096)
def _sram_bytes(launch: Launch) -> int:
    read = sum(
        item_times * times * (product.rows + product.columns) * product.depth
        for item, item_times in launch.items
        for step, times in item.steps
        for product in (*step.scores, *step.values)
    )
    return (
        launch.total("load_bytes")
        + launch.total("exchange_bytes")
        + launch.total("rearranged_bytes")
        + operand_bytes(read, launch.matrix_format)
    )
