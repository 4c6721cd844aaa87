"""Whether things fit into a memory, and what would make them fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from algorithms.workload.shape import DTYPE_BYTES
from hwmodels.tiers.base import Tier
from simulator.errors import CapacityError


@dataclass(frozen=True)
class Capacity:
    """Capacity of a place for tensors.

    Parameters
    ----------
    name
        Name of the place in messages.
    capacity_bytes
        Bytes of all devices and buffers.
    count, devices
        Devices that make up the place, and what one of them is called in the plural.
    buffers
        Buffers that take turns, of which one has to hold everything.
    """

    name: str
    capacity_bytes: float
    count: int = 1
    devices: str = "devices"
    buffers: int = 1

    @classmethod
    def of_tier(cls, tier: Tier) -> Capacity:
        """The capacity of a whole tier."""
        return cls(tier.name, tier.capacity_bytes, tier.count, tier.device_word, tier.working_sets)

    @property
    def usable_bytes(self) -> float:
        """Bytes that fit at a time."""
        return self.capacity_bytes / self.buffers

    def __str__(self) -> str:
        if self.buffers > 1:
            return f"one of its {self.buffers} buffers of {bytes_text(self.usable_bytes)}"
        return bytes_text(self.usable_bytes) + (f" of {self.count} {self.devices}" if self.count > 1 else "")


def check_fits(capacity: Capacity, items: Sequence[tuple[str, float]], dtype: str | None = None) -> None:
    """Check that all `items`, pairs of a label and its bytes, fit into `capacity` together.

    Parameters
    ----------
    items
        Labels and bytes of what has to be there at the same time.
    dtype
        Format of the elements, for the advice: the widest one that would fit.

    Raises
    ------
    CapacityError
        What does not fit, by how much, and what would make it fit: more devices, fewer buffers, a narrower format,
        or how far the largest item would have to shrink.
    """
    total = sum(size for _, size in items)
    if total <= capacity.usable_bytes:
        return
    parts = " + ".join(f"{label} {bytes_text(size)}" for label, size in items if size > 0)
    what = f"{parts} = {bytes_text(total)}" if len(items) > 1 else f"{bytes_text(total)} for {items[0][0]}"
    raise CapacityError(
        f"{capacity.name}: {what} does not fit into {capacity}, by {bytes_text(total - capacity.usable_bytes)}; "
        f"it would fit with {', or '.join(_remedies(capacity, items, total, dtype))}"
    )


def _remedies(capacity: Capacity, items: Sequence[tuple[str, float]], total: float, dtype: str | None) -> list[str]:
    found, usable = [], capacity.usable_bytes
    if usable > 0:
        found.append(f"{math.ceil(total * capacity.count / usable)} {capacity.devices} instead of {capacity.count}")
    if capacity.buffers > 1 and total <= capacity.capacity_bytes:
        found.append("a single buffer")
    if dtype is not None:
        width = DTYPE_BYTES[dtype]
        narrower = [name for name, size in DTYPE_BYTES.items() if size < width and total * size / width <= usable]
        if narrower:
            widest = max(DTYPE_BYTES[name] for name in narrower)
            found.append(f"elements of {widest} bytes ({narrower[0]}) instead of {width} ({dtype})")
    largest, size = max(items, key=lambda item: item[1])
    if len(items) > 1 and size > total - usable:
        found.append(f"{largest} cut to {bytes_text(size - (total - usable))}")
    return found or ["another tier (this one holds nothing)"]


def bytes_text(size: float) -> str:
    """A size for people, in decimal units: ``16.06 GB``."""
    for exponent, unit in ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if size >= 10**exponent:
            return f"{size / 10**exponent:.4g} {unit}"
    return f"{size:.4g} bytes"
