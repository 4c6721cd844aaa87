"""The CUDA sources of this package as compilable units: one text, its defines and its launch geometry.

Kernels are specialised by preprocessor defines, so that the same unit serves CuPy, the compile check
without a GPU and the host build of the tests. Tile sizes are chosen here and nowhere else.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reference.truth.dtypes import DTYPE_BYTES

KERNEL_FOLDER = Path(__file__).parent / "kernels"

ELEMENT_TYPES = {"float32": "float", "float16": "float16_t", "bfloat16": "bfloat16_t"}
"""Type name in the CUDA sources by number format."""

MATRIX_DTYPES = ("float16", "bfloat16")
"""Formats the matrix-unit kernels take."""

ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
"""Targets every kernel must compile for: A100, H100 and H200, B200."""

SHARED_BYTES_LIMIT = {"sm_80": 163 * 1024, "sm_90": 227 * 1024, "sm_100": 227 * 1024}
"""Largest dynamic shared memory of one block (CUDA C++ Programming Guide, table of compute capabilities)."""

_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"\n', re.MULTILINE)
_PAD_BYTES = 16
_TEAM = 4


@dataclass(frozen=True)
class Kernel:
    """One kernel specialised by defines.

    Parameters
    ----------
    file
        Name in the folder of CUDA sources.
    entry
        Name of the ``extern "C"`` function.
    defines
        Preprocessor names and values, in order.
    block_threads
        Threads per block of every launch.
    shared_bytes
        Dynamic shared memory of every launch.
    """

    file: str
    entry: str
    defines: tuple[tuple[str, str], ...] = ()
    block_threads: int = 256
    shared_bytes: int = 0

    def __str__(self) -> str:
        values = ",".join(f"{name}={value}" for name, value in self.defines)
        return f"{self.entry}[{values}]"

    @property
    def text(self) -> str:
        """The source with its includes inlined."""
        return source_text(self.file)

    def text_without(self, header: str) -> str:
        """The source with every include inlined but `header`, for which the host build has its own."""
        return source_text(self.file, left_out=header)

    @property
    def options(self) -> tuple[str, ...]:
        """Compiler options, the same for NVRTC and CuPy."""
        return ("-std=c++17", *(f"-D{name}={value}" for name, value in self.defines))

    @property
    def sha256(self) -> str:
        """Hash of text and options: the identity of a measured kernel."""
        return hashlib.sha256("\n".join((*self.options, self.text)).encode()).hexdigest()


@cache
def source_text(file: str, left_out: str = "") -> str:
    """A source file with every include of this folder but `left_out` replaced by its text, each once."""
    seen: set[str] = set()

    def expand(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        text = (KERNEL_FOLDER / name).read_text(encoding="utf-8").replace("#pragma once\n", "")
        return _INCLUDE.sub(lambda match: match[0] if match[1] == left_out else expand(match[1]), text)

    return expand(file)


def sources_sha256() -> str:
    """Hash of all CUDA sources of this package: which state of them a measurement used."""
    digest = hashlib.sha256()
    for path in sorted(KERNEL_FOLDER.glob("*.cu*")):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def row_kernel(dtype: str, head_dim: int, v_dim: int) -> Kernel:
    """One warp per query row; any head size."""
    return Kernel("row.cu", "row_attention", _shape(dtype, head_dim, v_dim), block_threads=128)


def merge_kernel(dtype: str, v_dim: int) -> Kernel:
    """Join of split results, one warp per row."""
    return Kernel(
        "merge.cu",
        "merge_splits",
        (("ELEMENT", ELEMENT_TYPES[dtype]), ("V_DIM", str(v_dim))),
        block_threads=128,
    )


def tiled_kernel(dtype: str, head_dim: int, v_dim: int) -> Kernel:
    """Prefill on ordinary arithmetic: 64 queries against tiles of 32 keys."""
    tile_q, tile_k = 64, 32
    size = DTYPE_BYTES[dtype]
    rows = _tile_bytes(tile_q, head_dim, size) + 2 * (
        _tile_bytes(tile_k, head_dim, size) + _tile_bytes(tile_k, v_dim, size)
    )
    return Kernel(
        "tiled.cu",
        "tiled_attention",
        (*_shape(dtype, head_dim, v_dim), ("TILE_Q", str(tile_q)), ("TILE_K", str(tile_k))),
        block_threads=_TEAM * tile_q,
        shared_bytes=rows + 4 * tile_q * (tile_k + 1),
    )


def prefill_kernel(dtype: str, head_dim: int, v_dim: int) -> Kernel:
    """Prefill on matrix units: 64 queries against tiles of 64 keys, 16 where registers are short.

    `blocks` per multiprocessor is the most that compiles without spills (the compile check sees to it).
    """
    warps = 4
    width = head_dim + v_dim
    tile_k, blocks = (64, 3) if width <= 128 else (64, 2) if width <= 320 else (16, 1)
    stage = _tile_bytes(tile_k, head_dim, 2) + _tile_bytes(tile_k, v_dim, 2)
    tiles = (("WARPS", str(warps)), ("TILE_K", str(tile_k)), ("BLOCKS", str(blocks)))
    return Kernel(
        "prefill.cu",
        "prefill_attention",
        (*_shape(dtype, head_dim, v_dim), *tiles),
        block_threads=32 * warps,
        shared_bytes=max(2 * stage, _tile_bytes(16 * warps, head_dim, 2)),
    )


def decode_kernel(dtype: str, head_dim: int, v_dim: int) -> Kernel:
    """Split-KV decoding on matrix units: 16 packed query rows, tiles of 64 keys, two or three under way."""
    warps = 4
    stages = 2 if head_dim + v_dim > 320 else 3
    stage = _tile_bytes(16 * warps, head_dim, 2) + _tile_bytes(16 * warps, v_dim, 2)
    joined = 4 * warps * 16 * (v_dim + 2)
    return Kernel(
        "decode.cu",
        "decode_attention",
        (*_shape(dtype, head_dim, v_dim), ("WARPS", str(warps)), ("STAGES", str(stages))),
        block_threads=32 * warps,
        shared_bytes=max(_tile_bytes(16, head_dim, 2) + stages * stage, joined),
    )


def mla_kernel(dtype: str, head_dim: int, v_dim: int) -> Kernel:
    """Absorbed latent attention on matrix units: 64 rows, tiles of 32 latent rows."""
    tile_k = 32
    return Kernel(
        "mla.cu",
        "mla_attention",
        (*_shape(dtype, head_dim, v_dim), ("TILE_K", str(tile_k))),
        block_threads=256,
        shared_bytes=_tile_bytes(64, head_dim, 2) + 2 * _tile_bytes(tile_k, head_dim, 2),
    )


def column_sum_kernel(dtype: str, head_dim: int) -> Kernel:
    """Column sums on matrix units where the format allows it, else one warp per key."""
    shape = (("ELEMENT", ELEMENT_TYPES[dtype]), ("HEAD_DIM", str(head_dim)))
    if dtype not in MATRIX_DTYPES or head_dim % 16:
        return Kernel("column_sum.cu", "column_sum", shape, block_threads=128)
    warps = 4
    return Kernel(
        "column_sum_tiled.cu",
        "column_sum_tiled",
        (*shape, ("WARPS", str(warps))),
        block_threads=32 * warps,
        shared_bytes=3 * _tile_bytes(16 * warps, head_dim, 2),
    )


def softmax_kernel(dtype: str) -> Kernel:
    """Softmax along rows, one block per row."""
    return Kernel("softmax.cu", "row_softmax", (("ELEMENT", ELEMENT_TYPES[dtype]),))


def ceiling_kernel(entry: str) -> Kernel:
    """A micro-kernel of ``ceilings.cu`` by name."""
    return Kernel("ceilings.cu", entry)


CEILING_ENTRIES = (
    "read_stream",
    "copy_stream",
    "triad_stream",
    "gather_stream",
    "exponentials",
    "shared_reads",
    "nothing",
)


def all_kernels() -> tuple[Kernel, ...]:
    """Every kernel in the head sizes of common models: what the compile check covers.

    bfloat16 differs from float16 by the conversion and the multiply instruction, so it appears in one size each.
    """
    sizes = {"float32": (32, 64, 128), "float16": (32, 64, 96, 128, 256), "bfloat16": (128,)}
    kernels = [ceiling_kernel(entry) for entry in CEILING_ENTRIES]
    for dtype, dims in sizes.items():
        kernels += [row_kernel(dtype, 128, 128), row_kernel(dtype, 576, 512), softmax_kernel(dtype)]
        kernels += [merge_kernel(dtype, 128), merge_kernel(dtype, 512)]
        kernels += [column_sum_kernel(dtype, 20), column_sum_kernel(dtype, 128)]
        if dtype in MATRIX_DTYPES:
            kernels += [prefill_kernel(dtype, d, d) for d in dims]
            kernels += [decode_kernel(dtype, d, d) for d in dims]
            kernels += [prefill_kernel(dtype, 192, 128), decode_kernel(dtype, 192, 128), mla_kernel(dtype, 576, 512)]
        else:
            kernels += [tiled_kernel(dtype, d, d) for d in dims]
    return tuple(kernels)


def _shape(dtype: str, head_dim: int, v_dim: int) -> tuple[tuple[str, str], ...]:
    return (("ELEMENT", ELEMENT_TYPES[dtype]), ("HEAD_DIM", str(head_dim)), ("V_DIM", str(v_dim)))


def _tile_bytes(rows: int, columns: int, element_bytes: int) -> int:
    """Bytes of a shared-memory tile whose rows are padded by one 16-byte copy."""
    return rows * (columns * element_bytes + _PAD_BYTES)
