"""Attention on a GPU by this package's own CUDA kernels: checked arguments in, a prepared call out.

A ``plan_*`` function validates shapes, picks the kernel, allocates outputs and workspace and returns a
`Call`. Running the call launches kernels and nothing else, so it can be timed or captured into a CUDA
graph. Arguments mean the same as in `reference.truth.oracle` and `reference.with_torch.torch_ref`.

Arrays are C-contiguous and on the device: float32, float16, or uint16 holding the bits of bfloat16. Lengths
and tables are host arrays, so that they can be checked before a kernel trusts them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from reference.cuda import kernel_sources as sources
from reference.cuda.arguments import Keys, Masking, common_format, head_keys, latent_keys, require_rank
from reference.cuda.kernel_sources import Kernel
from reference.cuda.launch import NULL, Argument, Device, DeviceArray

ROWS_PER_BLOCK = 4
"""Warps per block of the kernels that give one warp to a row."""


@dataclass(frozen=True)
class Launch:
    """One kernel with its grid and arguments."""

    kernel: Kernel
    grid: tuple[int, int, int]
    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class Call:
    """Prepared launches and the arrays they write.

    Attributes
    ----------
    outputs
        For attention `out` `(batch, heads, q_len, v_dim)` in the format of q, and `lse` `(batch, heads,
        q_len)` in float32, natural logarithm.
    """

    device: Device
    launches: tuple[Launch, ...]
    outputs: tuple[DeviceArray, ...]

    def run(self) -> tuple[DeviceArray, ...]:
        """Launch everything on the current stream; outputs are overwritten by every run."""
        for launch in self.launches:
            self.device.launch(launch.kernel, launch.grid, launch.arguments)
        return self.outputs

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels in launch order."""
        return tuple(launch.kernel for launch in self.launches)


