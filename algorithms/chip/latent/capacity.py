"""Bytes that the launches of a block hold in a core, and tiles of operands on their way to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from algorithms.chip.latent.core import CoreShape, core_shape
from algorithms.chip.latent.gemm import Task
from algorithms.chip.latent.plan import BlockTiles, product_tasks
from algorithms.chip.latent.program import Product, Program
from algorithms.chip.plan.in_flight import Buffers, NextItemChoice, Stream, decided_buffers
from algorithms.chip.plan.parameters import excess_bytes, fitting_core_bytes
from algorithms.rounding import ceil_div

if TYPE_CHECKING:
    from hwmodels.chips.accelerator import Accelerator


@dataclass(frozen=True)
class Holding:
    """Bytes that a launch holds in a core: operands, accumulators, and what they are in words."""

    operands: int
    accumulators: int
    what: str


def block_core_bytes(program: Program, tiles: BlockTiles, chip: Accelerator) -> int:
    """Bytes that the largest work item holds in a core.

    Raises
    ------
    simulator.CapacityError
        If something does not fit.
    """
    return max(
        fitting_core_bytes(chip, holding.operands, holding.accumulators, holding.what)
        for holding in _Launches.of(program, tiles).holdings(tiles.buffers)
    )


def block_buffers(
    program: Program, tiles: BlockTiles, stages: int, next_item: NextItemChoice, chip: Accelerator
) -> tuple[int, NextItemChoice]:
    """`stages` and `next_item` for all launches, by `algorithms.chip.plan.in_flight.decided_buffers`."""
    launches = _Launches.of(program, tiles)

    def excess(held: Buffers) -> float:
        return max(excess_bytes(chip.core, each.operands, each.accumulators) for each in launches.holdings(held))

    return decided_buffers(chip, launches.streams(), stages, next_item, excess)


@dataclass(frozen=True)
class _Launches:
    """The attention and the products of a block, with their tiles."""

    tiles: BlockTiles
    shape: CoreShape
    tasks: tuple[Task, ...]

    @classmethod
    def of(cls, program: Program, tiles: BlockTiles) -> _Launches:
        tasks = tuple(task for task in product_tasks(program, tiles) if task.product.flops)
        return cls(tiles, core_shape(program, tiles.element_bytes, tiles.expansion), tasks)

    def holdings(self, held: Buffers) -> Iterator[Holding]:
        """Bytes held by the items of every launch."""
        rows, keys = self.tiles.core.rows, self.tiles.core.keys
        yield Holding(
            self.shape.operand_bytes(rows, keys, held.stages, held.items(self._attention().tiles)),
            self.shape.accumulator_bytes(rows, keys),
            f"tiles of {rows} query rows and {held.stages} x {keys} keys",
        )
        gemm = self.tiles.gemm
        for task in self.tasks:
            inner, tokens = task.composite.depth if task.composite else 0, task.row_tile(gemm)
            items = held.items(self._product(task).tiles)
            yield Holding(
                gemm.operand_bytes(tokens, task.element_bytes, inner, task.stacked > 1, held.stages, items),
                gemm.accumulator_bytes(tokens, inner),
                f"projections of {tokens} tokens by {held.stages} x {gemm.depth} x {gemm.columns} weights",
            )

    def streams(self) -> Iterator[Stream]:
        """Streams of the attention, and of the products with and without a composite that read most weights."""
        yield self._attention()
        for composite in (False, True):
            kind = [task for task in self.tasks if (task.composite is not None) == composite]
            if kind:
                yield self._product(max(kind, key=lambda task: _weights(task.product)))

    def _attention(self) -> Stream:
        shape, core = self.shape, self.tiles.core
        return Stream(
            items=shape.copies * ceil_div(shape.rows, core.rows) * core.splits,
            tiles=ceil_div(ceil_div(shape.context, core.keys), core.splits),
            tile_bytes=shape.step_bytes(min(core.keys, max(shape.context, 1))),
        )

    def _product(self, task: Task) -> Stream:
        """Stream of a product, whose depth is cut where its tiles are fewer than cores."""
        sizes, product = self.tiles.gemm, task.product
        steps, results = task.depth_steps(sizes), task.tiles(sizes)
        items = max(1, min(results * steps, max(results, self.tiles.cores)))
        rows, columns = min(product.rows, task.row_tile(sizes)), min(product.columns, sizes.columns)
        first, _ = task.steps(rows, columns, sizes, (0, 1))[0]
        return Stream(items, ceil_div(results * steps, items), first.load_bytes)


def _weights(product: Product) -> int:
    """Elements of the right operand."""
    return product.groups * product.depth * product.columns
