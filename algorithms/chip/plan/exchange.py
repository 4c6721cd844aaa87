"""Bytes that move between the memory tiers of a chip beside its launches, and the waiting that is left of them.

Cores read the main memory; what lies farther away comes over one link per pair of neighbouring tiers, which serves in
order of issue. A transfer begins when the launch that issues it begins, and the launch that needs it waits. A step of
the model repeats, so a prefetch may be issued in one step and needed in the next: the waiting of a later step of a
repeating run is reported. That a transfer also takes a share of the main memory's bandwidth is left out: links are
slower by an order of magnitude.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwmodels.reading.errors import InputError, Problem, did_you_mean

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator, Link

HOST = "host"
"""The memory of the host, behind a PCIe link; not a tier of the chip, and of no stated capacity."""
_STEPS = 3
"""Steps of a repeating run; a prefetch reaches one step ahead, so the third is like all later ones."""


@dataclass(frozen=True)
class TierTransfer:
    """Bytes between two tiers.

    Parameters
    ----------
    what
        Name for people.
    source, target
        Tiers of the chip, or `HOST`.
    bytes
        Bytes in all.
    issued_by, needed_by
        Numbers of the launches that start it and that wait for it; nobody waits if None.
    next_step
        The launch that waits is one of the next step: a prefetch.
    latency_s
        Time on top of the latency of tiers and links, such as a decision of the host.
    """

    what: str
    source: str
    target: str
    bytes: int
    issued_by: int
    needed_by: int | None
    next_step: bool = False
    latency_s: float = 0.0


@dataclass(frozen=True)
class Exchange:
    """Outcome of all transfers of a step.

    Parameters
    ----------
    waits_s
        Waits before each launch.
    busy_s
        Busy time of each link, by ``source->target``.
    moved_bytes
        Into and out of each tier other than the main memory; the host's by the name of the link to it.
    """

    waits_s: tuple[float, ...]
    busy_s: dict[str, float]
    moved_bytes: dict[str, int]

    @property
    def exposed_s(self) -> float:
        """Waiting of a step in all."""
        return sum(self.waits_s)


def host_link(chip: Accelerator) -> Link | None:
    """The PCIe link of ``chip``, or None."""
    return next((link for link in chip.links if link.technology.startswith("pcie")), None)


def memory_tiers(chip: Accelerator) -> tuple[str, ...]:
    """Tiers for keys, near to far: the main memory, farther ones, and the host's memory if there is PCIe."""
    own = tuple(tier.name for tier in chip.tiers if tier.level == "memory")
    return (*own, HOST) if host_link(chip) is not None and HOST not in own else own


def check_tiers(chip: Accelerator, tiers: Sequence[str], field: str) -> None:
    """Check that ``chip`` has all ``tiers``; raises InputError with one problem for each that it lacks."""
    there = memory_tiers(chip)
    problems = [
        Problem(
            f"{chip.name} has no memory tier {tier!r}",
            field=field,
            hint=did_you_mean(tier, there) or f"it has {', '.join(there)}",
        )
        for tier in tiers
        if tier not in there
    ]
    if problems:
        raise InputError(problems)


def path_of(chip: Accelerator, source: str, target: str) -> tuple[float, float]:
    """Bytes per second and latency in seconds between two tiers: the slower end, and the latency of both."""
    speeds, latency_s = [], 0.0
    link = host_link(chip)
    for name in (source, target):
        if name == HOST and link is not None:
            speeds.append(link.bytes_per_second)
            latency_s += link.latency_s or 0.0
        else:
            speeds.append(chip.tier(name).bytes_per_second)
            latency_s += chip.tier(name).latency_s
    return min(speeds), latency_s


def exchange(chip: Accelerator, transfers: Sequence[TierTransfer], launch_seconds: Sequence[float]) -> Exchange:
    """Waiting before each launch when launches take ``launch_seconds`` and the step repeats."""
    if not transfers:
        return Exchange((0.0,) * len(launch_seconds), {}, {})
    moved: dict[str, int] = {}
    link = host_link(chip)
    for transfer in transfers:
        for tier in {transfer.source, transfer.target} - {chip.memory.name}:
            name = link.name if tier == HOST and link is not None else tier
            moved[name] = moved.get(name, 0) + transfer.bytes
    issued: dict[int, list[TierTransfer]] = {}
    for transfer in transfers:
        issued.setdefault(transfer.issued_by, []).append(transfer)
    now = 0.0
    free: dict[str, float] = {}
    arrivals: dict[tuple[int, int], float] = {}
    waits: list[float] = []
    busy: dict[str, float] = {}
    for step in range(_STEPS):
        waits, busy = [], {}
        for number, seconds in enumerate(launch_seconds):
            for transfer in issued.get(number, ()):
                arrival = _serve(chip, transfer, now, free, busy)
                if transfer.needed_by is not None:
                    due = step + transfer.next_step, transfer.needed_by
                    arrivals[due] = max(arrivals.get(due, 0.0), arrival)
            wait = max(0.0, arrivals.pop((step, number), 0.0) - now)
            waits.append(wait)
            now += wait + seconds
    return Exchange(tuple(waits), busy, moved)


def _serve(
    chip: Accelerator, transfer: TierTransfer, now: float, free: dict[str, float], busy: dict[str, float]
) -> float:
    """Time at which the transfer arrives; its link is taken until its last byte has left."""
    name = f"{transfer.source}->{transfer.target}"
    bytes_per_second, latency_s = path_of(chip, transfer.source, transfer.target)
    seconds = transfer.bytes / bytes_per_second
    free[name] = max(free.get(name, 0.0), now) + seconds
    busy[name] = busy.get(name, 0.0) + seconds
    return free[name] + latency_s + transfer.latency_s
