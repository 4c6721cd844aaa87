"""How many tiles of operands are on their way to a core, and whether the next item's are among them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from algorithms.rounding import ceil_div

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator

NextItemChoice = Literal["auto", "ahead", "finished", "stored"]
"""`algorithms.chip.plan.profile.NextItem`, or whichever fits."""
LEAST_STAGES = 2
"""Fewest automatic stages: a tile is on the way while another is worked on."""
STAGES_HELP = "tiles of operands that a core holds at a time; 0: as many as keep the main memory busy"
NEXT_ITEM_HELP = (
    "when a core loads for its next item: ahead, as far as stages reach, or when results are finished or stored; "
    "auto: ahead where local memory holds that"
)


@dataclass(frozen=True)
class Buffers:
    """Tiles and items that a core holds at a time.

    Parameters
    ----------
    stages
        Tiles of operands that are worked on, wait or are on their way.
    ahead
        Whether some of them may be the next items'.
    """

    stages: int = LEAST_STAGES
    ahead: bool = False

    def items(self, tiles: int) -> int:
        """Items of so many tiles each whose own operands a core holds."""
        return 1 + max(1, ceil_div(self.stages - 1, max(tiles, 1))) if self.ahead else 1


@dataclass(frozen=True)
class Stream:
    """Tiles that a launch loads, all of about the same size.

    Parameters
    ----------
    items
        Work items, which may run side by side.
    tiles
        Tiles of an item.
    tile_bytes
        Loaded for each.
    """

    items: int
    tiles: int
    tile_bytes: int


def decided_buffers(
    chip: Accelerator,
    streams: Iterable[Stream],
    stages: int,
    next_item: NextItemChoice,
    excess: Callable[[Buffers], float],
) -> tuple[int, NextItemChoice]:
    """``stages`` and ``next_item`` with nothing automatic left; tiles keep their size, which decides the traffic.

    Loads run ahead where the next item's own operands fit beside. Then there are as many tiles as the most demanding
    of the ``streams`` needs to keep the memory busy (`tiles_in_flight`).

    Parameters
    ----------
    excess
        Bytes that do not fit into a core that holds so much, 0 or less if all do.
    """
    next_item = decided_next_item(stages, next_item, excess)
    if stages:
        return stages, next_item
    ahead = next_item == "ahead"
    needed = [tiles_in_flight(chip, stream, ahead, lambda count: excess(Buffers(count, ahead))) for stream in streams]
    return max(needed), next_item


def decided_next_item(stages: int, next_item: NextItemChoice, excess: Callable[[Buffers], float]) -> NextItemChoice:
    """``next_item``, or where it is automatic whether the next item's operands fit beside; see `decided_buffers`."""
    if next_item != "auto":
        return next_item
    return "ahead" if excess(Buffers(stages or LEAST_STAGES, ahead=True)) <= 0 else "stored"


def tiles_in_flight(chip: Accelerator, stream: Stream, ahead: bool, excess: Callable[[int], float]) -> int:
    """Tiles that a core holds at a time so that it gets its share of the main memory's bandwidth.

    Data that is asked for arrives a latency later, so a core only gets its share while latency times bandwidth bytes
    are on their way to it (Little's law): as many whole tiles as hold so much, and one more that is worked on. Cores
    with an item share the bandwidth evenly; what their local memory takes in bounds it. With two tiles alone, a chip of
    few cores with large shares waits for its memory most of the time, while one of many cores seldom needs more.

    No more than there are to load: those of an item, or of all items of a core with loads ``ahead``; at least two.

    Parameters
    ----------
    excess
        Bytes that do not fit into a core with so many tiles, 0 or less if all do.
    """
    share = chip.memory.bytes_per_second / min(max(stream.items, 1), chip.cores)
    rate = min(share, chip.core.sram_bytes_per_cycle * chip.clock_hz)
    latency_s = chip.memory.latency_s + sum(tier.latency_s for tier in chip.caches)
    most = stream.tiles * (ceil_div(stream.items, chip.cores) if ahead else 1)
    needed = min(1 + math.ceil(latency_s * rate / stream.tile_bytes), most)
    tiles = LEAST_STAGES
    while tiles < needed and excess(tiles + 1) <= 0:
        tiles += 1
    return tiles
