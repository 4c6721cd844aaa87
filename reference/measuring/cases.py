"""Cases of `attnflow measure`: a fixed list of kernels and shapes, with the work each one does.

The list changes only together with `LIST_VERSION`, so that records of different machines can be compared
row by row. Sizes follow published measurements where there are any: FlashAttention's benchmark (16,384
tokens per batch, hidden size 2,048), FlashMLA's (576 and 512 wide latent rows), Llama-3-8B and Llama-2-7B
heads. Work is counted as in the public collections: 2 FLOP per multiply-add, half of the square under a
causal mask, every input read and every output written once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from reference.truth.dtypes import DTYPE_BYTES

LIST_VERSION = 1

Kind = Literal[
    "membench",
    "computebench",
    "prefill_fwd",
    "decode",
    "mla_decode",
    "kv_gather",
    "sink_window",
    "column_sums",
    "op_softmax",
]
Maker = Literal["cuda", "cuda-rows", "torch-eager", "torch-flash", "torch-cudnn", "torch-efficient", "torch"]

SHORT_NAMES = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
"""Format names in records, those of the public collections."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a case; what does not apply stays at its default.

    Attributes
    ----------
    batch, heads, kv_heads, q_len, kv_len, d, d_v
        Of attention; `kv_len` counts the keys attended.
    causal
        Mask aligned to the bottom right.
    rows_held
        Rows of each KV head in memory when more than are attended (gather); 0 for `kv_len`.
    block_rows
        Consecutive rows per gathered block; 0 for no gather.
    window, sinks
        0 for no window.
    rows, columns
        Of a softmax or a square matrix product; of a compute micro-kernel its threads and the operations of each.
    bytes_moved, run_bytes
        Of memory streams: working set per launch, and length of a gathered run (0 for streams).
    """

    batch: int = 0
    heads: int = 0
    kv_heads: int = 0
    q_len: int = 0
    kv_len: int = 0
    d: int = 0
    d_v: int = 0
    causal: bool = False
    rows_held: int = 0
    block_rows: int = 0
    window: int = 0
    sinks: int = 0
    rows: int = 0
    columns: int = 0
    bytes_moved: int = 0
    run_bytes: int = 0

    @property
    def pairs(self) -> int:
        """Visible (query, key) pairs of one head; half of the square under a causal mask with more than one query."""
        if self.window:
            return self._window_pairs()
        square = self.q_len * self.kv_len
        return square // 2 if self.causal and self.q_len > 1 else square

    def _window_pairs(self) -> int:
        """Exact count under sinks and a window: query at position p sees min(p + 1, sinks + window) keys."""
        first = self.kv_len - self.q_len
        limit = self.sinks + self.window
        return sum(min(position + 1, limit) for position in range(first, self.kv_len))

    def record(self) -> dict[str, int | bool]:
        """The shape under the names of the public collections (B, Sq, Skv, Hq, Hkv, D, Dv, causal, ...)."""
        names = {
            "B": self.batch,
            "Sq": self.q_len,
            "Skv": self.kv_len,
            "Hq": self.heads,
            "Hkv": self.kv_heads,
            "D": self.d,
            "Dv": self.d_v if self.d_v != self.d else 0,
            "rows_held": self.rows_held,
            "block_rows": self.block_rows,
            "window": self.window,
            "sinks": self.sinks,
            "rows": self.rows,
            "cols": self.columns,
            "bytes": self.bytes_moved,
            "run_bytes": self.run_bytes,
        }
        sizes: dict[str, int | bool] = {name: size for name, size in names.items() if size}
        return sizes | {"causal": self.causal} if self.q_len else sizes


@dataclass(frozen=True)
class Case:
    """One line of a record to be: who computes what in which format, and the work it takes.

    Attributes
    ----------
    what
        For ceilings the quantity, else empty.
    """

    kind: Kind
    maker: Maker
    dtype: str
    shape: Shape
    what: str = ""

    @property
    def id(self) -> str:
        """Stable name, unique in the list."""
        sizes = (f"{name.lower()}{int(size)}" for name, size in self.shape.record().items() if name != "causal")
        mask = ("causal",) if self.shape.causal else ()
        return "-".join((self.kind, *filter(None, (self.what,)), self.maker, SHORT_NAMES[self.dtype], *sizes, *mask))

    @property
    def is_ceiling(self) -> bool:
        """Whether it measures the chip rather than an attention kernel: what a model may be calibrated on."""
        return self.kind in ("membench", "computebench")

    @property
    def flops(self) -> int:
        """Multiply-add work, 2 per multiply-add; exponentials are counted apart."""
        shape = self.shape
        if self.kind == "computebench":
            return 2 * shape.rows**3 if self.what == "matmul" else 0
        if self.kind == "column_sums":
            return 2 * shape.batch * shape.heads * shape.pairs * shape.d
        return 2 * shape.batch * shape.heads * shape.pairs * (shape.d + shape.d_v)

    @property
    def exps(self) -> int:
        """Softmax exponentials."""
        if self.kind == "op_softmax":
            return self.shape.rows * self.shape.columns
        if self.what == "exponentials":
            return self.shape.rows * self.shape.columns
        return self.shape.batch * self.shape.heads * self.shape.pairs

    @property
    def bytes_min(self) -> int:
        """Compulsory traffic: inputs read once per KV head, outputs written once; for shared reads, what is read."""
        shape, size = self.shape, DTYPE_BYTES[self.dtype]
        if self.kind == "membench":
            return shape.bytes_moved
        if self.kind == "computebench":
            reads = 16 * shape.rows * shape.columns if self.what == "shared-reads" else 0
            return 3 * shape.rows**2 * size if self.what == "matmul" else reads
        if self.kind == "op_softmax":
            return 2 * shape.rows * shape.columns * size
        keys = min(shape.kv_len, shape.sinks + shape.window + shape.q_len - 1) if shape.window else shape.kv_len
        queries = shape.batch * shape.heads * shape.q_len
        if self.kind == "column_sums":
            sums = 4 * shape.batch * shape.heads * shape.kv_len
            return size * (queries * shape.d + shape.batch * shape.kv_heads * keys * shape.d) + 4 * queries + sums
        width = shape.d if self.kind == "mla_decode" else shape.d + shape.d_v
        return size * (queries * (shape.d + shape.d_v) + shape.batch * shape.kv_heads * keys * width)

    @property
    def memory_bytes(self) -> int:
        """Device memory of one set of buffers, workspace and eager score matrices included, roughly."""
        shape = self.shape
        if self.kind == "computebench" and self.what != "matmul":
            return 0
        held = 0
        if shape.rows_held:
            held = shape.batch * shape.kv_heads * (shape.rows_held - shape.kv_len) * (shape.d + shape.d_v) * 2
        if shape.window and shape.kv_len > shape.window:
            held = shape.batch * shape.kv_heads * shape.kv_len * (shape.d + shape.d_v) * DTYPE_BYTES[self.dtype]
        scores = 3 * 4 * shape.batch * shape.heads * shape.q_len * shape.kv_len if self.maker == "torch-eager" else 0
        return self.bytes_min + held + scores


def standard_cases() -> tuple[Case, ...]:
    """The whole list in the order it is measured: ceilings first, then attention by family."""
    families = (_ceilings, _prefill, _decode, _mla, _gather, _sink_window, _column_sums, _softmax)
    return tuple(case for family in families for case in family())


def _ceilings() -> Iterator[Case]:
    """Bandwidth of streams and of gathered runs, matrix, exponential and shared-memory rates, and a launch."""
    two_gib = 2 << 30
    for what in ("read", "copy", "triad"):
        yield Case("membench", "cuda", "float32", Shape(bytes_moved=two_gib), what)
    for run_bytes in (16, 64, 256, 512, 1024, 4096, 16384, 65536):
        yield Case("membench", "cuda", "float32", Shape(bytes_moved=two_gib, run_bytes=run_bytes), "gather")
    for dtype in ("float16", "bfloat16"):
        yield Case("computebench", "torch", dtype, Shape(rows=8192, columns=8192), "matmul")
    yield Case("computebench", "cuda", "float32", Shape(rows=1 << 18, columns=1 << 14), "exponentials")
    yield Case("computebench", "cuda", "float32", Shape(rows=1 << 18, columns=1 << 12), "shared-reads")
    yield Case("computebench", "cuda", "float32", Shape(), "launch")


def _prefill() -> Iterator[Case]:
    lengths = (512, 1024, 2048, 4096, 8192, 16384)
    makers: tuple[Maker, ...] = ("cuda", "torch-flash", "torch-cudnn")
    for d in (64, 128):
        for causal in (False, True):
            for length in lengths:
                shape = _square(16384 // length, 2048 // d, 2048 // d, length, d, causal)
                yield from (Case("prefill_fwd", maker, "float16", shape) for maker in makers)
    for length in lengths:
        shape = _square(1, 32, 8, length, 128, causal=True)
        yield from (Case("prefill_fwd", maker, "bfloat16", shape) for maker in makers)
    for length in (2048, 8192):
        shape = _square(16384 // length, 16, 16, length, 128, causal=True)
        yield Case("prefill_fwd", "torch-efficient", "float16", shape)
    eager = _square(8, 16, 16, 2048, 128, causal=True)
    yield Case("prefill_fwd", "torch-eager", "float16", eager)
    yield Case("prefill_fwd", "cuda", "float32", _square(1, 16, 16, 2048, 64, causal=True))
    yield Case("prefill_fwd", "cuda-rows", "float16", _square(1, 16, 16, 1024, 128, causal=True))


def _decode() -> Iterator[Case]:
    makers: tuple[Maker, ...] = ("cuda", "torch-flash", "torch-cudnn")
    grid = {1: (1, 4, 16, 64, 256), 16: (1, 4, 16, 64), 64: (1, 4, 16)}
    for batch, lengths in grid.items():
        for length in lengths:
            shape = _token(batch, 32, 8, 1024 * length, 128)
            yield from (Case("decode", maker, "bfloat16", shape) for maker in makers)
    for batch in (1, 16):
        for length in (4, 16):
            shape = _token(batch, 32, 32, 1024 * length, 128)
            yield from (Case("decode", maker, "float16", shape) for maker in makers)


def _mla() -> Iterator[Case]:
    for batch, heads, length in ((128, 16, 4096), (128, 128, 4096), (1, 128, 8192), (32, 128, 1024), (32, 128, 16384)):
        shape = Shape(batch, heads, 1, 1, length, 576, 512, causal=True)
        yield Case("mla_decode", "cuda", "bfloat16", shape)
    yield Case("mla_decode", "torch-eager", "bfloat16", Shape(32, 128, 1, 1, 1024, 576, 512, causal=True))


def _gather() -> Iterator[Case]:
    """4,096 of 16,384 keys kept per head, in random blocks of 1 to 64 tokens."""
    for block_rows in (1, 2, 4, 8, 16, 32, 64):
        shape = Shape(16, 32, 8, 1, 4096, 128, 128, causal=True, rows_held=16384, block_rows=block_rows)
        yield Case("kv_gather", "cuda", "bfloat16", shape)
        if block_rows in (1, 16, 64):
            yield Case("kv_gather", "torch-eager", "bfloat16", shape)


def _sink_window() -> Iterator[Case]:
    for length in (16384, 65536):
        for window in (1020, 4092):
            shape = Shape(16, 32, 8, 1, length, 128, 128, causal=True, window=window, sinks=4)
            yield Case("sink_window", "cuda", "bfloat16", shape)
    shape = Shape(1, 32, 8, 8192, 8192, 128, 128, causal=True, window=1020, sinks=4)
    yield Case("sink_window", "cuda", "bfloat16", shape)


def _column_sums() -> Iterator[Case]:
    for length in (1024, 2048, 4096, 8192, 16384):
        shape = _square(1, 32, 8, length, 128, causal=True)
        yield Case("column_sums", "cuda", "bfloat16", shape)
        if length <= 4096:
            yield Case("column_sums", "torch-eager", "bfloat16", shape)


def _softmax() -> Iterator[Case]:
    for columns in (128, 512, 2048, 8192, 32768):
        shape = Shape(rows=4096, columns=columns)
        yield Case("op_softmax", "cuda", "float16", shape)
        yield Case("op_softmax", "torch", "float16", shape)


def _square(batch: int, heads: int, kv_heads: int, length: int, d: int, causal: bool) -> Shape:
    return Shape(batch, heads, kv_heads, length, length, d, d, causal=causal)


def _token(batch: int, heads: int, kv_heads: int, length: int, d: int) -> Shape:
    return Shape(batch, heads, kv_heads, 1, length, d, d, causal=True)
