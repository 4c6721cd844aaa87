"""Launches of a gated delta layer as libraries make them: its convolution, a token at a time, and whole prompts.

Sizes and order of the launches follow flash-linear-attention (``fla/ops/gated_delta_rule``: chunks of 64 tokens, one
launch for each of six parts, with the state carried by one block per head and part of its value columns) and
FlashInfer's single launch, in which a block carries the state of a head past all chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from algorithms.chip.layers.passes import Pass
from algorithms.chip.plan.parameters import cached_bytes
from algorithms.chip.plan.plan import Launch, Matmul, TileStep, WorkItem
from algorithms.rounding import ceil_div
from algorithms.workload.shape import DTYPE_BYTES
from hwmodels.chips.accelerator import Accelerator

CHUNK = 64
"""Tokens of a chunk."""
TAPS = 4
"""Of the convolution (Qwen3-Next and Qwen3.5: ``linear_conv_kernel_dim``)."""
_ACCUMULATOR = DTYPE_BYTES["float32"]


@dataclass(frozen=True)
class DeltaCall:
    """Sizes of a call.

    Parameters
    ----------
    batch, tokens
        Sequences, and new tokens of each.
    key_heads, value_heads
        Heads of queries and keys, and of values; each of the latter has a state.
    key_dim, value_dim
        Width of both.
    channels
        Channels that the convolution goes over.
    element_bytes, state_bytes
        Bytes of an activation, and those of a number of the state.
    columns
        Value columns of the state that a block carries.
    row_tokens
        Tokens of a channel that a block takes at a time, whether or not there are so many.
    element_ops
        Instructions for each element of a convolution, or of a state and a token.
    """

    batch: int
    tokens: int
    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    channels: int
    element_bytes: int
    state_bytes: int
    columns: int
    row_tokens: int
    element_ops: float

    @property
    def chunks(self) -> int:
        """Of a sequence."""
        return ceil_div(self.tokens, CHUNK)

    @property
    def states(self) -> int:
        """Sequences times heads of values."""
        return self.batch * self.value_heads

    @property
    def parts(self) -> int:
        """Blocks that share the value columns of a head."""
        return ceil_div(self.value_dim, self.columns)

    def tiles(self, width: int) -> int:
        """Bytes of a matrix with a row of ``width`` elements for each token of a chunk, of all chunks a mean."""
        return round(self.tokens * width * self.element_bytes / self.chunks)


Launches = Callable[[DeltaCall, Accelerator], tuple[Launch, ...]]


def convolution(call: DeltaCall, chip: Accelerator) -> tuple[Launch, ...]:
    """The causal convolution of all channels, a pass; the last tokens of a sequence are read and kept for the next."""
    kept = call.batch * call.channels * (TAPS - 1) * call.element_bytes
    made = Pass(
        "convolution",
        call.batch * call.tokens * call.channels,
        call.element_bytes,
        call.element_bytes,
        call.element_ops,
        memory_bytes=kept + call.channels * TAPS * call.element_bytes,
        stored_bytes=kept,
    )
    return (made.launch(chip),)


def rowwise_convolution(call: DeltaCall, chip: Accelerator) -> tuple[Launch, ...]:
    """The same with a block for every channel of every sequence, which goes over a row in vectors of tokens."""
    del chip
    row = call.tokens * call.element_bytes
    steps = ceil_div(call.tokens, call.row_tokens)
    step = TileStep(
        load_bytes=ceil_div(row, steps),
        vector_ops=round(call.row_tokens * call.element_ops),
        store_bytes=ceil_div(row, steps),
    )
    item = WorkItem(((step, steps),))
    count = call.batch * call.channels
    return (Launch("convolution", ((item, count),), unique_load_bytes=count * row, reused_bytes=0),)


def step(call: DeltaCall, chip: Accelerator) -> tuple[Launch, ...]:
    """A token of every sequence: a block loads columns of a state, changes and reads them, and stores them again."""
    del chip
    state = call.key_dim * call.columns
    token = (2 * call.key_dim + 2 * call.columns) * call.element_bytes
    done = TileStep(
        load_bytes=state * call.state_bytes + token,
        vector_ops=round(state * call.element_ops),
        store_bytes=state * call.state_bytes + call.columns * call.element_bytes,
    )
    count = call.states * call.parts
    unique = count * state * call.state_bytes + call.batch * call.tokens * call.channels * call.element_bytes
    return (Launch("step", ((WorkItem(((done, call.tokens),)), count),), unique_load_bytes=unique, reused_bytes=0),)


def one_launch(call: DeltaCall, chip: Accelerator) -> tuple[Launch, ...]:
    """A whole prompt in one launch: a block carries the state of a head past the chunks of a sequence."""
    del chip
    size, d_k, d_v = CHUNK, call.key_dim, call.value_dim
    chunk = TileStep(
        load_bytes=call.tiles(2 * d_k + d_v),
        scores=(Matmul(size, size, d_k), Matmul(size, size, d_k), Matmul(size, d_v, d_k), Matmul(size, d_v, d_k)),
        vector_ops=round(size * size * call.element_ops),
        values=(*_solved(size), Matmul(size, d_v, size), Matmul(size, d_v, size), Matmul(d_k, d_v, size)),
        store_bytes=call.tiles(d_v),
    )
    item = WorkItem(((chunk, call.chunks),), last_store_bytes=d_k * d_v * call.state_bytes)
    unique = call.batch * call.tokens * call.channels * call.element_bytes
    launch = Launch(
        "chunks",
        ((item, call.states),),
        unique_load_bytes=unique,
        shared_by=max(call.value_heads // call.key_heads, 1),
        reused_bytes=0,
        matrix_format="bfloat16",
    )
    return (launch,)


def chunk_launches(call: DeltaCall, chip: Accelerator) -> tuple[Launch, ...]:
    """A whole prompt in launches: norms, products of keys, their inverse, what is written, the states, the outputs."""
    size, d_k, d_v = CHUNK, call.key_dim, call.value_dim
    square, keys, values = call.tiles(size), call.tiles(d_k), call.tiles(d_v)
    state = d_k * d_v * call.element_bytes
    wide = _ACCUMULATOR // call.element_bytes * square
    blocks = call.states * call.chunks
    rows = call.batch * call.tokens
    norm = Pass(
        "norms",
        rows * 2 * call.key_heads * d_k,
        call.element_bytes,
        call.element_bytes,
        call.element_ops,
    )
    decays = Pass("decays", rows * call.value_heads, _ACCUMULATOR, _ACCUMULATOR, call.element_ops)
    columns = call.columns
    own = _step(call, keys, wide, before=(Matmul(size, size, d_k),))
    solve = _step(call, wide, square, after=_solved(size))
    written = _step(
        call, square + keys + values, keys + values, after=(Matmul(size, d_k, size), Matmul(size, d_v, size))
    )
    carried = _step(
        call,
        2 * keys + call.tiles(columns),
        d_k * columns * call.element_bytes + call.tiles(columns),
        before=(Matmul(size, columns, d_k),),
        after=(Matmul(d_k, columns, size),),
    )
    read = _step(
        call,
        2 * keys + values + state,
        values,
        before=(Matmul(size, size, d_k), Matmul(size, d_v, d_k)),
        after=(Matmul(size, d_v, size),),
    )
    # heads of values that share keys are neighbours, and so are the parts of a state: caches serve all but one
    shared = round(keys * call.key_heads / call.value_heads)
    made = (
        _blocks("products of keys", own, blocks, chip, shared * blocks),
        _blocks("inverse", solve, blocks, chip, wide * blocks),
        _blocks("written", written, blocks, chip, (square + shared + values) * blocks),
        _blocks("states", carried, call.states * call.parts, chip, (keys + shared + values) * blocks, call.chunks),
        _blocks("outputs", read, blocks, chip, (2 * shared + values + state) * blocks),
    )
    return (norm.launch(chip), decays.launch(chip), *made)


def _step(
    call: DeltaCall, load_bytes: int, store_bytes: int, before: tuple[Matmul, ...] = (), after: tuple[Matmul, ...] = ()
) -> TileStep:
    """A chunk's part in a block: elements are converted, masked and scaled as they come and go."""
    moved = (load_bytes + store_bytes) / call.element_bytes
    return TileStep(load_bytes, before, 0, round(moved * call.element_ops), after, store_bytes)


def _solved(size: int) -> tuple[Matmul, ...]:
    """Products of an inverse of a triangle by blocks of 16: those below the diagonal, from those on it."""
    blocks = size // 16
    return (Matmul(16, 16, 16),) * (blocks * (blocks - 1) // 2 * 2)


def _blocks(name: str, each: TileStep, count: int, chip: Accelerator, distinct_bytes: int, chunks: int = 1) -> Launch:
    """A launch of equal blocks; what one launch makes for the next stays in the caches where it fits."""
    item = WorkItem(((each, chunks),))
    stored = item.total("store_bytes") * count
    inside = cached_bytes(chip, 2 * (stored + distinct_bytes)) > 0
    return Launch(
        name,
        ((item, count),),
        unique_load_bytes=0 if inside else distinct_bytes,
        reused_bytes=0,
        kept_store_bytes=stored if inside else 0,
        matrix_format="bfloat16",
    )


FORMS: dict[str, Launches] = {
    "convolution": convolution,
    "rowwise_convolution": rowwise_convolution,
    "step": step,
    "one_launch": one_launch,
    "chunk_launches": chunk_launches,
}
"""By the names that profiles use."""
