"""A deployment: replicas of a model on chips, how they form batches, and what memory they have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Literal

from algorithms.chip.timing.fidelity import MemoryFidelity
from algorithms.chip.timing.mapping import Mode
from algorithms.live.blocks import BlockPool
from algorithms.live.pools import (
    ATTENTION,
    PROMPTS,
    attends_elsewhere,
    chips_for_tokens,
    misfits,
    part_of,
    split_by_phase,
    unlike,
    with_chip,
)
from algorithms.live.replica import Scheduler
from algorithms.live.requests import nanoseconds
from algorithms.live.schedulers.phases import ALL, problems_of_shares
from algorithms.live.schedulers.register import SCHEDULERS, Limits, get_scheduler
from algorithms.live.serve import Split
from algorithms.live.steps import StepTimes
from algorithms.live.tiers import FarBlocks, FarTier
from algorithms.live.times.divided import DividedChip
from algorithms.live.times.model_steps import ModelFigures, ModelSteps
from algorithms.live.times.speculation import Speculation, SpeculativeTimes
from algorithms.live.times.staggered import Crossing, StaggeredTimes
from algorithms.live.times.table import Grids, Remembered, TableTimes
from algorithms.models.mapping import SINGLE, Mapping
from algorithms.models.model import Model
from algorithms.models.options import StepOptions
from algorithms.models.text import load_model
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
        Sizes of one chip's share, the rate for each way.
    latency_s
        Latency of the first block that a step moves.
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
    speculation
        How tokens are drafted; None: each is a step of the model.
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
    speculation: Speculation | None = None
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
        problems += misfits(self.system, self.replicas, self.prefill, self.mapping.chips)
        if self.prefill and not 0 < self.prefill < self.replicas:
            message = f"must leave replicas for prompts and for tokens, of {self.replicas} in all (got {self.prefill})"
            problems.append(Problem(message, field="prefill"))
        elif self.prefill and not self.system.levels:
            problems.append(Problem(f"{self.system.name} has no links to hand keys over", field="prefill"))
        elif self.prefill and self.scheduler != "vllm":
            problems.append(Problem(f"needs the scheduler vllm (got {self.scheduler})", field="prefill"))
        if attends_elsewhere(self.system) and (self.speculation is not None or self.tiers):
            what = "speculation" if self.speculation is not None else "tiers"
            problems.append(Problem(f"is not modelled where {self.system.name} attends on other chips", field=what))
        problems += self._misfits_of_phases()
        if self.tiers and not self.prefix_cache:
            problems.append(Problem("need the prefix cache, which finds what lies in them", field="tiers"))
        if problems:
            raise InputError(problems)

    def _misfits_of_phases(self) -> list[Problem]:
        """What does not go with prompts and tokens at the same time."""
        if self.scheduler not in SCHEDULERS.names() or not get_scheduler(self.scheduler).phases:
            return []
        beside = {
            "speculation": self.speculation is not None,
            "dp or ep above 1": self.mapping.chips > self.mapping.tp,
            f"chips of several kinds ({self.system.name})": unlike(self.system),
        }
        found = [what for what, is_there in beside.items() if is_there]
        refused = [Problem(f"{self.scheduler} is not modelled with {what}", field="scheduler") for what in found]
        return [*refused, *problems_of_shares(self.limits)]

    @cached_property
    def steps(self) -> ModelSteps:
        """Where step times come from, on the chips that make tokens."""
        system = chips_for_tokens(self.system)
        return ModelSteps(self.model, system, self.mapping, self.options, self.mode, self.memory)

    @cached_property
    def of_prompts(self) -> Deployment:
        """What computes prompts alone, where other chips do that than make tokens; the same otherwise."""
        if not split_by_phase(self.system):
            return self
        return replace(
            self, system=part_of(self.system, PROMPTS), replicas=self.prefill, prefill=0, tiers=(), speculation=None
        )

    @cached_property
    def attending(self) -> ModelSteps | None:
        """Steps on the chips that attend for a replica, where they are others than those of all layers."""
        if not attends_elsewhere(self.system):
            return None
        pool = part_of(self.system, ATTENTION)
        mapping = Mapping(tp=max(pool.count // self.replicas, 1))
        return ModelSteps(self.model, pool, mapping, self.options, self.mode, self.memory)

    @cached_property
    def pool_blocks(self) -> int:
        """KV blocks of a replica.

        Raises
        ------
        simulator.errors.CapacityError
            If none fits beside the weights.
        """
        if self.blocks is not None:
            return self.blocks
        if self.attending is not None:
            _ = self.steps.blocks(self.block_tokens, self.limits.most_tokens)  # refuses weights that do not fit
            return self.attending.blocks_alone(self.block_tokens)
        return self.steps.blocks(self.block_tokens, self.limits.most_tokens, self._drafting)

    @cached_property
    def far_tiers(self) -> tuple[FarTier, ...]:
        """Tiers below, as a replica sees them; raises InputError where something of one is not known."""
        block_bytes = (self.attending or self.steps).cached_bytes(self.block_tokens)
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
        attending = 0 if self.attending is None else self.attending.mapping.chips
        return self.replicas * (self.mapping.chips + attending)

    @property
    def told(self) -> str:
        """All chips in words."""
        if not unlike(self.system):
            return f"{self.chips} x {self.system.chip.name}"
        if self.attending is not None:
            layers, attention = self.steps.system.chip.name, self.attending.system.chip.name
            attending = self.replicas * self.attending.mapping.chips
            return f"{self.chips - attending} x {layers} for layers and {attending} x {attention} for attention"
        prompts, tokens = self.of_prompts, self.replicas - self.prefill
        own = f"{tokens * self.mapping.chips} x {self.steps.system.chip.name} for tokens"
        return f"{prompts.chips} x {prompts.system.chip.name} for prompts and {own}"

    def split(self, prompts: StepTimes | None = None) -> Split | None:
        """Which replicas compute prompts, and how long keys and values are under way: every chip sends its own part.

        Parameters
        ----------
        prompts
            How long steps take where prompts are computed on chips of their own kind.
        """
        if not self.prefill:
            return None
        link = self.system.levels[-1]

        def transfer_ns(tokens: int) -> int:
            size = self.steps.cached_bytes(tokens)
            return nanoseconds(link.latency_s + size / link.payload_bytes_per_second)

        maker = self.of_prompts.maker() if split_by_phase(self.system) else None
        return Split(self.prefill * self.mapping.dp, transfer_ns, maker, prompts)

    def times(self) -> TableTimes:
        """A table of step times, still empty: of verifications, where tokens are drafted."""
        return self._table(self.steps, self._queries)

    def step_times(self, table: TableTimes) -> StepTimes:
        """How long steps take that make one token of each sequence, from the table of `times`."""
        if self.attending is not None:
            return StaggeredTimes(table, self._table(self.attending), self._crossing(self.attending))
        if get_scheduler(self.scheduler).phases:
            return self._divided(table)
        if self.speculation is None:
            return table
        drafting = self._drafting
        return SpeculativeTimes(self.speculation, table, None if drafting is None else self._table(drafting))

    def _divided(self, table: TableTimes) -> DividedChip:
        """Times on parts of the chips, for prompts and tokens at the same time."""
        chip = self.steps.system.chip
        rate = f"{chip.memory.name}.bytes_per_second"

        def part(cores_pct: int, memory_pct: int) -> TableTimes:
            values = {
                "cores": max(round(chip.cores * cores_pct / ALL), 1),
                rate: chip.memory.bytes_per_second * memory_pct / ALL,
            }
            return self._table(replace(self.steps, system=with_chip(self.steps.system, chip.with_(**values))))

        moved = TableTimes(_remembered_figures(self.steps, "memory_bytes"), self.grids, exact=self.exact)
        return DividedChip(table, part, moved, chip.memory.bytes_per_second)

    def _crossing(self, attending: ModelSteps) -> Crossing:
        link = self.system.levels[-1]
        side_by_side = min(self.mapping.chips, attending.mapping.chips)
        rate = side_by_side * link.payload_bytes_per_second
        return Crossing.of(self.model, self.options.kv_format, link.latency_s, rate)

    @cached_property
    def _drafting(self) -> ModelSteps | None:
        """Steps of the model that drafts."""
        if self.speculation is None or not self.speculation.draft:
            return None
        return replace(self.steps, model=load_model(self.speculation.draft))

    def joules(self) -> TableTimes:
        """A table of what steps add to the energy of a chip that waits, as fine as that of times."""
        return self._joules(self.steps, self._queries)

    def joules_of_drafts(self) -> TableTimes | None:
        """The same of the model that drafts; None where there is none."""
        return None if self._drafting is None else self._joules(self._drafting, 1)

    def _joules(self, steps: ModelSteps, queries: int) -> TableTimes:
        return TableTimes(_remembered_figures(steps, "joules"), self.grids, exact=self.exact, queries=queries)

    @property
    def _queries(self) -> int:
        """New tokens of a sequence in a step: several where drafted tokens are verified."""
        return 1 if self.speculation is None else self.speculation.drafted + 1

    @property
    def waiting_w(self) -> float:
        """Power of all chips while they do nothing."""
        if self.attending is not None:
            layers, attending = self.mapping.chips, self.attending.mapping.chips
            return self.replicas * (layers * self.steps.waiting_w + attending * self.attending.waiting_w)
        if not unlike(self.system):
            return self.chips * self.steps.waiting_w
        tokens = (self.replicas - self.prefill) * self.mapping.chips
        return self.of_prompts.waiting_w + tokens * self.steps.waiting_w

    def _table(self, steps: ModelSteps, queries: int = 1) -> TableTimes:
        joined = steps if steps.joins else None
        return TableTimes(
            _remembered(steps), self.grids, self.overhead_s, exact=self.exact, queries=queries, joined=joined
        )

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


@lru_cache(maxsize=64)
def _remembered_figures(steps: ModelSteps, figure: Literal["joules", "memory_bytes"]) -> Remembered:
    """Other figures of the same terms; those that were simulated for their times are there already."""
    first = _remembered(steps).source
    return Remembered(ModelFigures(first if isinstance(first, ModelSteps) else steps, figure))
