"""Bytes that kernels move through the main memory, against published counts."""

from __future__ import annotations

from algorithms.chip.plan.kernels import find_kernel
from algorithms.chip.timing.mapping import time_plan
from studies.validate.gpu.cases import GpuPoint, UnsupportedPointError

_UNITS = {"bytes": 1.0, "mb": 1e6, "gb": 1e9}
"""Endings of the fields under which files give bytes, such as ``hbm_gb``."""
_OTHER_FIELDS = ("bytes_min", "kv_bytes_per_token")


def counted_bytes(point: GpuPoint) -> tuple[float, float]:
    """Published and simulated bytes of the main memory.

    Raises
    ------
    UnsupportedPointError
        The point gives no bytes, or its kernel has no profile.
    """
    given = {**point.shape, **(point.model_extra or {})}
    for name, value in given.items():
        unit = _UNITS.get(name.casefold().rsplit("_", 1)[-1])
        if unit and name not in _OTHER_FIELDS and isinstance(value, int | float) and value > 0:
            return float(value) * unit, _simulated(point)
    raise UnsupportedPointError("the point gives no bytes: no field ends in bytes, mb or gb")


def _simulated(point: GpuPoint) -> float:
    chip, workload = point.chip(), point.workload()
    kernel = find_kernel("io_count", point.kernel, chip)
    if kernel is None:
        raise UnsupportedPointError(f"there is no profile of {point.kernel!r} on {chip.name} (io_count)")
    run = time_plan(kernel.algorithm.plan(workload, kernel.parameters(workload), chip), chip, kernel.profile)
    return float(run.tier_bytes[chip.memory.name])
