"""What kernels of layers reach of a chip's figures, and what launches cost: cited or fitted numbers, one file.

Attention has profiles of its own kernels (`algorithms.chip.plan.kernels`); everything else goes by these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib import resources
from typing import Literal

from pydantic import BaseModel, ConfigDict

from algorithms.chip.layers.formats import weight_format
from algorithms.chip.layers.gemm import STAGES
from algorithms.chip.layers.served import SERVED_PRODUCTS
from algorithms.chip.plan.kernels import load_kernel
from algorithms.chip.plan.plan import Launch
from algorithms.chip.plan.profile import KernelProfile, NextItem
from algorithms.chip.timing.calls import GRAPH_EDGE_S, REFERENCE_CLOCK_HZ
from algorithms.models.steps.varlen import ITEMS_PER_CORE
from algorithms.registry import Parameters
from algorithms.state.launches import FORMS
from algorithms.state.served import SERVED_STATES
from algorithms.workload.shape import DTYPE_BYTES, Workload
from hwmodels.chips.accelerator import Accelerator
from hwmodels.reading.bibliography import references, source_text
from hwmodels.reading.cited import Cited
from hwmodels.reading.documents import read_text
from hwmodels.reading.quantity import Seconds

Launching = Literal["graph", "eager"]
FILE = "rates.yaml"

ATTENTION_KERNELS = {
    "prefill": {
        **dict.fromkeys(("h100_sxm5_80g", "h100_pcie_80g", "h800_sxm5", "h200_sxm_141g", "h20"), "fa3_hopper"),
        **dict.fromkeys(("a100_sxm4_80g", "a100_sxm4_40g", "a100_pcie_80g"), "fa2_ampere"),
    },
    "decode": {
        **dict.fromkeys(("h100_sxm5_80g", "h100_pcie_80g", "h800_sxm5", "h200_sxm_141g", "h20"), "fa3_decode_hopper"),
        **dict.fromkeys(("a100_sxm4_80g", "a100_sxm4_40g", "a100_pcie_80g"), "flash_decoding_ampere"),
    },
}
"""Profiles of attention by phase and chip; chips without one are timed by their own figures."""


class RatesText(BaseModel):
    """Numbers of a chip."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    bandwidth: Cited[float] | None = None
    products: Cited[float] | None = None
    products_8bit: Cited[float] | None = None
    products_error: Cited[float] | None = None
    exchange_error: Cited[float] | None = None
    graph_fixed: Cited[Seconds] | None = None
    eager_gap: Cited[Seconds] | None = None


class VarlenText(BaseModel):
    """Numbers of vLLM's attention of whole batches (`algorithms.models.steps.varlen`) on a chip."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    products: Cited[float]
    bandwidth: Cited[float]
    item_gap: Cited[Seconds]
    rowless_block: Cited[Seconds]


class RatesFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    default: RatesText
    chips: dict[str, RatesText]
    varlen: dict[str, VarlenText]


@dataclass(frozen=True)
class Rates:
    """What layers reach on a chip.

    Parameters
    ----------
    bandwidth, products, products_8bit
        Shares of the main memory's and of the matrix arrays' rate, for operands of 16 bits and for narrower ones.
    products_error, exchange_error
        Mean of the absolute errors of products and exchanges on measured rows that nothing was fitted to.
    graph_fixed_s
        Time of a launch of a replayed graph beyond what is simulated of it: the gap before it, its ramp-up and end.
        `algorithms.chip.timing.calls.GRAPH_EDGE_S` is the gap alone.
    eager_gap_s
        Time between launches of a host that launches one by one.
    sources
        Pairs (name, source).
    """

    bandwidth: float
    products: float
    products_8bit: float
    products_error: float
    exchange_error: float
    graph_fixed_s: float
    eager_gap_s: float
    sources: tuple[tuple[str, str], ...] = ()

    def gap_s(self, launching: Launching) -> float:
        """What a launch costs beside what is simulated of it."""
        return self.graph_fixed_s if launching == "graph" else self.eager_gap_s

    def product(self, operands: str, launching: Launching) -> KernelProfile:
        """Profile of products."""
        narrow = DTYPE_BYTES.get(operands, 2) < 2 or operands in ("int4", "float4_e2m1")
        reached = self.products_8bit if narrow else self.products
        return _profile("products", self.bandwidth, reached, self.gap_s(launching), "ahead")

    def passes(self, launching: Launching) -> KernelProfile:
        """Profile of everything that is neither a product nor attention."""
        return _profile("passes", self.bandwidth, 1.0, self.gap_s(launching), "stored")


@lru_cache(maxsize=256)
def _profile(
    name: str, bandwidth_fraction: float, matrix_fraction: float, launch_gap_s: float, next_item: NextItem
) -> KernelProfile:
    """Made and checked once, as every operation of a step has one."""
    return KernelProfile(
        name=name,
        bandwidth_fraction=bandwidth_fraction,
        matrix_fraction=matrix_fraction,
        launch_gap_s=launch_gap_s,
        tiles_in_flight=STAGES,
        next_item=next_item,
    )


@cache
def _file() -> RatesFile:
    text = (resources.files("algorithms.models.steps") / FILE).read_text(encoding="utf-8")
    return read_text(text, FILE).validate(RatesFile)


@lru_cache(maxsize=256)
def rates_of(chip: Accelerator) -> Rates:
    """The numbers of a chip; what the file does not say of it are those for all."""
    file = _file()
    own = file.chips.get(chip.name, RatesText())
    values: dict[str, float] = {}
    sources: list[tuple[str, str]] = []
    for name in RatesText.model_fields:
        cited: Cited[float] | None = getattr(own, name) or getattr(file.default, name)
        if cited is None:
            raise LookupError(f"{FILE}: default lacks {name}")
        values[name] = cited.value
        sources.append((name, source_text(cited, references())))
    return Rates(
        bandwidth=values["bandwidth"],
        products=values["products"],
        products_8bit=values["products_8bit"],
        products_error=values["products_error"],
        exchange_error=values["exchange_error"],
        graph_fixed_s=values["graph_fixed"],
        eager_gap_s=values["eager_gap"],
        sources=tuple(sources),
    )


def attention_kernel(phase: str, workload: Workload, chip: Accelerator) -> tuple[Parameters, KernelProfile] | None:
    """Parameters and profile of the published kernel for a phase of attention on a chip; None where there is none."""
    name = ATTENTION_KERNELS[phase].get(chip.name)
    if name is None:
        return None
    kernel = _kernel(name)
    return kernel.parameters(workload), kernel.profile


_kernel = cache(load_kernel)
"""A shipped kernel, found once."""


def varlen_profile(chip: Accelerator) -> KernelProfile | None:
    """Profile of vLLM's attention of whole batches; None for chips on which it calls other kernels or none is known."""
    text = _file().varlen.get(chip.name)
    if text is None:
        return None
    return KernelProfile(
        name="FlashAttention-2 of vLLM",
        matrix_fraction=text.products.value,
        bandwidth_fraction=text.bandwidth.value,
        item_gap_s=text.item_gap.value,
        tiles_in_flight=STAGES,
        items_per_core=ITEMS_PER_CORE,
    )


