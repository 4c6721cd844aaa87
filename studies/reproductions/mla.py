"""Orders of latent attention: crossovers by simulation and by formula, and the claims of arXiv:2506.02523."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hwmodels.chips.accelerator import Accelerator, load_accelerator
from studies.reproductions.mla_study import (
    CHIPS,
    absorption_point,
    arithmetic_alone,
    cost,
    decode_step,
    over_bandwidth,
    over_chips,
    reuse_ridge,
    reuse_ridge_by_launch,
)
from studies.reproductions.register import Row, quoted, reproduced, reproduction
from studies.validate.mla.formulas import absorption_crossover, reuse_crossover

PAPER = "Geens and Verhelst, arXiv:2506.02523"
NOTES = f"{PAPER}, by public reading notes, not checked against the paper"
FLOPS_FORMULA = "equal FLOP: L dc (dh + dv) / (dc (dh + dv) + L (2 dc - dh - dv))"
ROOFLINE_FORMULA = "roofline of the whole block: FLOP of rc / bytes of ru"
LAUNCH_FORMULA = "roofline launch by launch"

CONTEXTS = (1024, 4096, 32768)
ON_CHIPS = ("h100_sxm5_80g", "b200", "mi300x", "tpu_v5p")
REUSE_POINTS = ((1, 1024), (1, 65536), (32, 4096), (128, 4096))
"""(batch, context)."""
BATCH_FOR_BANDWIDTH = 32
SLOWER = 0.125
"""Of the bandwidth, for how steady an order is."""


@reproduction("mla-crossovers", "MLA: where one order of operations becomes better than another")
def crossovers() -> Iterable[Row]:
    """DeepSeek-V3 layers, planned and simulated. Absorb or expand: new tokens per sequence at which both take the same
    time, beside those at which they take the same FLOP. Recompute or reuse: the ridge at which both take the same time,
    beside that of rooflines. And which orders win on which chips."""
    h100 = load_accelerator("h100_sxm5_80g")
    yield from _absorption(h100)
    yield from _reuse(h100)
    yield from _claims()
    yield from _steadiness(h100)


def _absorption(h100: Accelerator) -> Iterator[Row]:
    for context in CONTEXTS:
        formula = absorption_crossover(decode_step(1, context))
        alone = absorption_point(arithmetic_alone(h100), context)
        if alone is not None:
            yield reproduced(
                f"absorb below, expand above, {context} tokens, only matrix arrays bind",
                "tokens",
                formula,
                alone,
                FLOPS_FORMULA,
                within_pct=15.0,
                note="tiles that are not full and last waves of work make the difference" if context == 1024 else "",
            )
    for name in ON_CHIPS:
        for context in CONTEXTS[:2]:
            found = absorption_point(load_accelerator(name), context)
            if found is not None:
                yield reproduced(
                    f"absorb below, expand above, {context} tokens, {name}",
                    "tokens",
                    absorption_crossover(decode_step(1, context)),
                    found,
                    FLOPS_FORMULA,
                    note="softmax, caches and memory included" if (name, context) == (ON_CHIPS[0], 1024) else "",
                )


def _reuse(h100: Accelerator) -> Iterator[Row]:
    for batch, context in REUSE_POINTS:
        workload = decode_step(batch, context)
        setting = f"batch {batch}, {context} tokens"
        found = reuse_ridge(h100, workload)
        first = (batch, context) == REUSE_POINTS[0]
        yield reproduced(
            f"rc above, ru below, {setting}",
            "FLOP/B",
            reuse_crossover(workload),
            found,
            ROOFLINE_FORMULA,
            note="one roofline lets the rebuilding hide behind all loads of the block; launches do not"
            if first
            else "",
        )
        by_launch = reuse_ridge_by_launch(h100, workload)
        yield reproduced(
            f"rc above, ru below, {setting}, by launch", "FLOP/B", by_launch, found, LAUNCH_FORMULA, within_pct=30.0
        )


def _claims() -> Iterator[Row]:
    """At batch 1 and 4096 tokens, on every chip of the study."""
    workload = decode_step(1, 4096)
    orders = ("block.mha", "mla.seq", "mla.rc", "mla.ru")
    seconds = {(found.chip, found.order): found.seconds for found in over_chips(orders, workload)}
    chips = sorted({chip for chip, _ in seconds})
    recompute = sum(seconds[chip, "mla.rc"] < seconds[chip, "mla.ru"] for chip in chips)
    sequential = sum(
        seconds[chip, "mla.seq"] <= min(seconds[chip, "mla.rc"], seconds[chip, "mla.ru"]) for chip in chips
    )
    losers = [chip for chip in chips if seconds[chip, "mla.rc"] >= seconds[chip, "mla.ru"]]
    yield reproduced(
        "chips on which rc is faster than ru, batch 1",
        f"of {len(CHIPS)}",
        len(CHIPS),
        recompute,
        NOTES,
        within_pct=0.0,
        note=f"'essentially all commercial accelerators'; not on {', '.join(losers)}" if losers else "",
    )
    note = "seq moves no more bytes than rc and does fewer FLOP than both"
    yield reproduced("chips on which seq is fastest", f"of {len(CHIPS)}", None, sequential, "-", note=note)
    h100 = load_accelerator("h100_sxm5_80g")
    for order, published in (("block.mha", (0.5, 1.5)), ("mla.rc", (3.0, 5.0))):
        found = cost(order, workload, h100).intensity
        yield reproduced(
            f"intensity of {order}, batch 1", "FLOP/B", published, found, NOTES, note=_intensity_note(order)
        )
    yield reproduced("intensity of mla.seq, batch 1", "FLOP/B", None, cost("mla.seq", workload, h100).intensity, "-")
    yield quoted("modelled platform", "GB/s", 400, NOTES)


def _intensity_note(order: str) -> str:
    if order == "mla.rc":
        return "no way of counting that we tried gives 3 to 5 for rebuilding a composite; seq is at 4.0"
    return ""


def _steadiness(h100: Accelerator) -> Iterator[Row]:
    """How much slower a step becomes on memory of an eighth of the bandwidth."""
    workload = decode_step(BATCH_FOR_BANDWIDTH, 4096)
    for order in ("block.mha", "block.gqa", "mla.seq"):
        full, less = (found.seconds for _, found in over_bandwidth([order], workload, h100, (1.0, SLOWER)))
        yield reproduced(
            f"slow-down of {order} on an eighth of the bandwidth, batch {BATCH_FOR_BANDWIDTH}",
            "x",
            None,
            less / full,
            PAPER,
            note="'steadier than MHA on bandwidth-limited platforms': 8 would be bound by memory alone"
            if order == "block.mha"
            else "",
        )
