"""Mapping of a plan to a chip in time: launches in order, items over cores, cores as graphs of the simulator.

Two modes. ``exact`` puts all cores into one graph, in which they compete for the shared tiers. ``symmetric`` simulates
a few cores that stand for all, the one with most to do among them, with their fair share of the tiers; several, because
a core that loads while others compute gets more than its share. A test bounds their difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Literal

from algorithms.chip.cores.core_runs import CoresRun, Cycles, forget_runs
from algorithms.chip.cores.dispatch import dispatched
from algorithms.chip.cores.fabric import Fabric, TierThroughput
from algorithms.chip.plan.exchange import Exchange, exchange
from algorithms.chip.plan.plan import Launch, TilePlan, WorkItem
from algorithms.chip.plan.profile import UNFITTED, KernelProfile
from algorithms.chip.timing.bounds import Bounds, bounds_of
from algorithms.chip.timing.fidelity import MemoryFidelity
from algorithms.chip.timing.memory_rate import at_fidelity
from algorithms.chip.timing.seen import SeenChip, seen_by_launches
from algorithms.chip.timing.throughput import TICKS_PER_CYCLE, Throughput
from algorithms.chip.timing.traffic import Traffic, traffic
from hwmodels.chips.accelerator import Accelerator
from simulator import Graph, Result

Mode = Literal["symmetric", "exact"]

REPRESENTATIVES = 6
"""Cores that are simulated in symmetric mode where loads, products and softmax can get in each other's way."""
FEWER_REPRESENTATIVES = 3
"""Cores that are simulated where there is no softmax."""


@dataclass(frozen=True)
class LaunchRun:
    """How one launch went.

    Parameters
    ----------
    name
        Name of the launch.
    seconds, gap_s
        Time from its start to the end of its last item; and the gap before it starts, waits for transfers included.
    cycles
        Cycles of the cores' sustained clock.
    cores
        Number of cores that had work.
    waves
        Most items that one slot of a core worked on, one after the other.
    items
        Number of its work items.
    busy
        Share of the time that a unit works, on the core with most to do: ``matrix``, ``exp``, ``vector``, ``cache``,
        ``memory``, and ``local`` where warps exchange results; ``exposed`` is the time in which the matrix array waits
        for a softmax.
    stalled
        Share of the time that score products wait, by what they wait for: ``loads``, ``softmax`` (the step before
        of their own group), ``matrix`` (products of others).
    traffic
        Bytes by tier.
    firings, skipped_firings
        Firings of the graph that was simulated; and those among them that were counted without being simulated one by
        one.
    simulated
        Result of the graph that was simulated: the cores that stand for all, or all of them.
    """

    name: str
    seconds: float
    gap_s: float
    cycles: float
    cores: int
    waves: int
    items: int
    busy: dict[str, float]
    stalled: dict[str, float]
    traffic: Traffic
    firings: int
    skipped_firings: int
    simulated: CoresRun = field(repr=False)

    @property
    def graph(self) -> Graph:
        """Graph that was simulated; made when it is asked for."""
        return self.simulated.graph

    @property
    def result(self) -> Result:
        """Result of the simulator, in ticks of a sixteenth of a cycle; made when it is asked for."""
        return self.simulated.result


