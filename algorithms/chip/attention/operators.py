"""Launches of single operators: matrix products, softmax of rows, elementwise passes, as unfused code runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from algorithms.chip.plan.parameters import bad_numbers
from algorithms.chip.plan.plan import Launch, Matmul, TileStep, WorkItem, run_lengths
from algorithms.rounding import ceil_div, spans
from algorithms.workload.levers import knob
from algorithms.workload.shape import DTYPE_BYTES
from hwmodels.reading.errors import InputError, Problem

EXPF_OPS = 7
"""Around the exponential of base 2 in CUDA's expf: four multiply-adds and an addition that reduce the range, a shift
and a multiplication that restore it (as NVRTC 13.5 compiles it for sm_80 and sm_90, without fast mathematics)."""
EXACT_DIVISION_OPS = 9
"""Operations of a division rounded to nearest beside a reciprocal: five multiply-adds, the check for operands out
of range, and three instructions around the branch to the slow path (compiled likewise)."""
MOST_SOFTMAX_READS = 3
"""Most reads of a row: for the maximum, for the sum, and for the result."""

OPERATOR_KNOBS = ("tile_rows", "tile_columns", "tile_depth", "softmax_reads", "elementwise_bytes", "softmax_rows")


@dataclass(frozen=True)
class OperatorParameters:
    """How single operators are cut into work items, and what their elements cost.

    Raises
    ------
    InputError
        For values out of range, all at once.
    """

    tile_rows: int = field(
        default=128, metadata=knob("rows of the result that a work item of a product computes", schedule=True)
    )
    tile_columns: int = field(default=128, metadata=knob("columns of the result that it computes", schedule=True))
    tile_depth: int = field(default=64, metadata=knob("elements of the sum that a step of it adds"))
    softmax_reads: int = field(
        default=1,
        metadata=knob("times a softmax reads rows that are too long to be kept (1 to 3)"),
    )
    kept_columns: int = field(default=0, metadata=knob("longest row that a softmax keeps, and reads once in any case"))
    softmax_rows: int = field(default=1 << 20, metadata=knob("most rows in a work item of a softmax"))
    elementwise_bytes: int = field(
        default=64 * 1024, metadata=knob("input of a work item of softmax and elementwise passes", "B")
    )
    exact_math: bool = field(
        default=False,
        metadata=knob("softmax with exponentials and divisions as exact as float32 allows"),
    )
    integer_ops: int = field(
        default=0, metadata=knob("vector operations for an integer operation of an address; 0: addresses cost nothing")
    )
    sector_bytes: int = field(default=0, metadata=knob("least that a read of a single element moves", "B"))

    def __post_init__(self) -> None:
        problems = bad_numbers(self, dict.fromkeys(OPERATOR_KNOBS, 1))
        if self.softmax_reads > MOST_SOFTMAX_READS:
            problems.append(
                Problem(f"must be at most {MOST_SOFTMAX_READS} (got {self.softmax_reads})", field="softmax_reads")
            )
        if problems:
            raise InputError(problems)

    @property
    def exp_ops(self) -> int:
        """Vector operations beside the exp unit's, per exponential."""
        return EXPF_OPS if self.exact_math else 0

    @property
    def division_ops(self) -> int:
        """Vector operations per division of a softmax."""
        return EXACT_DIVISION_OPS if self.exact_math else 1

    @property
    def division_lookups(self) -> int:
        """Operations of the exp unit per division of a softmax; it also approximates reciprocals."""
        return 1 if self.exact_math else 0


