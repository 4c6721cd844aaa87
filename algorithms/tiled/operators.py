"""Launches of single operators: matrix products, softmax of rows, elementwise passes, as unfused code runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from algorithms.shape import DTYPE_BYTES
from algorithms.tiled.parameters import bad_numbers, knob
from algorithms.tiled.plan import Launch, Matmul, TileStep, WorkItem, run_lengths
from algorithms.tiled.tiles import ceil_div, spans
from hwmodels.errors import InputError

OPS_PER_SOFTMAX_INPUT = 5
"""Compare for the maximum, subtract and scale, add to the sum, divide, convert."""


OPERATOR_KNOBS = ("tile_rows", "tile_columns", "tile_depth", "softmax_reads", "elementwise_bytes")


@dataclass(frozen=True)
class OperatorParameters:
    """How single operators are cut into work items.

    Raises
    ------
    InputError
        For values out of range, all at once.
    """

    tile_rows: int = field(default=128, metadata=knob("rows of the result that a work item of a product computes"))
    tile_columns: int = field(default=128, metadata=knob("columns of the result that it computes"))
    tile_depth: int = field(default=64, metadata=knob("elements of the sum that a step of it adds"))
    softmax_reads: int = field(default=1, metadata=knob("times a softmax reads its rows: 1 if they fit into a core"))
    elementwise_bytes: int = field(
        default=64 * 1024, metadata=knob("input of a work item of softmax and elementwise passes", "B")
    )

    def __post_init__(self) -> None:
        problems = bad_numbers(self, dict.fromkeys(OPERATOR_KNOBS, 1))
        if problems:
            raise InputError(problems)


@dataclass(frozen=True)
class Product:
    """A batch of products of ``rows x depth`` by ``depth x columns``.

    Parameters
    ----------
    name
        Of the launch.
    count
        Products.
    rows, columns, depth
        Of each.
    shared
        How many products in a row have the same right operand (query heads of one KV head).
    ops_per_output
        Elementwise operations on each element of the result (scale, convert).
    """

    name: str
    count: int
    rows: int
    columns: int
    depth: int
    shared: int = 1
    ops_per_output: int = 1

    def launch(self, parameters: OperatorParameters, number_format: str) -> Launch:
        """A work item per tile of the result, a step per ``tile_depth`` of the sum; ragged tiles are computed whole."""
        size = DTYPE_BYTES[number_format]
        right = ceil_div(self.count, self.shared) * self.columns
        return Launch(
            name=self.name,
            items=tuple((item, times * self.count) for item, times in run_lengths(self._items(parameters, size))),
            unique_load_bytes=(self.count * self.rows + right) * self.depth * size,
            shared_by=ceil_div(self.rows, parameters.tile_rows),
            matrix_format=number_format,
        )

    def _items(self, parameters: OperatorParameters, size: int) -> Iterator[WorkItem]:
        made: dict[tuple[int, int], WorkItem] = {}
        for columns in spans(0, self.columns, parameters.tile_columns):
            for rows in spans(0, self.rows, parameters.tile_rows):
                shape = (len(rows), len(columns))
                if shape not in made:
                    made[shape] = self._item(*shape, parameters, size)
                yield made[shape]

    def _item(self, rows: int, columns: int, parameters: OperatorParameters, size: int) -> WorkItem:
        issued = (min(parameters.tile_rows, self.rows), min(parameters.tile_columns, self.columns))
        steps = run_lengths(
            TileStep(load_bytes=len(part) * (rows + columns) * size, scores=(Matmul(*issued, len(part)),))
            for part in spans(0, self.depth, parameters.tile_depth)
        )
        return WorkItem(
            steps=steps,
            last_vector_ops=self.ops_per_output * issued[0] * issued[1],
            last_store_bytes=rows * columns * size,
        )


def softmax_launch(rows: int, columns: int, parameters: OperatorParameters, number_format: str) -> Launch:
    """Softmax of ``rows`` rows of ``columns`` elements, read from and written to the shared memory."""
    row_bytes = columns * DTYPE_BYTES[number_format]

    def item(part: int) -> WorkItem:
        elements = part * columns
        step = TileStep(
            load_bytes=parameters.softmax_reads * part * row_bytes,
            exps=elements,
            vector_ops=OPS_PER_SOFTMAX_INPUT * elements,
            store_bytes=part * row_bytes,
        )
        return WorkItem(((step, 1),))

    items = _of_even_size(rows, max(parameters.elementwise_bytes // row_bytes, 1), item)
    return Launch("softmax", items, unique_load_bytes=rows * row_bytes, matrix_format=number_format)


@dataclass(frozen=True)
class Elementwise:
    """A pass over ``elements``: so many of them read and written for each, with ``ops`` operations."""

    name: str
    elements: int
    reads: int = 1
    writes: int = 1
    ops: int = 1
    exps: int = 0

    def launch(self, parameters: OperatorParameters, number_format: str) -> Launch:
        """Work items of equal size."""
        size = DTYPE_BYTES[number_format]

        def item(part: int) -> WorkItem:
            step = TileStep(
                load_bytes=self.reads * part * size,
                exps=self.exps * part,
                vector_ops=self.ops * part,
                store_bytes=self.writes * part * size,
            )
            return WorkItem(((step, 1),))

        items = _of_even_size(self.elements, max(parameters.elementwise_bytes // size, 1), item)
        loaded = self.reads * self.elements * size
        return Launch(self.name, items, unique_load_bytes=loaded, matrix_format=number_format)


def _of_even_size(total: int, size: int, item: Callable[[int], WorkItem]) -> tuple[tuple[WorkItem, int], ...]:
    """Items of ``size``, and one for what is left."""
    whole, rest = divmod(total, size)
    return tuple((item(part), times) for part, times in ((size, whole), (rest, 1)) if part and times)
