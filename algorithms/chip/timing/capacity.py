"""Refuses plans whose tensors the main memory cannot hold, before millions of tiles are cut for them."""

from __future__ import annotations

from algorithms.memory.capacity import Capacity, check_fits
from hwmodels.chips.accelerator import Accelerator


def check_tensors_fit(algorithm: str, capacity_bytes: int, chip: Accelerator, dtype: str) -> None:
    """Check that ``capacity_bytes`` of tensors fit into the main memory of ``chip``.

    Raises
    ------
    simulator.CapacityError
        If they do not.
    """
    memory = chip.memory
    # of one chip: its devices are no further chips
    what = "stacks" if memory.technology.startswith("hbm") else "memory devices"
    capacity = Capacity(f"{memory.name} of {chip.name}", memory.capacity_bytes, memory.count, devices=what)
    check_fits(capacity, [(f"tensors of {algorithm}", capacity_bytes)], dtype)
