"""What a system is: pools of chips, the links that join them level by level, and hosts, with sources."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from hwmodels.chips.accelerator import Accelerator
from hwmodels.reading.cards import html_table
from hwmodels.reading.errors import InputError, Problem, did_you_mean

Topology = Literal["switch", "ring", "shared"]
"""``switch``: every chip sends to any other at its full rate; ``ring``: to its two neighbours (a torus is a ring per
axis); ``shared``: all chips of a group share one way (a host bridge)."""


@dataclass(frozen=True)
class Level:
    """Links that join groups of chips.

    Parameters
    ----------
    name
        ``nvlink``, ``infiniband``, ``pcie``, ``ici``...
    topology
        Who reaches whom.
    size
        Chips that are joined by this level and those within it.
    bytes_per_second
        Raw, of one chip in one direction; of all chips together where the way is shared.
    efficiency
        Payload over raw bytes in long transfers.
    latency_s
        From the moment a chip begins a round of messages to the last of them being known to have arrived, beside the
        time on the wire.
    messages_per_second
        That one chip can start.
    library_latency_s
        Of a collective of a general library (NCCL) on small vectors, without its rounds; None where it is not known.
    library_hop_s
        That each of its rounds adds on small vectors.
    library_small_bytes_per_second
        Payload of its protocol for small vectors, each word of which carries a flag (LL).
    library_bulk_latency_s
        Of its protocol for large vectors: chunks that fill the way, and channels that start one by one. None where only
        one protocol is known.
    reduces
        Whether switches add up what chips send (NVLink SHARP).
    """

    name: str
    topology: Topology
    size: int
    bytes_per_second: float
    efficiency: float
    latency_s: float
    messages_per_second: float = math.inf
    library_latency_s: float | None = None
    library_hop_s: float = 0.0
    library_small_bytes_per_second: float = math.inf
    library_bulk_latency_s: float | None = None
    reduces: bool = False

    @property
    def payload_bytes_per_second(self) -> float:
        """In long transfers."""
        return self.bytes_per_second * self.efficiency


@dataclass(frozen=True)
class Pool:
    """Chips of one kind.

    Parameters
    ----------
    name
        What they are for: ``all``, ``prefill``, ``decode``, ``attention``...
    chip, count
        Which, and how many.
    """

    name: str
    chip: Accelerator
    count: int


@dataclass(frozen=True)
class Host:
    """What stands beside chips and can hold weights and caches.

    Parameters
    ----------
    chips
        That share one host.
    dram_bytes, dram_bytes_per_second
        Its memory.
    link_bytes_per_second
        Between one chip and the host, one direction.
    nvme_bytes, nvme_bytes_per_second
        Its drives; 0 where there are none.
    """

    chips: int
    dram_bytes: float
    dram_bytes_per_second: float
    link_bytes_per_second: float
    nvme_bytes: float = 0.0
    nvme_bytes_per_second: float = 0.0


@dataclass(frozen=True)
class System:
    """Chips, links and hosts.

    Parameters
    ----------
    name, summary
        For people.
    pools
        Of like chips.
    levels
        Near to far; the last one joins all chips.
    host
        None where it is not known.
    price_usd, usd_per_hour
        Of all of it; None where it is not published.
    citations
        Pairs (field path, source).
    changes
        What was changed of a preset.

    Raises
    ------
    InputError
        Groups that do not nest, and chips that no link joins, one line each.
    """

    name: str
    summary: str
    pools: tuple[Pool, ...]
    levels: tuple[Level, ...]
    host: Host | None = None
    price_usd: float | None = None
    usd_per_hour: float | None = None
    citations: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise InputError(problems)

    @property
    def count(self) -> int:
        """All chips."""
        return sum(pool.count for pool in self.pools)

    @property
    def chip(self) -> Accelerator:
        """The chip that all of them are.

        Raises
        ------
        InputError
            If they are not alike.
        """
        kinds = {pool.chip.name for pool in self.pools}
        if len(kinds) > 1:
            raise InputError(Problem(f"{self.name} has chips of {len(kinds)} kinds; name a pool", field="system"))
        return self.pools[0].chip

    def pool(self, name: str) -> Pool:
        """The pool of a name; raises InputError if there is none, with the nearest."""
        for pool in self.pools:
            if pool.name == name:
                return pool
        hint = did_you_mean(name, [pool.name for pool in self.pools])
        raise InputError(Problem(f"{self.name} has no pool {name!r}", field="pool", hint=hint))

    def joining(self, chips: int) -> tuple[Level, ...]:
        """Levels, near to far, over which ``chips`` neighbours exchange data; none for a single chip.

        Raises
        ------
        InputError
            If no links join so many.
        """
        if chips <= 1:
            return ()
        found: list[Level] = []
        for level in self.levels:
            found.append(level)
            if level.size >= chips:
                return tuple(found)
        most = max((level.size for level in self.levels), default=1)
        raise InputError(Problem(f"{self.name} has no link that joins {chips} chips (at most {most})", field="system"))

    def of(self, count: int) -> System:
        """The system with as many chips of its only pool, on the same links.

        Raises
        ------
        InputError
            More chips than its links join.
        """
        pool = self.pools[0]
        self.joining(count)
        levels = []
        for level in self.levels:
            levels.append(replace(level, size=min(level.size, count)))
            if level.size >= count:
                break
        kept = tuple(levels) if count > 1 else ()
        return replace(self, pools=(replace(pool, count=count),), levels=kept)

    def sources(self) -> dict[str, str]:
        """Where each number comes from, by field path."""
        return dict(self.citations)

    def _repr_html_(self) -> str:
        rows = [(pool.name, f"{pool.count} x {pool.chip.name}", "") for pool in self.pools]
        rows += [
            (level.name, f"{level.topology} of {level.size}", f"{level.bytes_per_second / 1e9:,.4g} GB/s a chip")
            for level in self.levels
        ]
        return html_table(f"System {self.name}", ("part", "what", "rate"), rows)


def single(chip: Accelerator) -> System:
    """One chip by itself."""
    return System(chip.name, chip.summary, (Pool("all", chip, 1),), ())


def _problems(system: System) -> Iterator[Problem]:
    if not system.pools:
        yield Problem("needs at least one pool of chips", field="pools")
    for pool in system.pools:
        if pool.count < 1:
            yield Problem(f"must be at least 1 (got {pool.count})", field=f"pools.{pool.name}.count")
    size = 1
    for level in system.levels:
        if level.size < 2 or level.size % size or level.size == size:
            message = f"must be a multiple of the {size} chips within it, and more of them (got {level.size})"
            yield Problem(message, field=f"{level.name}.size")
        size = max(level.size, 1)
        for name in ("bytes_per_second", "efficiency", "messages_per_second"):
            value = getattr(level, name)
            if not value > 0:
                yield Problem(f"must be greater than 0 (got {value:g})", field=f"{level.name}.{name}")
        if level.efficiency > 1:
            yield Problem(f"must be at most 1 (got {level.efficiency:g})", field=f"{level.name}.efficiency")
        if not 0 <= level.latency_s < math.inf:
            yield Problem(f"must be at least 0 (got {level.latency_s:g})", field=f"{level.name}.latency_s")
    if system.count > 1 and size < system.count:
        yield Problem(f"no link joins all {system.count} chips (the last level joins {size})", field="levels")
