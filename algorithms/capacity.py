"""Whether things fit into a memory tier, and what would make them fit."""

from __future__ import annotations

import math
from collections.abc import Sequence

from algorithms.shape import DTYPE_BYTES
from hwmodels.tiers.tier import SramTier, Tier
from simulator.errors import CapacityError

_DEVICES = {"dram": "devices", "sram": "macros", "link": "devices", "flash": "drives"}


def check_fits(tier: Tier, items: Sequence[tuple[str, float]], dtype: str | None = None) -> None:
    """That all `items`, pairs of a label and its bytes, fit into `tier` together.

    Parameters
    ----------
    tier
        SRAM counts as large as one of its buffers.
    items
        What has to be there at the same time.
    dtype
        Format of the elements, for the advice: the widest one that would fit.

    Raises
    ------
    CapacityError
        What does not fit, by how much, and what would make it fit: more devices, fewer buffers, a narrower format,
        or how far the largest item would have to shrink.
    """
    total = sum(size for _, size in items)
    room = tier.usable_bytes if isinstance(tier, SramTier) else tier.capacity_bytes
    if total <= room:
        return
    parts = " + ".join(f"{label} {bytes_text(size)}" for label, size in items if size > 0)
    what = f"{parts} = {bytes_text(total)}" if len(items) > 1 else parts
    raise CapacityError(
        f"{tier.name}: {what} does not fit into {_room_text(tier, room)}, by {bytes_text(total - room)}; "
        f"it would fit with {', or '.join(_remedies(tier, items, total, room, dtype))}"
    )


def _room_text(tier: Tier, room: float) -> str:
    if isinstance(tier, SramTier) and tier.buffers > 1:
        return f"one of its {tier.buffers} buffers of {bytes_text(room)}"
    return bytes_text(room) if tier.count == 1 else f"{bytes_text(room)} of {tier.count} {_DEVICES[tier.kind]}"


def _remedies(
    tier: Tier, items: Sequence[tuple[str, float]], total: float, room: float, dtype: str | None
) -> list[str]:
    found = []
    if room > 0:
        found.append(f"{math.ceil(total * tier.count / room)} {_DEVICES[tier.kind]} instead of {tier.count}")
    if isinstance(tier, SramTier) and tier.buffers > 1 and total <= tier.capacity_bytes:
        found.append("a single buffer")
    if dtype is not None:
        width = DTYPE_BYTES[dtype]
        narrower = [name for name, size in DTYPE_BYTES.items() if size < width and total * size / width <= room]
        if narrower:
            widest = max(DTYPE_BYTES[name] for name in narrower)
            found.append(f"elements of {widest} bytes ({narrower[0]}) instead of {width} ({dtype})")
    largest, size = max(items, key=lambda item: item[1])
    if len(items) > 1 and size > total - room:
        found.append(f"{largest} cut to {bytes_text(size - (total - room))}")
    return found or ["another tier (this one holds nothing)"]


def bytes_text(size: float) -> str:
    """A size for people, in decimal units: ``16.06 GB``."""
    for exponent, unit in ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB")):
        if size >= 10**exponent:
            return f"{size / 10**exponent:.4g} {unit}"
    return f"{size:.4g} bytes"
