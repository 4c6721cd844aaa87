"""The least time that a chip's published rates allow for a row, whatever the kernel: no measurement should beat it.

Useful FLOP at the matrix arrays' peak, and bytes that no order of work saves at the main memory's, less what the caches
can at most hold from the call before. Exponentials are left out: kernels that evaluate some of them by polynomials
(FlashAttention-4) are not bound by the units that do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from algorithms.chip.attention.serving import AttentionCall
from algorithms.workload.shape import DTYPE_BYTES
from hwmodels.chips.accelerator import Accelerator
from studies.validate.measured.rows.attention import AttentionRows
from studies.validate.measured.rows.prediction import GroupKey, UnsupportedRowError, predictor_of
from studies.validate.measured.rows.products import GemmRows
from studies.validate.measured.tables.table import MeasuredTable

US = 1e6


@dataclass(frozen=True)
class GroupBound:
    """How close rows of a group come to the bound.

    Parameters
    ----------
    key
        Of the group.
    rows
        Looked at.
    least_ratio
        Measured time over the bound, of the row where that is smallest.
    row
        That row, in words.
    """

    key: GroupKey
    rows: int
    least_ratio: float
    row: str


def group_bounds(table: MeasuredTable) -> Iterator[GroupBound]:
    """Every group of a table of attention or of products; others have no bound here."""
    keys, group = table.groups()
    for number, key in enumerate(keys):
        predictor = predictor_of(GroupKey(table.name, *key), table)
        if not isinstance(predictor, AttentionRows | GemmRows):
            continue
        best: tuple[float, str] | None = None
        rows = 0
        for row in map(int, np.flatnonzero(group == number)):
            try:
                least = least_us(predictor, row)
            except UnsupportedRowError:
                continue
            rows += 1
            ratio = float(table.time_us[row]) / least
            if best is None or ratio < best[0]:
                best = ratio, _words(table, row)
        if best is not None:
            yield GroupBound(GroupKey(table.name, *key), rows, *best)


def least_us(predictor: AttentionRows | GemmRows, row: int) -> float:
    """The bound of a row; raises UnsupportedRowError for what `predictor` does not know."""
    if isinstance(predictor, AttentionRows):
        call = predictor.call(row)
        return US * _attention_s(call, predictor.served_by(call).kernel.text.call.products, predictor.chip)
    product = predictor.product(row)
    gemm, _ = predictor.gemm(product, row)
    operand, _ = gemm.weights.runs_as(gemm.activations, predictor.chip)
    copies = predictor.copies(gemm)
    moved = max(gemm.weight_bytes - predictor.cache_bytes / copies, 0)  # all copies go by before one comes again
    memory_s = moved / predictor.chip.memory.bytes_per_second
    return US * max(gemm.flops / predictor.chip.peak_flops_per_second(operand), memory_s)


def _attention_s(call: AttentionCall, products: str, chip: Accelerator) -> float:
    work = call.workload
    own = call.cache_format if call.cache_format and products == "stored" else work.dtype
    pairs = work.batch * work.heads * _visible(call)
    flops = 2 * pairs * (work.head_dim + work.v_head_dim)
    seen = min(work.kv_len, call.window + work.q_len - 1) if call.window else work.kv_len
    loaded = call.cache_format or work.dtype
    cache = work.batch * work.kv_heads * seen * (work.head_dim + work.v_head_dim) * DTYPE_BYTES[loaded]
    held = sum(tier.capacity_bytes for tier in chip.caches)
    memory_s = max(cache - held, 0) / chip.memory.bytes_per_second
    return max(flops / chip.peak_flops_per_second(chip.core.matrix_format(own)), memory_s)


def _visible(call: AttentionCall) -> int:
    """Pairs of a query and a key that it sees, of one head of one sequence."""
    work, window = call.workload, call.window or call.workload.kv_len
    if work.mask != "causal":
        return work.q_len * work.kv_len
    first = work.kv_len - work.q_len
    last = np.arange(first + 1, work.kv_len + 1)
    return int(np.minimum(last, window).sum())


def _words(table: MeasuredTable, row: int) -> str:
    """What a row measured, without who."""
    numbers = [f"{name} {int(column[row])}" for name, column in table.numbers.items()]
    formats = [f"{name} {column[row]}" for name, column in table.words.items() if name.endswith("dtype")]
    return ", ".join([*numbers, *formats, f"{table.time_us[row]:g} us"])