@dataclass(frozen=True)
class Product:
    """A batch of products of ``rows x depth`` by ``depth x columns``.

    Parameters
    ----------
    name
        Name of the launch.
    count
        Number of products.
    rows, columns, depth
        Sizes of each product.
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
    """Softmax of ``rows`` rows of ``columns`` elements, read from and written to the shared memory.

    A row that a core keeps is read once. Of others there is a pass for the maximum (or for both sums, if there are only
    two passes), one for the sum and one for the result, one after the other, each of which reads the row again and
    evaluates its exponentials anew, as PyTorch's cunn_SoftMaxForward does.
    """
    size = DTYPE_BYTES[number_format]
    reads = 1 if columns <= parameters.kept_columns else parameters.softmax_reads
    convert = compare = subtract = add = 1
    exponential = subtract + parameters.exp_ops
    quotient = parameters.division_ops + convert
    lookups = parameters.division_lookups
    passes = {
        1: ((1 + lookups, convert + compare + exponential + add + quotient),),
        2: ((1, convert + compare + exponential + add), (1 + lookups, convert + exponential + quotient)),
        3: (
            (0, convert + compare),
            (1, convert + exponential + add),
            (1 + lookups, convert + exponential + quotient),
        ),
    }[reads]
    return _rows_launch("softmax", rows, columns, size, parameters, [(1, *each) for each in passes], number_format)


def softmax_backward_launch(rows: int, columns: int, parameters: OperatorParameters, number_format: str) -> Launch:
    """Gradient of a softmax of rows: `g - y sum(g)`, with `g` the product of the result `y` and its gradient.

    Reads `g` and `y` and writes the result; rows that a core does not keep are passed over once more, for the sum.
    """
    size = DTYPE_BYTES[number_format]
    add = multiply_subtract = 1
    convert_both, convert_result = 2, 1
    if columns <= parameters.kept_columns or parameters.softmax_reads == 1:
        passes = [(2, 0, convert_both + add + multiply_subtract + convert_result)]
    else:
        passes = [(1, 0, 1 + add), (2, 0, convert_both + multiply_subtract + convert_result)]
    return _rows_launch("softmax_backward", rows, columns, size, parameters, passes, number_format)


def _rows_launch(
    name: str,
    rows: int,
    columns: int,
    size: int,
    parameters: OperatorParameters,
    passes: Sequence[tuple[int, int, int]],
    number_format: str,
) -> Launch:
    """Passes over rows, each of which depends on the one before; the last one writes.

    ``passes`` give reads, operations of the exp unit and of the vector lanes per element.
    """
    row_bytes = columns * size

    def item(part: int) -> WorkItem:
        elements = part * columns
        steps = [
            TileStep(load_bytes=reads * part * row_bytes, exps=exps * elements, vector_ops=ops * elements)
            for reads, exps, ops in passes
        ]
        steps[-1] = replace(steps[-1], store_bytes=part * row_bytes)
        return WorkItem(tuple((step, 1) for step in steps))

    together = min(max(parameters.elementwise_bytes // max(row_bytes, 1), 1), parameters.softmax_rows)
    unique = max(reads for reads, _, _ in passes) * rows * row_bytes
    return Launch(name, _of_even_size(rows, together, item), unique_load_bytes=unique, matrix_format=number_format)


def strided_ops(dimensions: int, operands: int) -> int:
    """Integer operations per element of an elementwise pass whose operands do not lie alike.

    PyTorch's TensorIterator turns a running number into an offset of each operand, dimension by dimension: a
    multiplication, a negation, a shift and another multiplication for quotient and rest, a comparison, a jump and a
    move, and a multiply-add per operand (ATen/cuda/detail/OffsetCalculator.cuh and IntegerDivider.cuh, as NVRTC 13.5
    compiles them for sm_80). To these come a check of the range, what the offsets begin with, the next number, and
    two additions per operand for its address.
    """
    per_dimension, around = 7, 7
    return around + 2 * operands + dimensions * (per_dimension + operands)


@dataclass(frozen=True)
class Elementwise:
    """A pass over ``elements``: so many of them read and written for each, with ``ops`` operations.

    Parameters
    ----------
    name
        Name of the launch.
    elements
        Number of elements of the result.
    reads, writes
        Elements read and written for each.
    ops, exps
        Operations of the vector lanes and exponentials for each.
    integer_ops
        Operations for each on addresses.
    scattered
        Number of reads whose neighbours in time do not lie side by side: each moves a sector.
    distinct
        Elements that are read, each counted once, where some are read for several elements; None: all are distinct.
    """

    name: str
    elements: int
    reads: int = 1
    writes: int = 1
    ops: int = 1
    exps: int = 0
    integer_ops: int = 0
    scattered: int = 0
    distinct: int | None = None

    def launch(self, parameters: OperatorParameters, number_format: str) -> Launch:
        """Work items of equal size."""
        size = DTYPE_BYTES[number_format]
        sector = max(size, parameters.sector_bytes)
        read_bytes = (self.reads - self.scattered) * size + self.scattered * sector
        ops = self.ops + self.integer_ops * parameters.integer_ops

        def item(part: int) -> WorkItem:
            step = TileStep(
                load_bytes=read_bytes * part,
                exps=self.exps * part,
                vector_ops=ops * part,
                store_bytes=self.writes * part * size,
            )
            return WorkItem(((step, 1),))

        items = _of_even_size(self.elements, max(parameters.elementwise_bytes // size, 1), item)
        distinct = self.reads * self.elements if self.distinct is None else self.distinct
        return Launch(self.name, items, unique_load_bytes=distinct * size, matrix_format=number_format)


def _of_even_size(total: int, size: int, item: Callable[[int], WorkItem]) -> tuple[tuple[WorkItem, int], ...]:
    """Items of ``size``, and one for what is left."""
    whole, rest = divmod(total, size)
    return tuple((item(part), times) for part, times in ((size, whole), (rest, 1)) if part and times)