def rowless_block_s(chip: Accelerator) -> float:
    """Time that a core needs to pass a block of such a launch without rows; 0 where no such kernel is known."""
    text = _file().varlen.get(chip.name)
    return text.rowless_block.value if text else 0.0


@dataclass(frozen=True)
class ExpertCall:
    """What was fitted to calls of experts of serving stacks, from the router's choice to the sum of experts.

    Parameters
    ----------
    name
        Name of a profile of `algorithms.chip.layers.served`.
    gap_s, edge_s
        Time before the call, launches that order tokens included, and time between its launches.
    """

    name: str
    gap_s: float
    edge_s: float


@lru_cache(maxsize=256)
def expert_call(weights: str, chip: Accelerator) -> ExpertCall | None:
    """The call for a format of weights on a chip whose fit is closest to its own rows; None where none was fitted."""
    found = [
        served
        for served in map(SERVED_PRODUCTS.load, SERVED_PRODUCTS.names())
        if "moe" in served.text.kinds
        and chip.name in served.text.chips
        and weight_format(served.text.weights).name == weights
        and served.text.origin is not None
    ]
    if not found:
        return None
    best = min(found, key=lambda each: each.text.origin.mean_error_pct if each.text.origin else math.inf)
    slower = REFERENCE_CLOCK_HZ / chip.clock_hz
    return ExpertCall(best.name, slower * best.profile.launch_gap_s, slower * GRAPH_EDGE_S)


STATE_KERNELS = (
    ("chunk_gated_delta_rule_flashinfer", "chunk_gated_delta_rule_triton"),
    ("fused_recurrent_gated_delta_rule_packed_decode",),
)
"""Of vLLM, by which states are taken past a prompt and past one token; the first that is known on a chip."""


def state_call(
    one: bool, sizes: tuple[int, int, int, int, int, int], chip: Accelerator
) -> tuple[tuple[Launch, ...], KernelProfile] | None:
    """Launches and profile of a gated delta rule on a chip as a serving stack calls it; None where it is not known.

    Parameters
    ----------
    one
        Whether every sequence has one new token.
    sizes
        Sequences, new tokens of each, heads of keys, heads of values, and the width of both.
    """
    for kernel in STATE_KERNELS[one]:
        served = SERVED_STATES.first("gated_delta_net", "vllm", "0.24.0", kernel, chip)
        if served is not None:
            return FORMS[served.text.form](served.call(*sizes), chip), served.profile
    return None


def with_gap(profile: KernelProfile, gap_s: float) -> KernelProfile:
    """A profile in a step whose launches are so far apart."""
    return replace(profile, launch_gap_s=gap_s)