@dataclass(frozen=True)
class ChipRun:
    """How long a plan takes on a chip, and where the time goes.

    Parameters
    ----------
    chip, algorithm, profile, mode
        Chip, algorithm and profile that were timed, and mode of the mapping.
    launches
        Runs of the launches, in order.
    clock_hz
        Sustained clock of the cores.
    bounds
        Bounds that no overlap of this work can beat.
    exchange
        Transfers between memory tiers; what they keep launches waiting is part of the gaps.
    """

    chip: str
    algorithm: str
    profile: str
    mode: Mode
    launches: tuple[LaunchRun, ...]
    clock_hz: float
    bounds: Bounds
    tier_bytes: dict[str, int]
    exchange: Exchange

    @cached_property
    def seconds(self) -> float:
        """Time of all launches and the gaps before them."""
        return sum(launch.seconds + launch.gap_s for launch in self.launches)

    @property
    def cycles(self) -> float:
        """`seconds` in cycles of the cores' sustained clock."""
        return self.seconds * self.clock_hz

    @property
    def results(self) -> tuple[Result, ...]:
        """Results of the simulator, one per launch."""
        return tuple(launch.result for launch in self.launches)

    @property
    def roofline_ratio(self) -> float:
        """Time over the classic roofline's: 1 would be perfect."""
        return self.seconds / self.bounds.roofline_s if self.bounds.roofline_s else float("inf")

    @cached_property
    def shares(self) -> dict[str, float]:
        """Share of the whole time that each unit of the busiest core works, gaps between launches beside them."""
        if not self.seconds:
            return {}
        found: dict[str, float] = {}
        for launch in self.launches:
            for name, share in launch.busy.items():
                found[name] = found.get(name, 0.0) + share * launch.seconds / self.seconds
        found["launch gap"] = sum(launch.gap_s for launch in self.launches) / self.seconds
        return found


def time_plan(
    plan: TilePlan,
    chip: Accelerator,
    profile: KernelProfile | None = None,
    mode: Mode = "symmetric",
    memory: MemoryFidelity = "peak",
) -> ChipRun:
    """Simulate ``plan`` on ``chip``.

    Parameters
    ----------
    profile
        Profile of the kernel; by default the chip's own figures without any overhead.
    mode
        ``symmetric`` or ``exact``; see the module.
    memory
        Fidelity of the main memory: it sustains its ``peak``, or what its banks do (``cycle``).

    Raises
    ------
    InputError
        A number format that the chip cannot compute in.
    """
    kernel = profile or UNFITTED
    launches = tuple(
        time_launch(launch, chip, at_fidelity(launch, chip, kernel, memory), mode) for launch in plan.launches
    )
    far = exchange(chip, plan.transfers, [run.gap_s + run.seconds for run in launches])
    launches = tuple(
        replace(run, gap_s=run.gap_s + wait_s) if wait_s else run
        for run, wait_s in zip(launches, far.waits_s, strict=True)
    )
    near = chip.caches[0].name if chip.caches else chip.memory.name
    moved = {near: sum(run.traffic.load_bytes + run.traffic.store_bytes for run in launches)}
    memory_bytes = sum(run.traffic.memory_bytes for run in launches)
    if chip.caches:
        moved[chip.memory.name] = memory_bytes
    moved |= far.moved_bytes
    clock_hz = chip.clock_hz * kernel.clock_fraction
    bounds = bounds_of(plan, chip, memory_bytes)
    return ChipRun(chip.name, plan.algorithm, kernel.name, mode, launches, clock_hz, bounds, moved, far)


def time_launch(launch: Launch, chip: Accelerator, profile: KernelProfile, mode: Mode) -> LaunchRun:
    """Simulate one launch; equal launches on chips of which they see the same are simulated once."""
    return _timed(launch, seen_by_launches(chip), profile, mode)


def forget_launches() -> None:
    """Forget all that is remembered of launches: what benchmarks begin with."""
    _timed.cache_clear()
    forget_runs()


