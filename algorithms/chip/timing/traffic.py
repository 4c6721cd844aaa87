"""Which tier serves how many of the bytes that a launch moves: a shared cache keeps what is read again."""

from __future__ import annotations

from dataclasses import dataclass

from algorithms.chip.plan.plan import Launch
from algorithms.chip.timing.seen import SeenChip
from hwmodels.chips.accelerator import Accelerator


@dataclass(frozen=True)
class Traffic:
    """Bytes of a launch by tier.

    Parameters
    ----------
    load_bytes, store_bytes
        Bytes between cores and the tier nearest to them.
    memory_load_bytes, memory_store_bytes
        Bytes between the main memory and the tier before it.
    """

    load_bytes: int
    store_bytes: int
    memory_load_bytes: int
    memory_store_bytes: int

    @property
    def memory_share(self) -> float:
        """Share of the bytes loaded by cores that comes from the main memory."""
        return self.memory_load_bytes / self.load_bytes if self.load_bytes else 0.0

    @property
    def stored_share(self) -> float:
        """Share of the bytes stored by cores that goes to the main memory."""
        return self.memory_store_bytes / self.store_bytes if self.store_bytes else 0.0

    @property
    def memory_bytes(self) -> int:
        """Through the main memory, both ways."""
        return self.memory_load_bytes + self.memory_store_bytes


def traffic(
    launch: Launch, chip: Accelerator | SeenChip, active_items: int, counted: tuple[int, int, int] | None = None
) -> Traffic:
    """Bytes of `launch` by tier, when `active_items` of its items are worked on at the same time.

    What the active items read between them is assumed to be their share of the launch's distinct bytes. If the part
    that is read more than once fits into the caches, each distinct byte comes from the main memory once; if it does
    not, what fits is reused; of what is read in turns (`Launch.reread_bytes`) all or nothing. Items that read the same
    bytes at the same time share them in any case.

    Parameters
    ----------
    counted
        Bytes that all items load and store, and the number of items, where they are known already.
    """
    loads, stores, items = counted or (launch.total("load_bytes"), launch.total("store_bytes"), launch.item_count)
    unique = min(launch.unique_load_bytes, loads)
    reused = unique if launch.reused_bytes is None else launch.reused_bytes
    footprint = reused * min(1.0, active_items / max(items, 1))
    capacity = sum(tier.capacity_bytes for tier in chip.caches)
    hits = min(1.0, capacity / footprint) if footprint else 1.0
    if launch.reread_bytes is not None:
        hits = float(launch.reread_bytes <= capacity)
    together = max(min(launch.shared_by, active_items), 1) if chip.caches else 1
    missed = min(loads - int(hits * (loads - unique)), max(unique, loads // together))
    return Traffic(loads, stores, missed, max(stores - launch.kept_store_bytes, 0))
