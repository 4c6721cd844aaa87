"""How ``attnflow run`` tells what a design does on a chip."""

from __future__ import annotations

from collections.abc import Iterator

from hwmodels.tiers.dram_analytic import ERROR_REMARK
from studies.families.chip.evaluation import ChipEvaluation
from studies.families.chip.explain import IDLE_SHARE, LEAST_BINDING_SHARE, busy_cores, cache_limit
from studies.families.chip.tables import BOUNDS, bound_table, launch_table
from studies.families.text import changed_parameters, subject
from studies.tables import table
from studies.words import count, percent, quantity

_REMARKS = {
    "attention_recall": "of the attention is on keys that are kept, on a synthetic stream",
    "attention_error": "relative error of the output on that stream; nothing about a trained model",
}


def summary(evaluation: ChipEvaluation) -> str:
    """A result for people."""
    point, run = evaluation.point, evaluation.run
    chip = evaluation.chip.accelerator
    lines = [
        subject(point),
        f"chip: {chip.name}, {chip.cores} cores at {quantity(run.clock_hz, 'Hz')}" + _further(evaluation),
        f"parameters: {changed_parameters(point)}{_decided(evaluation)}",
        "",
        f"time      {quantity(evaluation.seconds, 's')} ({count(evaluation.cycles, 'cycle')})",
        f"bound by  {_what_binds(evaluation)}",
        *_idle(evaluation),
        *_rates(evaluation),
        *_memory(evaluation),
        f"values    {_values(evaluation)}",
        *_details(evaluation),
        "",
        bound_table(run),
        "",
        launch_table(run),
        "",
        _traffic_table(evaluation),
    ]
    return "\n".join(lines)


def _memory(evaluation: ChipEvaluation) -> list[str]:
    """How the main memory was modelled, unless its peak was taken."""
    if evaluation.chip.memory == "peak":
        return []
    if evaluation.chip.memory == "cycle":
        return ["memory    sustains what its banks do for the runs that are read"]
    return [f"memory    {ERROR_REMARK}"]


def _details(evaluation: ChipEvaluation) -> list[str]:
    """Further figures, one below the other, bytes with their unit."""
    width = max(9, *map(len, evaluation.details), 0)
    return [f"{name:<{width}} {_detail(name, value)}" for name, value in evaluation.details.items()]


def _detail(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return value
    shown = quantity(value, "B") if "_bytes" in name else f"{value:,.0f}" if value >= 1000 else f"{value:,.4g}"
    return f"{shown:<10} {_REMARKS[name]}" if name in _REMARKS else shown


def _what_binds(evaluation: ChipEvaluation) -> str:
    """The largest lower bound, and how near the design comes to it."""
    bounds = evaluation.run.bounds
    if not evaluation.seconds:
        return "nothing: there is no work"
    least, share = quantity(bounds.seconds, "s"), percent(bounds.seconds / evaluation.seconds)
    largest = f"{bounds.binding}: {BOUNDS[bounds.binding]} take at least {least}, {share} of the time"
    if bounds.seconds >= LEAST_BINDING_SHARE * evaluation.seconds or cache_limit(evaluation) is not None:
        return largest
    cores = evaluation.chip.accelerator.cores
    busy = busy_cores(cores - evaluation.idle_cores, cores)
    return f"no bound explains it{f': {busy}' if busy else ''}; the largest is {largest}"


def _idle(evaluation: ChipEvaluation) -> Iterator[str]:
    """A line if the cache, not a bound, sets the pace, and one if many cores have nothing to do."""
    cache = cache_limit(evaluation)
    if cache is not None:
        yield f"cache     moves bytes in {percent(cache)} of the time, and so sets the pace"
    cores = evaluation.chip.accelerator.cores
    if evaluation.idle_cores > IDLE_SHARE * cores:
        yield f"idle      {evaluation.idle_cores:,} of {cores:,} cores have nothing to do in the longest launch"


def _further(evaluation: ChipEvaluation) -> str:
    """The kernel that a run follows, and what was changed about the chip."""
    profile = evaluation.chip.profile
    changes = ", ".join(f"{path} = {value}" for path, value in evaluation.chip.accelerator.changes)
    return (f", as kernel {profile.name}" if profile else "") + (f"; changed: {changes}" if changes else "")


def _decided(evaluation: ChipEvaluation) -> str:
    """What was automatic, and is not any more."""
    given = dict(evaluation.point.parameters)
    chosen = [f"{name} = {value}" for name, value in evaluation.decided.items() if value != given.get(name)]
    return f"; chosen for this chip: {', '.join(chosen)}" if chosen else ""


def _rates(evaluation: ChipEvaluation) -> Iterator[str]:
    if not evaluation.seconds:
        return
    flops = evaluation.plan.useful_flops / evaluation.seconds
    dtype = evaluation.point.attending.dtype
    peak = evaluation.chip.accelerator.peak_flops_per_second(dtype)
    yield f"rate      {quantity(flops, 'FLOP/s')} useful, {percent(flops / peak)} of the peak in {dtype}"
    layers, of = evaluation.layers, evaluation.point.attending.layers
    of_model = f" ({'all' if layers == of else 'one' if layers == 1 else layers} of {of} layers)" if of else ""
    per_second = float(f"{evaluation.tokens / evaluation.seconds:.4g}")
    yield f"tokens    {per_second:,.10g} per second through this attention alone{of_model}"
    energy = sum(evaluation.energy_j.values())
    parts = sorted(evaluation.energy_j.items(), key=lambda item: -item[1])[:3]
    most = ", ".join(f"{name} {percent(joules / energy)}" for name, joules in parts)
    each = f", {quantity(energy / evaluation.tokens, 'J')} a token" if evaluation.tokens > 1 else ""
    yield f"energy    {quantity(energy, 'J')} ({most}){each}, {quantity(energy / evaluation.seconds, 'W')} on average"


def _values(evaluation: ChipEvaluation) -> str:
    deviation = evaluation.deviation
    if deviation is None:
        return evaluation.note
    drawn = "" if evaluation.point.tensors else ", on drawn tensors"
    return f"rel L2 {deviation.rel_l2:.3g}, max abs {deviation.max_abs:.3g} from the float64 oracle{drawn}"


def _traffic_table(evaluation: ChipEvaluation) -> str:
    plan, chip = evaluation.plan, evaluation.chip.accelerator
    rows = [
        (name, quantity(moved, "B"), _times(moved, plan.compulsory_bytes))
        for name, moved in evaluation.run.tier_bytes.items()
    ]
    held = [("in a core", plan.core_bytes), (f"in {chip.memory.name}", plan.capacity_bytes)]
    footprint = ", ".join(f"{quantity(size, 'B')} {where}" for where, size in held)
    return f"{table(('tier', 'moves', 'compulsory bytes'), rows)}\nholds at most {footprint}"


def _times(moved: int, compulsory: int) -> str:
    return f"x {moved / compulsory:.3g}" if compulsory else "-"
