"""Bytes that kernels move through the main memory, against published counts."""

from __future__ import annotations

from algorithms.tiled.kernels import find_kernel
from algorithms.tiled.mapping import time_plan
from studies.validate.gpu_cases import GpuPoint, UnsupportedPointError

_BYTE_FIELDS = {"hbm_bytes": 1.0, "bytes": 1.0, "hbm_gb": 1e9, "gb": 1e9}
"""Fields under which files give bytes, and their unit."""


def counted_bytes(point: GpuPoint) -> tuple[float, float]:
    """Published and simulated bytes of the main memory.

    Raises
    ------
    UnsupportedPointError
        The point gives no bytes, or its kernel has no profile.
    """
    given = {**(point.model_extra or {}), **point.shape}
    for name, unit in _BYTE_FIELDS.items():
        value = given.get(name)
        if isinstance(value, int | float) and value > 0:
            return float(value) * unit, _simulated(point)
    raise UnsupportedPointError(f"the point gives none of {', '.join(_BYTE_FIELDS)}")


def _simulated(point: GpuPoint) -> float:
    chip, workload = point.chip(), point.workload()
    kernel = find_kernel("io_count", point.kernel, chip)
    if kernel is None:
        raise UnsupportedPointError(f"there is no profile of {point.kernel!r} on {chip.name} (io_count)")
    run = time_plan(kernel.algorithm.plan(workload, kernel.parameters(workload), chip), chip, kernel.profile)
    return float(run.tier_bytes[chip.memory.name])
