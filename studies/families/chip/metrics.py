"""Metrics of designs on a chip: throughput, energy, traffic, bounds and what the units of a core do."""

from __future__ import annotations

from functools import partial

from hwmodels.chips.interfaces import interfaces_mm2
from hwmodels.costs.area import area_of
from hwmodels.costs.energy import energy_table
from studies.families import metrics
from studies.families.chip.evaluation import ChipEvaluation
from studies.points.point import Scalar

metric = partial(metrics.metric, family="chip", order=100)


@metric(
    "tokens_per_second",
    "token/s",
    "tokens per second, all sequences, this attention",
    goal="max",
    title="Attention tokens per second",
)
def _tokens_per_second(evaluation: ChipEvaluation) -> Scalar:
    return evaluation.tokens / evaluation.seconds if evaluation.seconds else None


@metric(
    "energy_j", "J", "operations, bytes, leakage and idle memory by the chip's energy table", goal="min", title="Energy"
)
def _energy(evaluation: ChipEvaluation) -> Scalar:
    return sum(evaluation.energy_j.values())


@metric(
    "energy_per_token_j", "J/token", "energy over tokens of all sequences, in these layers", title="Energy per token"
)
def _energy_per_token(evaluation: ChipEvaluation) -> Scalar:
    return sum(evaluation.energy_j.values()) / evaluation.tokens if evaluation.tokens else None


@metric("layers", "", "layers that time, bytes and energy are of: one, or all", static=True, title="Layers counted")
def _layers(evaluation: ChipEvaluation) -> Scalar:
    return evaluation.layers


@metric("power_w", "W", "energy over time", title="Power")
def _power(evaluation: ChipEvaluation) -> Scalar:
    return sum(evaluation.energy_j.values()) / evaluation.seconds if evaluation.seconds else None


@metric("area_mm2", "mm2", "die area of the chip, published or estimated", goal="min", static=True, title="Die area")
def _area(evaluation: ChipEvaluation) -> Scalar:
    return area_of(evaluation.accelerator).die_mm2


@metric(
    "area.memory_interface_mm2",
    "mm2",
    "PHYs and controllers of the memories",
    static=True,
    title="Memory interface area",
)
def _interface_area(evaluation: ChipEvaluation) -> Scalar:
    return interfaces_mm2(evaluation.accelerator)


@metric("power.idle_w", "W", "leakage of the die, standby and refresh of the memories", static=True, title="Idle power")
def _idle_power(evaluation: ChipEvaluation) -> Scalar:
    return energy_table(evaluation.accelerator).waiting_w


@metric("memory_bytes", "B", "bytes moved by the main memory (HBM, DRAM)", goal="min", title="Main memory traffic")
def _memory_bytes(evaluation: ChipEvaluation) -> Scalar:
    return evaluation.run.tier_bytes[evaluation.accelerator.memory.name]


@metric("io_bytes", "B", "bytes that cores load from and store to shared tiers", goal="min", title="Core traffic")
def _io_bytes(evaluation: ChipEvaluation) -> Scalar:
    return evaluation.plan.total("load_bytes") + evaluation.plan.total("store_bytes")


@metric("flops_per_second", "FLOP/s", "useful FLOP per second", title="Useful compute rate")
def _flops_per_second(evaluation: ChipEvaluation) -> Scalar:
    return evaluation.plan.useful_flops / evaluation.seconds if evaluation.seconds else None


@metric("intensity", "FLOP/B", "useful FLOP per byte that the main memory moves", title="Arithmetic intensity")
def _intensity(evaluation: ChipEvaluation) -> Scalar:
    moved = evaluation.run.tier_bytes[evaluation.accelerator.memory.name]
    return evaluation.plan.useful_flops / moved if moved else None


@metric(
    "ridge",
    "FLOP/B",
    "intensity above which matrix arrays, not the main memory, bound this chip",
    title="Ridge of the roofline",
)
def _ridge(evaluation: ChipEvaluation) -> Scalar:
    return evaluation.accelerator.ridge_flops_per_byte(evaluation.point.attending.dtype)


@metric("bound.binding", "", "the largest of the lower bounds of this plan", title="Binding bound")
def _binding(evaluation: ChipEvaluation) -> Scalar:
    return evaluation.run.bounds.binding


@metric("bound.seconds", "s", "that bound: no overlap of the same work is faster", title="Binding bound, time")
def _bound(evaluation: ChipEvaluation) -> Scalar:
    return evaluation.run.bounds.seconds


@metric("bound.ratio", "", "time over the binding bound", title="Time over bound")
def _bound_ratio(evaluation: ChipEvaluation) -> Scalar:
    bound = evaluation.run.bounds.seconds
    return evaluation.seconds / bound if bound else None


@metric(
    "roofline.ratio", "", "time over the classic roofline (useful FLOP, compulsory bytes)", title="Time over roofline"
)
def _roofline_ratio(evaluation: ChipEvaluation) -> Scalar:
    return evaluation.run.roofline_ratio


@metric("busy.matrix", "", "share of the time in which a core's matrix array works", title="Matrix busy")
def _busy_matrix(evaluation: ChipEvaluation) -> Scalar:
    return evaluation.run.shares.get("matrix", 0.0)


@metric("busy.exp", "", "share of the time in which a core's exp unit works", title="Exp busy")
def _busy_exp(evaluation: ChipEvaluation) -> Scalar:
    return evaluation.run.shares.get("exp", 0.0)


@metric("busy.vector", "", "share of the time in which a core's vector lanes work", title="Vector busy")
def _busy_vector(evaluation: ChipEvaluation) -> Scalar:
    return evaluation.run.shares.get("vector", 0.0)


@metric("busy.memory", "", "share of the time in which the main memory works", title="Memory busy")
def _busy_memory(evaluation: ChipEvaluation) -> Scalar:
    return evaluation.run.shares.get("memory", 0.0)


@metric("cores_used", "", "cores that have work in the launch with most of it", title="Cores used")
def _cores_used(evaluation: ChipEvaluation) -> Scalar:
    return max((launch.cores for launch in evaluation.run.launches), default=0)


@metric("kv.exposed_s", "s", "waiting for transfers between memory tiers", order=350, title="Exposed transfers")
def _exposed(evaluation: ChipEvaluation) -> Scalar:
    return evaluation.run.exchange.exposed_s if evaluation.plan.transfers else None
