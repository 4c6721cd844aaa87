"""A deployment: replicas of a model on chips, how they form batches, and what memory they have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from algorithms.chip.timing.fidelity import MemoryFidelity
from algorithms.chip.timing.mapping import Mode
from algorithms.live.blocks import BlockPool
from algorithms.live.model_steps import ModelSteps
from algorithms.live.replica import Scheduler
from algorithms.live.requests import nanoseconds
from algorithms.live.schedulers.register import Limits, get_scheduler
from algorithms.live.serve import Split
from algorithms.live.table import Grids, Remembered, TableTimes
from algorithms.live.tiers import FarBlocks, FarTier
from algorithms.models.mapping import SINGLE, Mapping
from algorithms.models.model import Model
from algorithms.models.options import StepOptions
from hwmodels.reading.errors import InputError, Problem
from hwmodels.systems.system import System


@dataclass(frozen=True)
class TierChoice:
    """A tier below the memory of chips, as far as it is said; the rest is as the system's host has it.

    Parameters
    ----------
    name
        ``host`` and ``nvme`` are known of systems with a host; others say everything.
    capacity_bytes, bytes_per_second
        Of one chip's share, and each way.
    latency_s
        Of the first block that a step moves.
    """

    name: str
    capacity_bytes: float | None = None
    bytes_per_second: float | None = None
    latency_s: float = 0.0


@dataclass(frozen=True)
class Deployment:
    """Equal replicas of a model.

    Parameters
    ----------
    model, system
        The model, and the chips that it runs on.
    mapping, options
        How one replica is spread over chips and carried out; groups with sequences of their own (``dp``) are replicas
        of their own.
    replicas
        How many such mappings there are; of a chip by itself, so many such chips.
    prefill
        How many of them compute prompts alone, and hand keys and values to the others over the links of the system;
        0: all do everything.
    scheduler, limits
        Registered name of the scheduler of a replica, and what bounds its batches.
    block_tokens, blocks
        Tokens of a KV block; blocks of a replica, None: as many as fit.
    prefix_cache
        Whether prompts that begin alike share blocks.
    tiers
        Where blocks go that leave the memory of the chips, near to far: prefixes are found there again, and sequences
        that lost their memory read it from there. None: what leaves is lost, and computed again.
    overhead_s
        Time of a step beside its launches.
    grids, exact
        How finely step times are tabled; or every composition computed.
    compared
        Steps of a run that are computed both ways, which says how far off the table is.
    mode, memory
        How launches are timed, as in `algorithms.models.steps.step.model_step`.

    Raises
    ------
    InputError
        More chips than the system has, or what cannot be.
    """

    model: Model
    system: System
    mapping: Mapping = SINGLE
    options: StepOptions = field(default_factory=StepOptions)
    replicas: int = 1
    prefill: int = 0
    scheduler: str = "vllm"
    limits: Limits = field(default_factory=Limits)
    block_tokens: int = 16
    blocks: int | None = None
    prefix_cache: bool = True
    tiers: tuple[TierChoice, ...] = ()
    overhead_s: float = 0.0
    grids: Grids = field(default_factory=Grids)
    exact: bool = False
    compared: int = 32
    mode: Mode = "symmetric"
    memory: MemoryFidelity = "peak"

    def __post_init__(self) -> None:
        problems = []
        if self.replicas < 1:
            problems.append(Problem(f"must be at least 1 (got {self.replicas})", field="replicas"))
        if not self.overhead_s >= 0:
            problems.append(Problem(f"must not be negative (got {self.overhead_s:g})", field="overhead"))
        chips = self.replicas * self.mapping.chips
        if self.system.levels and chips > self.system.count:
            message = f"{self.replicas} replicas on {self.mapping.chips} chips each need {chips} chips"
            problems.append(Problem(f"{message}, {self.system.name} has {self.system.count}", field="replicas"))
        if self.prefill and not 0 < self.prefill < self.replicas:
            message = f"must leave replicas for prompts and for tokens, of {self.replicas} in all (got {self.prefill})"
            problems.append(Problem(message, field="prefill"))
        elif self.prefill and not self.system.levels:
            problems.append(Problem(f"{self.system.name} has no links to hand keys over", field="prefill"))
        elif self.prefill and self.scheduler != "vllm":
            problems.append(Problem(f"needs the scheduler vllm (got {self.scheduler})", field="prefill"))
        if self.tiers and not self.prefix_cache:
            problems.append(Problem("need the prefix cache, which finds what lies in them", field="tiers"))
        if problems:
            raise InputError(problems)

    @cached_property
    def steps(self) -> ModelSteps:
        """Where step times come from."""
        return ModelSteps(self.model, self.system, self.mapping, self.options, self.mode, self.memory)

    @cached_property
    def pool_blocks(self) -> int:
        """KV blocks of a replica.

        Raises
        ------
        simulator.errors.CapacityError
            If none fits beside the weights.
        """
        return self.blocks if self.blocks is not None else self.steps.blocks(self.block_tokens, self.limits.most_tokens)

    @cached_property
    def far_tiers(self) -> tuple[FarTier, ...]:
        """Tiers below, as a replica sees them; raises InputError where something of one is not known."""
        block_bytes = self.steps.cached_bytes(self.block_tokens)
        return tuple(self._far_tier(each, block_bytes) for each in self.tiers)

    def _far_tier(self, tier: TierChoice, block_bytes: int) -> FarTier:
        host = self.system.host
        known: tuple[float | None, float | None] = (None, None)
        if host is not None and tier.name == "host":
            known = (host.dram_bytes / host.chips, host.link_bytes_per_second)
        elif host is not None and tier.name == "nvme" and host.nvme_bytes:
            known = (host.nvme_bytes / host.chips, host.nvme_bytes_per_second / host.chips)
        capacity = known[0] if tier.capacity_bytes is None else tier.capacity_bytes
        rate = known[1] if tier.bytes_per_second is None else tier.bytes_per_second
        if capacity is None or rate is None:
            message = f"{tier.name}: capacity and rate must be given, {self.system.name} says nothing of them"
            raise InputError(Problem(message, field="tiers"))
        return FarTier.of_bytes(tier.name, capacity, rate, tier.latency_s, block_bytes)

    @property
    def groups(self) -> int:
        """Replicas with sequences of their own."""
        return self.replicas * self.mapping.dp

    @property
    def chips(self) -> int:
        """All that work."""
        return self.replicas * self.mapping.chips

    def split(self) -> Split | None:
        """Which replicas compute prompts, and how long keys and values are under way: every chip sends its own part."""
        if not self.prefill:
            return None
        link = self.system.levels[-1]

        def transfer_ns(tokens: int) -> int:
            size = self.steps.cached_bytes(tokens)
            return nanoseconds(link.latency_s + size / link.payload_bytes_per_second)

        return Split(self.prefill * self.mapping.dp, transfer_ns)

    def times(self) -> TableTimes:
        """A table of step times, still empty."""
        return TableTimes(_remembered(self.steps), self.grids, self.overhead_s, exact=self.exact)

    def maker(self) -> Callable[[], Scheduler]:
        """Makes the scheduler of a replica, with its own memory."""
        make, longest = get_scheduler(self.scheduler).make, self.steps.longest_tokens

        def made() -> Scheduler:
            far = FarBlocks(self.far_tiers) if self.tiers else None
            scheduler = make(BlockPool(self.pool_blocks, self.block_tokens, self.prefix_cache, far), self.limits)
            scheduler.longest_tokens = longest
            return scheduler

        return made


@lru_cache(maxsize=64)
def _remembered(steps: ModelSteps) -> Remembered:
    """Terms of steps that runs of the same model on the same chips have in common."""
    return Remembered(steps)
