"""Matrix products over the cores of a chip: tiles of the result, and their depth cut where tiles alone are too few.

A tile of the result is the work of one core, or of several that each take a range of the depth; these add up their
partial results in float32 where the result is stored. Depth is cut such that all products of a launch together fill
the cores as evenly as they can.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from algorithms.chip.latent.program import Product
from algorithms.chip.plan.in_flight import LEAST_STAGES
from algorithms.chip.plan.plan import Matmul, TileStep, WorkItem
from algorithms.rounding import ceil_div, round_up

Value = TypeVar("Value")
ItemRuns = tuple[tuple[WorkItem, int], ...]

PARTIAL_BYTES = 4
"""Partial sums are float32."""
MOST_CUTS = 64
"""Cores that may work on one tile of a result: more would spend their time adding up."""


@dataclass(frozen=True)
class GemmTiles:
    """Largest tile of a result, the depth of one step, and the blocks that the array works in.

    Parameters
    ----------
    rows, columns, depth
        Sizes of a tile.
    array_rows, array_columns
        Granularity to which the array pads. A product whose transpose is padded less is issued that way round, as
        kernels do for few tokens: the weights then stand in the array's rows.
    """

    rows: int = 128
    columns: int = 128
    depth: int = 64
    array_rows: int = 1
    array_columns: int = 1

    def issued(self, rows: int, columns: int, depth: int) -> Matmul:
        """The product, or its transpose, as the array gets it."""
        if self._padded(columns, rows) < self._padded(rows, columns):
            rows, columns = columns, rows
        return Matmul(rows, columns, depth)

    def _padded(self, rows: int, columns: int) -> int:
        return round_up(rows, self.array_rows) * round_up(columns, self.array_columns)

    def operand_bytes(
        self,
        rows: int,
        element_bytes: int,
        inner: int = 0,
        stacked: bool = False,
        stages: int = LEAST_STAGES,
        items: int = 1,
    ) -> int:
        """Operands of `stages` steps of tiles with `rows` rows.

        With `inner`, those of a composite whose factors have that depth; its right factor stays for many steps of each
        of `items`, and comes with every step only where a result sums over several composites (`stacked`).
        """
        if not inner:
            return stages * (rows + self.columns) * self.depth * element_bytes
        kept = (stages if stacked else items) * inner * self.columns + self.depth * self.columns
        return (stages * (rows + inner) * self.depth + kept) * element_bytes

    def accumulator_bytes(self, rows: int, inner: int = 0) -> int:
        """A float32 tile of the result, and one of the composite."""
        return (rows + (self.depth if inner else 0)) * self.columns * PARTIAL_BYTES


@dataclass(frozen=True)
class Task:
    """A product as a launch does it.

    Parameters
    ----------
    product
        Sizes of the product.
    element_bytes
        Bytes of an element of operands and result.
    vector_ops_per_element
        Elementwise work on each finished element of the result.
    composite
        The product that makes a right operand which is made on the way, tile by tile. Its rows are the
        depth of `product` (of one group, or one after the other), its columns those of `product`.
    """

    product: Product
    element_bytes: int
    vector_ops_per_element: int = 0
    composite: Product | None = None

    def tiles(self, sizes: GemmTiles) -> int:
        """Tiles of the result."""
        product = self.product
        return product.groups * ceil_div(product.rows, self.row_tile(sizes)) * ceil_div(product.columns, sizes.columns)

    def row_tile(self, sizes: GemmTiles) -> int:
        """Rows of a tile; all of them where the right operand is made for them on the way."""
        return max(1, self.product.rows) if self.composite else sizes.rows

    def reused_bytes(self, sizes: GemmTiles) -> int:
        """Operands that more than one tile of the result needs."""
        product = self.product
        left = product.rows * product.depth if ceil_div(product.columns, sizes.columns) > 1 else 0
        if self.composite is not None:
            right = self.composite.depth * (self.composite.rows + self.composite.columns) * self.composite.groups
            return (product.groups * left + right) * self.element_bytes
        right = product.depth * product.columns if ceil_div(product.rows, sizes.rows) > 1 else 0
        return product.groups * (left + right) * self.element_bytes

    def depth_steps(self, sizes: GemmTiles) -> int:
        """Steps that all the depth of a tile takes."""
        if self.composite is None:
            return ceil_div(self.product.depth, sizes.depth)
        return self.stacked * ceil_div(self.composite.rows, sizes.depth)

    @property
    def stacked(self) -> int:
        """Composites that one group sums over."""
        composite = self.composite
        return composite.groups // self.product.groups if composite else 1

    def steps(self, rows: int, columns: int, sizes: GemmTiles, span: tuple[int, int]) -> list[tuple[TileStep, int]]:
        """The steps `span` of one tile of the result."""
        whole = self.composite.rows if self.composite else self.product.depth
        per_block = ceil_div(whole, sizes.depth)
        ragged = whole - (per_block - 1) * sizes.depth
        runs: list[tuple[TileStep, int]] = []
        for first, last in _blocks(span, per_block):
            ends_block = last == per_block and ragged < sizes.depth
            if last - first - ends_block:
                runs.append((self._step(rows, columns, sizes.depth, sizes), last - first - ends_block))
            if ends_block:
                runs.append((self._step(rows, columns, ragged, sizes), 1))
        return _joined(runs)

    def _step(self, rows: int, columns: int, depth: int, sizes: GemmTiles) -> TileStep:
        product = sizes.issued(rows, columns, depth)
        left = rows * depth
        if self.composite is None:
            return TileStep(load_bytes=(left + depth * columns) * self.element_bytes, values=(product,))
        inner = self.composite.depth
        # the right factor stays for all steps of one composite; where several follow each other, each brings its own
        right = ceil_div(inner * columns, ceil_div(self.composite.rows, sizes.depth)) if self.stacked > 1 else 0
        return TileStep(
            load_bytes=(left + depth * inner + right) * self.element_bytes,
            scores=(sizes.issued(depth, columns, inner),),
            vector_ops=depth * columns,
            values=(product,),
        )

    def item(self, rows: int, columns: int, sizes: GemmTiles, span: tuple[int, int]) -> WorkItem:
        """The steps `span` of one tile of the result, stored whole or as a partial sum."""
        whole = span == (0, self.depth_steps(sizes))
        once = self.composite.depth * columns if self.composite and self.stacked == 1 else 0
        return WorkItem(
            steps=tuple(self.steps(rows, columns, sizes, span)),
            first_load_bytes=once * self.element_bytes,
            last_vector_ops=rows * columns * self.vector_ops_per_element,
            last_store_bytes=rows * columns * (self.element_bytes if whole else PARTIAL_BYTES),
        )


def gemm_items(tasks: Sequence[Task], sizes: GemmTiles, cores: int) -> list[ItemRuns]:
    """Work items of independent products that share a launch, one list of runs (item, times) for each product."""
    depth = _steps_per_item([task for task in tasks if task.product.flops], sizes, cores)
    return [tuple(_task_items(task, sizes, depth)) if task.product.flops else () for task in tasks]


def _task_items(task: Task, sizes: GemmTiles, depth: int) -> Iterator[tuple[WorkItem, int]]:
    steps = task.depth_steps(sizes)
    spans = [(first, min(first + depth, steps)) for first in range(0, steps, depth)]
    product = task.product
    for columns, column_tiles in _extents(product.columns, sizes.columns):
        for rows, row_tiles in _extents(product.rows, task.row_tile(sizes)):
            runs = [
                (task.item(rows, columns, sizes, span), product.groups * column_tiles * row_tiles) for span in spans
            ]
            yield from _joined(runs)


def _steps_per_item(tasks: Sequence[Task], sizes: GemmTiles, cores: int) -> int:
    """Depth steps of one item such that the busiest core has the least to do; the deepest such cut."""
    longest = max((task.depth_steps(sizes) for task in tasks), default=1)
    candidates = sorted({ceil_div(longest, cuts) for cuts in range(1, min(MOST_CUTS, longest) + 1)}, reverse=True)

    def busiest(depth: int) -> int:
        items = sum(task.tiles(sizes) * ceil_div(task.depth_steps(sizes), depth) for task in tasks)
        # one step more for what begins and ends an item
        return ceil_div(items, cores) * (depth + 1)

    return min(candidates, key=busiest)


def _extents(size: int, tile: int) -> list[tuple[int, int]]:
    """(extent, how often) of the tiles of an axis, the ragged last one apart."""
    whole, ragged = divmod(size, tile)
    return [(extent, times) for extent, times in ((tile, whole), (ragged, 1 if ragged else 0)) if times]


def _blocks(span: tuple[int, int], per_block: int) -> Iterator[tuple[int, int]]:
    """`span` cut at multiples of `per_block`, each piece relative to its block."""
    first, last = span
    while first < last:
        start = first // per_block * per_block
        end = min(last, start + per_block)
        yield first - start, end - start
        first = end


def _joined(runs: Sequence[tuple[Value, int]]) -> list[tuple[Value, int]]:
    """Runs with equal neighbours added up."""
    joined: list[tuple[Value, int]] = []
    for value, times in runs:
        if joined and joined[-1][0] == value:
            joined[-1] = (value, joined[-1][1] + times)
        else:
            joined.append((value, times))
    return joined
