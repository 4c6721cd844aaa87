"""Arguments that launchers check before a kernel trusts them: formats, masks, and the layout of keys and values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reference.cuda.launch import NULL, Argument, Device, DeviceArray

LOG2_E = math.log2(math.e)

_FORMATS = {"float32": "float32", "float16": "float16", "uint16": "bfloat16"}


@dataclass(frozen=True)
class Masking:
    """Mask arguments as the kernels take them."""

    causal: int
    window: int
    sinks: int
    scale_log2: float

    @classmethod
    def checked(cls, mask: str, scale: float | None, window: int | None, sinks: int, head_dim: int) -> Masking:
        if mask not in ("full", "causal"):
            raise ValueError(f"the CUDA kernels take mask 'full' or 'causal' (got {mask!r})")
        if window is not None and window < 1:
            raise ValueError(f"window must be at least 1 (got {window})")
        if sinks < 0:
            raise ValueError(f"sinks must not be negative (got {sinks})")
        factor = 1.0 / math.sqrt(head_dim) if scale is None else scale
        if not factor > 0 or math.isinf(factor):
            raise ValueError(f"scale must be positive and finite (got {scale})")
        return cls(int(mask == "causal"), window or 0, sinks, factor * LOG2_E)


@dataclass(frozen=True)
class Keys:
    """The KV side of a launch: sizes, and lengths and table on the device or null."""

    kv_heads: int
    capacity: int
    pooled: int
    lengths: Argument
    table: Argument
    table_entries: int
    block_rows: int
    longest: int


def head_keys(
    device: Device,
    k: DeviceArray,
    v: DeviceArray,
    batch: int,
    heads: int,
    head_dim: int,
    lengths: ArrayLike | None,
    table: ArrayLike | None,
    block_rows: int,
) -> Keys:
    """Check k and v of a batch, or a pool, and describe them."""
    pooled = len(k.shape) == 3
    kv_shape = k.shape if pooled else require_rank(k, "k", 4)[1:]
    if v.shape[:-1] != k.shape[:-1]:
        raise ValueError(f"k and v differ in {'(kv_heads, rows)' if pooled else 'shape'}: {k.shape} and {v.shape}")
    if not pooled and k.shape[0] != batch:
        raise ValueError(f"q and k differ in batch: {batch} and {k.shape[0]}")
    kv_heads, capacity, k_dim = kv_shape
    if k_dim != head_dim:
        raise ValueError(f"q and k differ in head dimension: {head_dim} and {k_dim}")
    if kv_heads < 1 or heads % kv_heads:
        raise ValueError(f"{heads} query heads cannot be grouped over {kv_heads} KV heads")
    return _described(device, (batch, kv_heads), capacity, pooled, lengths, table, block_rows)


def latent_keys(
    device: Device,
    latent: DeviceArray,
    batch: int,
    head_dim: int,
    lengths: ArrayLike | None,
    table: ArrayLike | None,
    block_rows: int,
) -> Keys:
    """Check latent rows of a batch, or a pool of them, and describe them as one KV head."""
    pooled = len(latent.shape) == 2
    if not pooled and require_rank(latent, "latent", 3)[0] != batch:
        raise ValueError(f"q and latent differ in batch: {batch} and {latent.shape[0]}")
    if latent.shape[-1] != head_dim:
        raise ValueError(f"q and latent differ in width: {head_dim} and {latent.shape[-1]}")
    return _described(device, (batch, 1), latent.shape[-2], pooled, lengths, table, block_rows)


def _described(
    device: Device,
    batch_heads: tuple[int, int],
    capacity: int,
    pooled: bool,
    lengths: ArrayLike | None,
    table: ArrayLike | None,
    block_rows: int,
) -> Keys:
    """Lengths and table on the device, after a check that no kernel can read beyond the rows."""
    if block_rows < 1:
        raise ValueError(f"block_rows must be at least 1 (got {block_rows})")
    if pooled and table is None:
        raise ValueError("a pool of keys needs a table")
    reachable, entries = capacity, 0
    blocks: NDArray[np.int32] | None = None
    if table is not None:
        blocks = _per_head(table, batch_heads, "table", axes=1)
        entries = blocks.shape[-1]
        reachable = entries * block_rows
    used = np.full(batch_heads, reachable, dtype=np.int32)
    if lengths is not None:
        used = _per_head(lengths, batch_heads, "lengths", axes=0)
        if used.size and (used.min() < 0 or used.max() > reachable):
            raise ValueError(f"lengths must lie between 0 and {reachable} (got {used.min()} to {used.max()})")
    if blocks is not None:
        _check_table(blocks, used, capacity // block_rows, block_rows)
    all_used = lengths is None and table is None
    return Keys(
        kv_heads=batch_heads[1],
        capacity=capacity,
        pooled=int(pooled),
        lengths=NULL if all_used else device.array(used),
        table=NULL if blocks is None else device.array(blocks),
        table_entries=entries,
        block_rows=block_rows,
        longest=int(used.max(initial=0)),
    )


def _check_table(blocks: NDArray[np.int32], used: NDArray[np.int32], available: int, block_rows: int) -> None:
    """Entries that the lengths make use of must name blocks that exist; others are never read."""
    needed = np.arange(blocks.shape[-1]) * block_rows < used[..., None]
    wrong = needed & ((blocks < 0) | (blocks >= available))
    if np.any(wrong):
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(f"table entry {place} is {blocks[place]}, outside the {available} blocks there are")


def _per_head(values: ArrayLike, batch_heads: tuple[int, int], name: str, axes: int) -> NDArray[np.int32]:
    """int32 of `(batch, kv_heads, ...)` from that or from `(batch, ...)`."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be whole numbers (got {array.dtype})")
    if array.ndim == 1 + axes:
        array = np.repeat(array[:, None], batch_heads[1], axis=1)
    if array.ndim != 2 + axes or array.shape[:2] != batch_heads:
        raise ValueError(f"{name} must be per (batch, kv_heads) = {batch_heads} or per batch (got {np.shape(values)})")
    return np.ascontiguousarray(array, dtype=np.int32)


def common_format(*arrays: DeviceArray) -> str:
    """Number format of all arrays.

    Raises
    ------
    ValueError
        A type the kernels do not take, a mixture, or an array with gaps.
    """
    if not all(array.flags.c_contiguous for array in arrays):
        raise ValueError("arrays must be C-contiguous")
    names = {str(array.dtype) for array in arrays}
    if len(names) != 1 or not names <= set(_FORMATS):
        known = "float32, float16 or uint16 (bfloat16 bits)"
        raise ValueError(f"arrays must all be {known}; got {', '.join(sorted(names))}")
    return _FORMATS[names.pop()]


def require_rank(array: DeviceArray, name: str, rank: int) -> tuple[int, ...]:
    if len(array.shape) != rank:
        raise ValueError(f"{name} must have {rank} axes (got {array.shape})")
    return array.shape
