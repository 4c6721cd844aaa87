"""How long a core's units work on each part of a tile step: plan and chip, in ticks.

A tick is a sixteenth of a core cycle. Graphs of cores run in ticks, so that rates which are no whole number of bytes or
FLOP per cycle lose less than a sixteenth of a cycle per request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache

from algorithms.chip.plan.plan import Launch, Matmul, TileStep, WorkItem
from algorithms.chip.plan.profile import KernelProfile
from algorithms.chip.timing.seen import SeenChip
from hwmodels.chips.accelerator import Accelerator, Core

TICKS_PER_CYCLE = 16


@dataclass(frozen=True)
class StepTicks:
    """Work of one row group in one tile step, and what its item loads and stores in it.

    Parameters
    ----------
    scores, values
        Ticks of the score and value products on the matrix array.
    exp, vector
        Ticks on the exp unit and the vector lanes.
    hold
        During the softmax, while the matrix array serves nobody.
    exchange, exchange_wait
        Ticks on the local memory for exchanges between warps, and ticks of waiting for them beside that.
    rearrange
        Ticks on the local memory for operands that are reordered before use; of the whole item.
    load_bytes, store_bytes
        Bytes of the whole item.
    """

    scores: int
    exp: int
    vector: int
    values: int
    hold: int
    load_bytes: int
    store_bytes: int
    exchange: int = 0
    exchange_wait: int = 0
    rearrange: int = 0

    @property
    def matrix(self) -> int:
        """Ticks of products."""
        return self.scores + self.values


@dataclass(frozen=True)
class Throughput:
    """Converts work into ticks for one launch.

    Parameters
    ----------
    core, launch, profile
        Core, launch and kernel whose throughput it is.
    clock_hz
        Sustained clock.
    """

    core: Core
    launch: Launch
    profile: KernelProfile
    clock_hz: float
    _made: dict[int, tuple[TileStep, StepTicks]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, launch: Launch, chip: Accelerator | SeenChip, profile: KernelProfile) -> Throughput:
        """The throughput of a launch on a chip."""
        return cls(chip.core, launch, profile, chip.clock_hz * profile.clock_fraction)

    @property
    def tick_hz(self) -> float:
        """Ticks in a second."""
        return self.clock_hz * TICKS_PER_CYCLE

    @property
    def groups(self) -> int:
        """Row groups that take turns; a serial item is a single one."""
        return self.launch.row_groups if self.launch.overlap == "ping_pong" else 1

    def ticks(self, seconds: float) -> int:
        """Nearest whole number of ticks."""
        return round(seconds * self.tick_hz)

    def vector_ticks(self, operations: float) -> int:
        """Elementwise operations on the vector lanes; a lane does one per cycle, a fused multiply-add counts as one."""
        lanes = self.core.vector_flops_per_cycle / 2
        return math.ceil(operations / lanes * TICKS_PER_CYCLE)

    def exp_ticks(self, count: float) -> int:
        """Exponentials on the exp unit."""
        return math.ceil(count / self.core.exp_per_cycle * TICKS_PER_CYCLE)

    def matrix_ticks(self, products: tuple[Matmul, ...]) -> int:
        """Products of one row group, padded to the array's granularity."""
        rate = self.core.matrix_rate(self.launch.matrix_format) * self.profile.matrix_fraction
        flops = sum(padded_flops(product, self.core, self.groups) for product in products)
        return math.ceil(flops / rate * TICKS_PER_CYCLE)

    def local_ticks(self, count: float) -> int:
        """Bytes through the core's local memory, reads and writes alike."""
        return math.ceil(count / self.core.sram_bytes_per_cycle * TICKS_PER_CYCLE)

    def wait_ticks(self, exchanges: int) -> int:
        """Exchanges between warps, each of which is a barrier and a read after it."""
        cycles = self.profile.barrier_cycles + (self.core.sram_latency_cycles or 0.0)
        return round(exchanges * cycles * TICKS_PER_CYCLE)

    def step(self, step: TileStep) -> StepTicks:
        """One row group's share of a step."""
        # by identity: a step is kept, and with it its identity, and the items of a launch share their steps
        if id(step) not in self._made:
            self._made[id(step)] = step, self._step(step)
        return self._made[id(step)][1]

    def _step(self, step: TileStep) -> StepTicks:
        exp, vector = self.exp_ticks(step.exps / self.groups), self.vector_ticks(step.vector_ops / self.groups)
        return StepTicks(
            scores=self.matrix_ticks(step.scores),
            exp=exp,
            vector=vector,
            values=self.matrix_ticks(step.values),
            hold=round(self.profile.exposed_softmax * (exp + vector)) if self.groups > 1 else 0,
            load_bytes=step.load_bytes,
            store_bytes=step.store_bytes,
            exchange=self.local_ticks(step.exchange_bytes / self.groups),
            exchange_wait=self.wait_ticks(step.exchanges),
            rearrange=self.local_ticks(step.rearranged_bytes / self.profile.rearrange_fraction),
        )

    def step_estimate(self, step: TileStep, memory_bytes_per_tick: float) -> float:
        """Ticks of a step in the steady state, by its busiest unit: a first guess, for handing out items."""
        part = self.step(step)
        matrix, softmax = self.groups * (part.matrix + part.hold), self.groups * (part.exp + part.vector)
        moving = (step.load_bytes + step.store_bytes) / memory_bytes_per_tick
        compute = matrix + softmax if self.groups == 1 else max(matrix, self.groups * max(part.exp, part.vector))
        return max(compute + part.exchange + part.exchange_wait, moving)

    def item_estimate(self, item: WorkItem, memory_bytes_per_tick: float) -> float:
        """Ticks of an item, likewise."""
        edge = (item.first_load_bytes + item.last_store_bytes) / memory_bytes_per_tick
        last = self.vector_ticks(item.last_vector_ops)
        return edge + last + sum(times * self.step_estimate(step, memory_bytes_per_tick) for step, times in item.steps)


def padded_flops(product: Matmul, core: Core, groups: int = 1) -> int:
    """FLOP of one row group's share of a product on an array that works in whole blocks."""
    rows = _padded(-(-product.rows // groups), core.matrix_rows)
    return 2 * rows * _padded(product.columns, core.matrix_columns) * _padded(product.depth, core.matrix_depth)


def padded_launch_flops(launch: Launch, core: Core) -> int:
    """FLOP of all products of a launch, likewise."""
    return _padded_launch_flops(launch, core.matrix_rows, core.matrix_columns, core.matrix_depth)


@lru_cache(maxsize=4096)
def _padded_launch_flops(launch: Launch, rows: int, columns: int, depth: int) -> int:
    def flops(product: Matmul) -> int:
        return 2 * _padded(product.rows, rows) * _padded(product.columns, columns) * _padded(product.depth, depth)

    return sum(
        item_times * times * flops(product)
        for item, item_times in launch.items
        for step, times in item.steps
        for product in (*step.scores, *step.values)
    )


def _padded(length: int, block: int) -> int:
    return -(-length // block) * block