def plan_prefill(
    device: Device,
    q: DeviceArray,
    k: DeviceArray,
    v: DeviceArray,
    *,
    mask: str = "full",
    scale: float | None = None,
    window: int | None = None,
    sinks: int = 0,
    lengths: ArrayLike | None = None,
) -> Call:
    """Attention of many queries per sequence: matrix units for 16-bit formats, else ordinary arithmetic.

    Parameters
    ----------
    device
        Where the arrays are.
    q
        `(batch, heads, q_len, d)`.
    k, v
        `(batch, kv_heads, kv_len, d)` and `(batch, kv_heads, kv_len, d_v)`.
    mask
        ``"full"`` or ``"causal"``, aligned to the last key of each sequence.
    scale
        Positive factor on the scores; `1/sqrt(d)` when None.
    window, sinks
        See `reference.truth.oracle.attention`.
    lengths
        Keys in use, `(batch,)` or `(batch, kv_heads)`; rows beyond them are never read. All of them when
        None.

    Raises
    ------
    ValueError
        Shapes, formats or options that do not fit, in one sentence.
    """
    dtype = common_format(q, k, v)
    batch, heads, q_len, head_dim = require_rank(q, "q", 4)
    keys = head_keys(device, k, v, batch, heads, head_dim, lengths, None, 1)
    if keys.pooled:
        raise ValueError("prefill takes keys of (batch, kv_heads, kv_len, d), not a pool")
    v_dim = v.shape[-1]
    masking = Masking.checked(mask, scale, window, sinks, head_dim)
    kernel = _prefill_kernel(dtype, head_dim, v_dim)
    if kernel is None:
        return plan_rows(device, q, k, v, mask=mask, scale=scale, window=window, sinks=sinks, lengths=lengths, splits=1)
    out, lse = _outputs(device, q, v_dim)
    arguments = (q, k, v, out, lse, keys.lengths, *_ints(heads, keys.kv_heads, q_len, keys.capacity))
    tail = (*_ints(masking.causal, masking.window, masking.sinks), np.float32(masking.scale_log2))
    grid = (-(-q_len // 64), heads, batch)
    return Call(device, (Launch(kernel, grid, (*arguments, *tail)),), (out, lse))


def plan_decode(
    device: Device,
    q: DeviceArray,
    k: DeviceArray,
    v: DeviceArray,
    *,
    mask: str = "causal",
    scale: float | None = None,
    window: int | None = None,
    sinks: int = 0,
    lengths: ArrayLike | None = None,
    table: ArrayLike | None = None,
    block_rows: int = 1,
    splits: int | None = None,
) -> Call:
    """Attention of one or a few new tokens against a long cache, its keys split over blocks.

    Parameters
    ----------
    q
        `(batch, heads, q_len, d)`.
    k, v
        `(batch, kv_heads, rows, d)` and the same with `d_v`; or a pool `(kv_heads, rows, d)` shared by all
        sequences.
    table
        Blocks that hold the keys in order: entry e covers keys `[e * block_rows, (e + 1) * block_rows)`,
        which lie in rows `[table[e] * block_rows, ...)`. `(batch, entries)` or `(batch, kv_heads,
        entries)`: a page table, or the list of kept keys when `block_rows` is 1. Keys are rows when None.
    block_rows
        Rows per block of the table.
    lengths
        Keys in use, `(batch,)` or `(batch, kv_heads)`; what a table or the rows hold when None.
    splits
        Blocks per sequence and KV head; chosen to fill the device when None.
    device, mask, scale, window, sinks
        As in `plan_prefill`.

    Raises
    ------
    ValueError
        Shapes, formats, tables or options that do not fit, in one sentence.
    """
    dtype = common_format(q, k, v)
    batch, heads, q_len, head_dim = require_rank(q, "q", 4)
    v_dim = v.shape[-1]
    if dtype not in sources.MATRIX_DTYPES or head_dim % 16 or v_dim % 16 or max(head_dim, v_dim) > 256:
        return plan_rows(
            device,
            q,
            k,
            v,
            mask=mask,
            scale=scale,
            window=window,
            sinks=sinks,
            lengths=lengths,
            table=table,
            block_rows=block_rows,
            splits=splits,
        )
    keys = head_keys(device, k, v, batch, heads, head_dim, lengths, table, block_rows)
    masking = Masking.checked(mask, scale, window, sinks, head_dim)
    kernel = sources.decode_kernel(dtype, head_dim, v_dim)
    row_tiles = -(-(heads // keys.kv_heads * q_len) // 16)
    seen = keys.longest if not window else min(keys.longest, sinks + window + q_len)
    splits = choose_splits(splits, batch * keys.kv_heads * row_tiles, -(-seen // 64), 2 * device.multiprocessors)
    parts = _SplitOutputs.allocate(device, q, v_dim, splits)
    arguments = (
        *(q, k, v, *parts.arguments, keys.lengths, keys.table),
        *_ints(keys.table_entries, keys.block_rows, heads, keys.kv_heads, q_len, keys.capacity, keys.pooled),
        *_ints(masking.causal, masking.window, masking.sinks, splits),
        np.float32(masking.scale_log2),
    )
    first = Launch(kernel, (splits, keys.kv_heads * row_tiles, batch), arguments)
    return Call(device, (first, *parts.merge(dtype)), (parts.out, parts.lse))


def plan_mla_decode(
    device: Device,
    q: DeviceArray,
    latent: DeviceArray,
    *,
    v_dim: int,
    mask: str = "causal",
    scale: float | None = None,
    lengths: ArrayLike | None = None,
    table: ArrayLike | None = None,
    block_rows: int = 1,
    splits: int | None = None,
) -> Call:
    """Absorbed multi-head latent attention: every head attends to the same latent rows.

    Parameters
    ----------
    q
        `(batch, heads, q_len, d)`: queries times the key up-projection, beside their rotary part.
    latent
        `(batch, rows, d)`, or a pool `(rows, d)`: the KV latent beside the rotary key. Its first `v_dim`
        columns are the values.
    scale
        Positive factor on the scores. It belongs to the width of the *expanded* heads; `1/sqrt(d)` when None.
    device, v_dim, mask, lengths, table, block_rows, splits
        As in `plan_decode`; lengths and table without a head axis.

    Raises
    ------
    ValueError
        Shapes, formats, tables or options that do not fit, in one sentence.
    """
    dtype = common_format(q, latent)
    batch, heads, q_len, head_dim = require_rank(q, "q", 4)
    if not 0 < v_dim <= head_dim:
        raise ValueError(f"v_dim must lie between 1 and {head_dim} (got {v_dim})")
    keys = latent_keys(device, latent, batch, head_dim, lengths, table, block_rows)
    masking = Masking.checked(mask, scale, None, 0, head_dim)
    if dtype not in sources.MATRIX_DTYPES or head_dim % 16 or v_dim % 32 or head_dim > 576 or v_dim > 512:
        return _plan_rows(device, q, latent, latent, keys, masking, (dtype, v_dim, head_dim, head_dim), splits)
    kernel = sources.mla_kernel(dtype, head_dim, v_dim)
    row_tiles = -(-heads * q_len // 64)
    splits = choose_splits(splits, batch * row_tiles, -(-keys.longest // 32), device.multiprocessors)
    parts = _SplitOutputs.allocate(device, q, v_dim, splits)
    arguments = (
        *(q, latent, *parts.arguments, keys.lengths, keys.table),
        *_ints(
            keys.table_entries,
            keys.block_rows,
            heads,
            q_len,
            keys.capacity,
            keys.pooled,
            masking.causal,
            splits,
        ),
        np.float32(masking.scale_log2),
    )
    first = Launch(kernel, (splits, row_tiles, batch), arguments)
    return Call(device, (first, *parts.merge(dtype)), (parts.out, parts.lse))


def plan_rows(
    device: Device,
    q: DeviceArray,
    k: DeviceArray,
    v: DeviceArray,
    *,
    mask: str = "full",
    scale: float | None = None,
    window: int | None = None,
    sinks: int = 0,
    lengths: ArrayLike | None = None,
    table: ArrayLike | None = None,
    block_rows: int = 1,
    splits: int | None = None,
) -> Call:
    """Attention by the didactic kernel, one warp per query row: every format, head size, mask and table.

    Arguments are those of `plan_decode`.
    """
    dtype = common_format(q, k, v)
    batch, heads, _, head_dim = require_rank(q, "q", 4)
    keys = head_keys(device, k, v, batch, heads, head_dim, lengths, table, block_rows)
    masking = Masking.checked(mask, scale, window, sinks, head_dim)
    return _plan_rows(device, q, k, v, keys, masking, (dtype, v.shape[-1], k.shape[-1], v.shape[-1]), splits)


def plan_column_sums(
    device: Device,
    q: DeviceArray,
    k: DeviceArray,
    lse: DeviceArray,
    *,
    mask: str = "full",
    scale: float | None = None,
    window: int | None = None,
    sinks: int = 0,
    lengths: ArrayLike | None = None,
) -> Call:
    """Probability each key received, summed over queries: `(batch, heads, kv_len)` in float32.

    Needs the log-sum-exp of an attention pass with the same arguments. Keys beyond a length get 0.
    """
    dtype = common_format(q, k)
    batch, heads, q_len, head_dim = require_rank(q, "q", 4)
    keys = head_keys(device, k, k, batch, heads, head_dim, lengths, None, 1)
    if keys.pooled:
        raise ValueError("column sums take keys of (batch, kv_heads, kv_len, d), not a pool")
    if lse.shape != (batch, heads, q_len) or lse.dtype != np.float32:
        raise ValueError(f"lse must be float32 {(batch, heads, q_len)} (got {lse.dtype} {lse.shape})")
    masking = Masking.checked(mask, scale, window, sinks, head_dim)
    kernel = sources.column_sum_kernel(dtype, head_dim)
    sums = device.empty((batch, heads, keys.capacity), np.float32)
    sizes = (heads, keys.kv_heads, q_len, keys.capacity, masking.causal, masking.window, masking.sinks)
    tail = (np.float32(masking.scale_log2),)
    if kernel.entry == "column_sum_tiled":
        grid = (-(-keys.capacity // 64), heads, batch)
        arguments = (q, k, lse, sums, keys.lengths, *_ints(*sizes), *tail)
    else:
        grid = (-(-batch * heads * keys.capacity // ROWS_PER_BLOCK), 1, 1)
        arguments = (q, k, lse, sums, keys.lengths, *_ints(batch, *sizes), *tail)
    return Call(device, (Launch(kernel, grid, arguments),), (sums,))


def plan_softmax(device: Device, scores: DeviceArray) -> Call:
    """Softmax along the last axis of `(rows, columns)`; a row of `-inf` gives zeros."""
    rows, columns = require_rank(scores, "scores", 2)
    out = device.empty((rows, columns), scores.dtype)
    kernel = sources.softmax_kernel(common_format(scores))
    return Call(device, (Launch(kernel, (rows, 1, 1), (scores, out, *_ints(columns))),), (out,))


def choose_splits(asked: int | None, blocks: int, tiles: int, slots: int) -> int:
    """Number of splits: the one asked for, or the fewest that fill the device nearly as well as possible.

    `blocks` blocks times the splits run in waves of `slots`; a last wave that is mostly empty wastes time,
    more splits cost joining. As in Flash-Decoding, the smallest number within 15 % of the best filling is
    taken.

    Raises
    ------
    ValueError
        Fewer than one split asked for.
    """
    if asked is not None:
        if asked < 1:
            raise ValueError(f"splits must be at least 1 (got {asked})")
        return asked
    candidates = range(1, max(1, min(tiles, 128)) + 1)
    filling = [blocks * n / (-(-blocks * n // slots) * slots) if blocks else 1.0 for n in candidates]
    return next(n for n, fill in zip(candidates, filling, strict=True) if fill >= 0.85 * max(filling))


@dataclass(frozen=True)
class _SplitOutputs:
    """Outputs, and the workspace of partial results when there are several splits."""

    device: Device
    out: DeviceArray
    lse: DeviceArray
    split_out: Argument
    split_lse: Argument
    splits: int

    @classmethod
    def allocate(cls, device: Device, q: DeviceArray, v_dim: int, splits: int) -> _SplitOutputs:
        out, lse = _outputs(device, q, v_dim)
        if splits == 1:
            return cls(device, out, lse, NULL, NULL, splits)
        partial = device.empty((splits, *q.shape[:-1], v_dim), np.float32)
        return cls(device, out, lse, partial, device.empty((splits, *q.shape[:-1]), np.float32), splits)

    @property
    def arguments(self) -> tuple[Argument, ...]:
        return (self.out, self.lse, self.split_out, self.split_lse)

    def merge(self, dtype: str) -> tuple[Launch, ...]:
        """The launch that joins the splits; none for a single one."""
        if self.splits == 1:
            return ()
        rows = math.prod(self.lse.shape)
        arguments = (self.split_out, self.split_lse, self.out, self.lse, *_ints(rows, self.splits))
        kernel = sources.merge_kernel(dtype, self.out.shape[-1])
        return (Launch(kernel, (-(-rows // ROWS_PER_BLOCK), 1, 1), arguments),)


def _plan_rows(
    device: Device,
    q: DeviceArray,
    k: DeviceArray,
    v: DeviceArray,
    keys: Keys,
    masking: Masking,
    widths: tuple[str, int, int, int],
    splits: int | None,
) -> Call:
    """Row kernel over checked arguments; `widths`: format, value width, strides of key and value rows."""
    dtype, v_dim, k_stride, v_stride = widths
    batch, heads, q_len, head_dim = q.shape
    rows = batch * heads * q_len
    slots = 4 * ROWS_PER_BLOCK * device.multiprocessors
    splits = choose_splits(splits, rows, -(-keys.longest // 64), slots)
    parts = _SplitOutputs.allocate(device, q, v_dim, splits)
    arguments = (
        *(q, k, v, *parts.arguments, keys.lengths, keys.table),
        *_ints(
            keys.table_entries,
            keys.block_rows,
            batch,
            heads,
            keys.kv_heads,
            q_len,
            keys.capacity,
            keys.pooled,
        ),
        *_ints(k_stride, v_stride, masking.causal, masking.window, masking.sinks, splits),
        np.float32(masking.scale_log2),
    )
    kernel = sources.row_kernel(dtype, head_dim, v_dim)
    first = Launch(kernel, (-(-rows * splits // ROWS_PER_BLOCK), 1, 1), arguments)
    return Call(device, (first, *parts.merge(dtype)), (parts.out, parts.lse))


def _prefill_kernel(dtype: str, head_dim: int, v_dim: int) -> Kernel | None:
    """The tile kernel that fits, or None when only the row kernel does."""
    if head_dim % 16 or v_dim % 16 or max(head_dim, v_dim) > 256:
        return None
    if dtype in sources.MATRIX_DTYPES:
        return sources.prefill_kernel(dtype, head_dim, v_dim)
    kernel = sources.tiled_kernel(dtype, head_dim, v_dim)
    return kernel if kernel.shared_bytes <= min(sources.SHARED_BYTES_LIMIT.values()) else None


def _outputs(device: Device, q: DeviceArray, v_dim: int) -> tuple[DeviceArray, DeviceArray]:
    return device.empty((*q.shape[:-1], v_dim), q.dtype), device.empty(q.shape[:-1], np.float32)


def _ints(*values: int) -> Sequence[Argument]:
    return [np.int32(value) for value in values]
