"""Orders of latent attention over chips: who wins where, how steady they are, and how intense."""

from __future__ import annotations

from hwmodels.chips.accelerator import load_accelerator
from studies.reproductions.calculation import Figures, calculation
from studies.reproductions.mla_study import (
    CHIPS,
    absorption_point,
    arithmetic_alone,
    cost,
    decode_step,
    over_bandwidth,
    over_chips,
)
from studies.validate.mla.formulas import absorption_crossover


@calculation("latent_orders")
def latent_orders(
    first: str = "mla.rc",
    second: str = "mla.ru",
    batch: int = 1,
    context_tokens: int = 4096,
    chip: str = "h100_sxm5_80g",
) -> Figures:
    """Two orders on all chips of the study: on how many the first is faster, and their intensities on one chip."""
    workload = decode_step(batch, context_tokens)
    seconds = {(found.chip, found.order): found.seconds for found in over_chips((first, second), workload)}
    joules = {(found.chip, found.order): found.energy_j for found in over_chips((first, second), workload)}
    chips = {name for name, _ in seconds}
    one = load_accelerator(chip)
    return {
        "chips": len(CHIPS),
        "first_faster": sum(seconds[name, first] < seconds[name, second] for name in chips),
        "first_leaner": sum(joules[name, first] < joules[name, second] for name in chips),
        "first_intensity": cost(first, workload, one).intensity,
        "second_intensity": cost(second, workload, one).intensity,
    }


@calculation("slow_down")
def slow_down(
    order: str = "mla.seq",
    batch: int = 32,
    context_tokens: int = 4096,
    chip: str = "h100_sxm5_80g",
    bandwidth_factor: float = 0.125,
) -> Figures:
    """How much longer a step takes on memory of a fraction of the bandwidth."""
    factors = (1.0, bandwidth_factor)
    full, less = over_bandwidth([order], decode_step(batch, context_tokens), load_accelerator(chip), factors)
    return {"ratio": less[1].seconds / full[1].seconds}


@calculation("absorption")
def absorption(chip: str = "h100_sxm5_80g", context_tokens: int = 4096, bare: bool = True) -> Figures:
    """New tokens per sequence from which expanding a latent beats absorbing, simulated, and where FLOP are equal.

    ``bare`` lets nothing but the matrix arrays bind.
    """
    known = load_accelerator(chip)
    found = absorption_point(arithmetic_alone(known) if bare else known, context_tokens)
    formula = absorption_crossover(decode_step(1, context_tokens))
    return {"formula_tokens": formula} | ({} if found is None else {"tokens": found})
