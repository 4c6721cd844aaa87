"""Two simple predictions that the simulator has to beat, from datasheet figures alone."""

from __future__ import annotations

from hwmodels.chips.accelerator import Accelerator
from hwmodels.reading.errors import InputError
from studies.validate.gpu.cases import GpuPoint


def roofline_s(point: GpuPoint, chip: Accelerator) -> float | None:
    """The larger of FLOP over peak rate and compulsory bytes over peak bandwidth; None without either count."""
    parts = _parts(point, chip)
    return max(parts[:2]) if any(parts[:2]) else None


def serial_sum_s(point: GpuPoint, chip: Accelerator) -> float | None:
    """FLOP over peak, exponentials over peak and bytes over peak, one after the other."""
    parts = _parts(point, chip)
    return sum(parts) if any(parts) else None


def _parts(point: GpuPoint, chip: Accelerator) -> tuple[float, float, float]:
    """Seconds of products, of bytes and of exponentials."""
    try:
        peak = chip.peak_flops_per_second(point.number_format)
    except InputError:
        return 0.0, 0.0, 0.0
    return (
        (point.flops or 0.0) / peak,
        (point.bytes_min or 0.0) / chip.memory.bytes_per_second,
        (point.exps or 0.0) / chip.exp_per_second,
    )