@lru_cache(maxsize=4096)
def _timed(launch: Launch, chip: SeenChip, profile: KernelProfile, mode: Mode) -> LaunchRun:
    throughput = Throughput.of(launch, chip, profile)
    places = chip.cores * profile.items_per_core
    moved = traffic(launch, chip, places)
    active = min(chip.cores, max(launch.item_count, 1))
    fair = _fabric(chip, throughput, moved, active)

    guesses: dict[int, float] = {}

    def estimate(item: WorkItem) -> float:
        if id(item) not in guesses:  # the launch keeps its items alive
            guesses[id(item)] = throughput.item_estimate(item, fair.memory.bytes_per_tick)
        return guesses[id(item)]

    representatives = REPRESENTATIVES if launch.total("exps") else FEWER_REPRESENTATIVES
    samples = chip.cores if mode == "exact" else representatives
    out = dispatched(launch, chip.cores, profile.items_per_core, samples, estimate)
    fabric = _fabric(chip, throughput, moved, out.working / out.sampled if out.sampled else 1)
    run = CoresRun(launch.name, out.sample, throughput, fabric)
    cycles = Cycles.of(run.result) if mode == "exact" else run.cycles()
    seconds = cycles.total / throughput.tick_hz
    return LaunchRun(
        name=launch.name,
        seconds=seconds,
        gap_s=profile.launch_gap_s,
        cycles=cycles.total / TICKS_PER_CYCLE,
        cores=out.working,
        waves=out.waves,
        items=launch.item_count,
        busy=_busy(cycles, out.sampled) | _tier_busy(chip, moved, profile, seconds),
        stalled=_stalled(cycles),
        traffic=moved,
        firings=cycles.firings,
        skipped_firings=cycles.skipped_firings,
        simulated=run,
    )


def _fabric(chip: SeenChip, throughput: Throughput, moved: Traffic, sharers: float) -> Fabric:
    """Tiers as ``1 / sharers`` of the cores see them."""
    fraction = throughput.profile.bandwidth_fraction
    memory = chip.memory

    def tier(name: str, bytes_per_second: float, latency_s: float) -> TierThroughput:
        return TierThroughput(name, bytes_per_second / sharers / throughput.tick_hz, throughput.ticks(latency_s))

    cache = None
    if chip.caches:
        slowest = min(chip.caches, key=lambda other: other.bytes_per_second)
        cache = tier("cache", slowest.bytes_per_second * fraction, sum(other.latency_s for other in chip.caches))
    return Fabric(
        memory=tier("memory", memory.bytes_per_second * fraction, memory.latency_s),
        cache=cache,
        memory_share=moved.memory_share if cache else 1.0,
        core_bytes_per_tick=chip.core.sram_bytes_per_cycle / TICKS_PER_CYCLE,
        stored_share=moved.stored_share if cache else 1.0,
    )


def _busy(cycles: Cycles, cores: int) -> dict[str, float]:
    """Share of the time that units of a core work, mean over cores; matrix arrays without what they are held for."""
    if not cycles.total:
        return {}
    found = {"matrix": 0.0, "exp": 0.0, "vector": 0.0}
    for server, busy in cycles.served:
        name, _, core = server.partition(".")
        if core:
            found[name] = found.get(name, 0.0) + busy / cycles.total / cores
    found["exposed"] = cycles.held / cycles.total / cores
    return found | {"matrix": found["matrix"] - found["exposed"]}


def _tier_busy(chip: SeenChip, moved: Traffic, profile: KernelProfile, seconds: float) -> dict[str, float]:
    """Share of the time that the shared tiers work."""
    if not seconds:
        return {}
    fraction = profile.bandwidth_fraction
    found = {"memory": moved.memory_bytes / (chip.memory.bytes_per_second * fraction) / seconds}
    if chip.caches:
        slowest = min(tier.bytes_per_second for tier in chip.caches)
        found["cache"] = (moved.load_bytes + moved.store_bytes) / (slowest * fraction) / seconds
    return found


def _stalled(cycles: Cycles) -> dict[str, float]:
    """Waits of the score products by cause, as shares of the time of their units."""
    found: dict[str, float] = {}
    for unit in cycles.waits:
        for cause, waited in unit:
            if cause.startswith("server"):
                name = "matrix"
            else:
                name = "loads" if cause.startswith("input load") else "softmax"
            found[name] = found.get(name, 0.0) + waited / cycles.total / len(cycles.waits)
    return found
