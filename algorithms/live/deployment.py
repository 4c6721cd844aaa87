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
from algorithms.models.mapping import SINGLE, Mapping
from algorithms.models.model import Model
from algorithms.models.options import StepOptions
from hwmodels.reading.errors import InputError, Problem
from hwmodels.systems.system import System


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
    overhead_s
        Time of a step beside its launches.
    grids, exact
        How finely step times are tabled; or every composition computed.
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
    overhead_s: float = 0.0
    grids: Grids = field(default_factory=Grids)
    exact: bool = False
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
            scheduler = make(BlockPool(self.pool_blocks, self.block_tokens, self.prefix_cache), self.limits)
            scheduler.longest_tokens = longest
            return scheduler

        return made


@lru_cache(maxsize=64)
def _remembered(steps: ModelSteps) -> Remembered:
    """Terms of steps that runs of the same model on the same chips have in common."""
    return Remembered(steps)
