"""`validate mla`: counters of planned attention blocks against known costs and against closed formulas, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from algorithms.chip.latent.blocks import get_block
from algorithms.chip.latent.fit import BlockParameters
from algorithms.chip.latent.orders import ORDERS
from algorithms.chip.latent.plan import BlockCounters
from algorithms.workload.shape import DTYPE_BYTES, LatentAttention, Workload
from hwmodels.chips.accelerator import Accelerator, load_accelerator
from hwmodels.reading.errors import InputError, did_you_mean
from simulator.errors import SimulatorError
from studies.validate.case_files import load_case_file
from studies.validate.mla.formulas import Costs, costs
from studies.validate.records import ValidationReport, ValidationRow

KV_HEADS = {"mha": None, "gqa": 8, "mqa": 1}
"""KV heads of the plain schemes where a row does not say; None is one per head."""
SCHEMES = (*KV_HEADS, *(f"mla_{order}" for order in ORDERS))
PHASES = ("decode", "extend", "prefill")
ROUNDING = 5.0001e-5
"""Intensities are given with four decimals."""
FORMATS = {DTYPE_BYTES[name]: name for name in ("bfloat16", "float8_e4m3", "float32")}
DEFAULT_CHIP = "h100_sxm5_80g"

Count = Annotated[int, Field(ge=1)]


class UnsupportedCaseError(Exception):
    """The project has nothing that such a row could be compared with."""


class Dims(BaseModel):
    """Sizes of a model, by the symbols of the file."""

    model_config = ConfigDict(frozen=True)

    D: Count
    nh: Count
    dh: Count
    dv: Count
    dc: Count
    dq: Count | None = None
    dr: Count
    layers: Count | None = None


class MlaCase(BaseModel):
    """A row of costs; a field that is missing or null is not compared."""

    model_config = ConfigDict(frozen=True)

    id: str | None = None
    scheme: str
    phase: str
    batch: Count
    context: Count
    q: Count
    causal: bool | None = None
    model: str | None = Field(default=None, validation_alias=AliasChoices("model", "dims"))
    element_bytes: Count = 2
    kv_heads: Count | None = None
    flops: int | None = None
    flops_core: int | None = None
    flops_recompute: int | None = None
    bytes: int | None = None
    bytes_weights: int | None = None
    bytes_cache_read: int | None = None
    intensity: float | None = None
    core_intensity: float | None = None


class MlaCases(BaseModel):
    """A file of costs: sizes of models and rows."""

    model_config = ConfigDict(frozen=True)

    dims: Annotated[dict[str, Dims], Field(min_length=1)]
    rows: list[MlaCase]


def validate_mla(path: Path, chip: Accelerator | None = None) -> ValidationReport:
    """Every row of the JSON file at `path`: a plan for `chip` is made and its counters are compared.

    Raises
    ------
    InputError
        The file cannot be used.
    """
    return validate_cases(load_case_file(path, MlaCases), chip or load_accelerator(DEFAULT_CHIP))


def validate_cases(cases: MlaCases, chip: Accelerator) -> ValidationReport:
    """Every row, on plans for `chip`."""
    rows = [_row(cases, case, position, chip) for position, case in enumerate(cases.rows)]
    return ValidationReport("mla", tuple(rows))


def workload_of(case: MlaCase, dims: Dims) -> Workload:
    """The layer that a row is about.

    Raises
    ------
    UnsupportedCaseError, InputError
        There is no such layer.
    """
    for what, given, known in (("scheme", case.scheme, SCHEMES), ("phase", case.phase, PHASES)):
        if given not in known:
            raise UnsupportedCaseError(f"unknown {what} {given!r}; {did_you_mean(given, known) or ', '.join(known)}")
    if case.phase == "prefill" and case.q != case.context:
        raise UnsupportedCaseError("a prefill has q = context; fewer new tokens are the phase 'extend'")
    if case.element_bytes not in FORMATS:
        raise UnsupportedCaseError(f"no number format has {case.element_bytes} bytes per element")
    plain = case.scheme in KV_HEADS
    latent = LatentAttention(kv_lora_rank=dims.dc, qk_rope_head_dim=dims.dr, q_lora_rank=dims.dq)
    phase: Literal["prefill", "decode"] = "prefill" if case.phase == "prefill" else "decode"
    return Workload(
        name=case.scheme,
        phase=phase,
        heads=dims.nh,
        kv_heads=(case.kv_heads or KV_HEADS[case.scheme] or dims.nh) if plain else dims.nh,
        q_len=case.q,
        kv_len=case.context,
        head_dim=dims.dh if plain else dims.dh + dims.dr,
        v_head_dim=dims.dv,
        mask="causal" if case.causal else "full",
        dtype=FORMATS[case.element_bytes],
        batch=case.batch,
        hidden=dims.D,
        latent=None if plain else latent,
    )


def counters_of(scheme: str, workload: Workload, chip: Accelerator) -> BlockCounters:
    """What the launches of a plan for `chip` add up to."""
    block = get_block("block.gqa" if scheme in KV_HEADS else scheme.replace("_", ".", 1))
    return block.block_plan(workload, BlockParameters(), chip).counters


def _row(cases: MlaCases, case: MlaCase, position: int, chip: Accelerator) -> ValidationRow:
    model = case.model or next(iter(cases.dims))
    mask = "/causal" if case.causal else ""
    name = (
        case.id or f"rows[{position}]/{model}/{case.scheme}/{case.phase}{mask}/B{case.batch}/L{case.context}/q{case.q}"
    )
    expected = f"{_shown(case.flops)} FLOP, {_shown(case.bytes)} B"
    try:
        if model not in cases.dims:
            raise UnsupportedCaseError(f"unknown model {model!r}; the file has {', '.join(cases.dims)}")
        workload = workload_of(case, cases.dims[model])
        counters = counters_of(case.scheme, workload, chip)
    except (UnsupportedCaseError, InputError, SimulatorError) as reason:
        return ValidationRow(name, case.scheme, "unsupported", expected, why="; ".join(str(reason).splitlines()))
    order = "plain" if case.scheme in KV_HEADS else case.scheme.removeprefix("mla_")
    differences = [*_against_row(case, counters), *_against_formulas(costs(order, workload), counters)]
    return ValidationRow(
        name,
        case.scheme,
        "fail" if differences else "pass",
        expected,
        f"{counters.flops:,} FLOP, {counters.compulsory_bytes:,} B",
        max((error for _, error in differences), key=abs, default=0.0),
        "; ".join(text for text, _ in differences),
    )


def _against_row(case: MlaCase, counters: BlockCounters) -> Iterator[tuple[str, float]]:
    exact = {
        "flops": counters.flops,
        "flops_core": counters.core_flops,
        "flops_recompute": counters.recompute_flops,
        "bytes": counters.compulsory_bytes,
        "bytes_weights": counters.weight_bytes,
        "bytes_cache_read": counters.cache_read_bytes,
    }
    for field, got in exact.items():
        expected = getattr(case, field)
        if expected is not None and got != expected:
            yield _difference(field, got, expected)
    intensities = {
        "intensity": counters.flops / counters.compulsory_bytes,
        "core_intensity": counters.core_flops / counters.cache_read_bytes if counters.cache_read_bytes else None,
    }
    for field, ratio in intensities.items():
        stated = getattr(case, field)
        if stated is not None and (ratio is None or abs(ratio - stated) > ROUNDING):
            yield _difference(field, ratio or 0.0, stated)


def _against_formulas(closed: Costs, counters: BlockCounters) -> Iterator[tuple[str, float]]:
    pairs = {
        "projection_flops": counters.projection_flops,
        "core_flops": counters.core_flops,
        "recompute_flops": counters.recompute_flops,
        "weight_bytes": counters.weight_bytes,
        "cache_read_bytes": counters.cache_read_bytes,
        "cache_write_bytes": counters.cache_write_bytes,
        "hidden_bytes": counters.input_bytes + counters.output_bytes,
    }
    for field, got in pairs.items():
        expected = getattr(closed, field)
        if got != expected:
            text, error = _difference(field, got, expected)
            yield f"closed formula: {text}", error


def _difference(field: str, got: float, expected: float) -> tuple[str, float]:
    error = 100 * (got - expected) / expected if expected else float(100 * (got != expected))
    return f"{field} {_shown(got)} instead of {_shown(expected)}", error


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
