"""Attention as a serving stack calls it: what is launched around the kernel, formats, windows, and how long it takes.

A call takes the new tokens of all sequences. Before the attention kernel comes a launch that writes their keys and
values into the paged cache, in some stacks one that rotates queries and keys on the way. The kernel may multiply in the
format of the cache, convert what it loads, or, where nothing is cached yet, attend the fresh keys in their own format.
All heads do the same, so that one KV head is planned and the others are copies of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

from algorithms.chip.attention.decode import SplitParameters
from algorithms.chip.attention.flash import launch_of
from algorithms.chip.attention.operators import Elementwise, OperatorParameters
from algorithms.chip.plan.parameters import TileParameters, tiling_of
from algorithms.chip.plan.plan import Launch, TileStep, WorkItem, run_lengths
from algorithms.chip.plan.served import ServedKernel, ServedProfile
from algorithms.chip.plan.steps import Steps
from algorithms.chip.timing.calls import CallEstimate, Part, estimate_call
from algorithms.chip.timing.launch_work import LaunchWork
from algorithms.rounding import round_up
from algorithms.workload.shape import DTYPE_BYTES, Workload
from hwmodels.chips.accelerator import Accelerator
from hwmodels.reading.errors import InputError, Problem

WRITE_BYTES = 32768
"""Of new keys and values that a work item of the launch before the attention handles."""
_WRITES = OperatorParameters(elementwise_bytes=WRITE_BYTES)
ROTATION_OPS = 6
"""Per element that is rotated: two products and an addition, an angle's sine and cosine looked up, and a conversion."""
CONVERSION_OPS = 1
"""Per element of a cache in a format that products do not take (cvt.rn.f16x2.e4m3x2 converts two at half rate)."""

HISTORY_PER_BLOCK, HISTORY_WAVES, HISTORY_ROOT, HISTORY_BLOCKS = 128, 8, 8, 6000
"""Of XQA's splits: cached tokens of a block, waves aimed at, what bounds few long histories, blocks of its workspace
(computeMultiBlockCount in TensorRT-LLM's decoderMaskedMultiheadAttention/decoderXQAImplCommon.h)."""
FLOPS_PER_OP = 2
"""Of a multiply-add, which a lane does in a cycle."""


@dataclass(frozen=True)
class AttentionCall:
    """One call of an attention layer.

    Parameters
    ----------
    workload
        New tokens and all tokens of every sequence; its format is that of queries and fresh keys.
    cache_format
        Format of cached keys and values; empty where nothing is cached.
    window
        Most keys that a query sees; 0 for no limit.
    """

    workload: Workload
    cache_format: str = ""
    window: int = 0

    @property
    def number_format(self) -> str:
        """That decides on the kernel: of the cache, or of the queries where nothing is cached."""
        return self.cache_format or self.workload.dtype

    @property
    def new_elements(self) -> int:
        """Of keys and values that the call adds to the cache."""
        work = self.workload
        return work.batch * work.q_len * work.kv_heads * (work.head_dim + work.v_head_dim)


class ServedAttention:
    """A kernel as a stack calls it, on a chip; plans of one KV head are kept, since many calls share them.

    Parameters
    ----------
    kernel, chip
        Kernel that is called, and the chip that it runs on.
    profile
        Instead of the kernel's.
    """

    def __init__(self, kernel: ServedKernel, chip: Accelerator, profile: ServedProfile | None = None) -> None:
        self.kernel, self.chip, self.profile = kernel, chip, profile or kernel.profile
        self._cache_bytes = sum(tier.capacity_bytes for tier in chip.caches)
        self._launches: dict[tuple[Workload, TileParameters, int, bool], tuple[LaunchWork, ...]] = {}
        self._parts: dict[AttentionCall, tuple[Part, ...]] = {}
        self._estimates: dict[AttentionCall, CallEstimate] = {}

    def with_profile(self, profile: ServedProfile) -> ServedAttention:
        """The same kernel with other fitted numbers; plans, which do not depend on them, are shared."""
        other = ServedAttention(self.kernel, self.chip, profile)
        other._launches, other._parts = self._launches, self._parts
        return other

    def estimate(self, call: AttentionCall, *, replayed: bool = True) -> CallEstimate:
        """Time of ``call`` in closed form.

        Parameters
        ----------
        replayed
            Whether the same call came just before, so that tensors which fit into the caches are in them.

        Raises
        ------
        InputError, simulator.CapacityError
            A call that the kernel does not take.
        """
        if call not in self._estimates:
            self._estimates[call] = self._estimate(call, replayed and self._footprint(call) <= self._cache_bytes)
        return self._estimates[call]

    def _estimate(self, call: AttentionCall, warm: bool) -> CallEstimate:
        launching = self.kernel.text.call.launching
        return estimate_call(self.parts(call), self.chip, self.profile, warm=warm, launching=launching)

    def _footprint(self, call: AttentionCall) -> int:
        """Bytes of all tensors of a call: inputs, cache and result."""
        work = call.workload
        cached = work.k_bytes + (0 if self.kernel.text.call.shared_values else work.v_bytes)
        if call.cache_format:
            cached = cached * DTYPE_BYTES[call.cache_format] // work.dtype_bytes + call.new_elements * work.dtype_bytes
        return work.q_bytes + cached + work.out_bytes

    def parts(self, call: AttentionCall) -> tuple[Part, ...]:
        """The launches of ``call``; raises what `estimate` raises."""
        if call not in self._parts:
            self._parts[call] = self._planned(call)
        return (*_before(self.kernel, self.profile, call), *self._parts[call])

    def _planned(self, call: AttentionCall) -> tuple[Part, ...]:
        kernel = self.kernel
        attended = _attended(kernel, call)
        window = call.window if attended.q_len > 1 and call.window < attended.kv_len else 0
        if kernel.text.call.windows == "masked":
            window = 0
        parameters = _tiles(kernel, attended, self.chip)
        blocks = 0
        if kernel.text.call.splits_by == "history" and isinstance(parameters, SplitParameters):
            blocks = history_splits(call.workload, self.chip.cores)
            parameters = dataclasses.replace(parameters, splits=blocks)
        if call.window and attended.q_len == 1 and call.window < call.workload.kv_len:
            more = kernel.text.call.window_tiles * parameters.tile_columns
            seen = min(call.window + more, call.workload.kv_len)
            attended = attended.with_(kv_len=seen)
        one = attended.with_(batch=1, heads=attended.group_size, kv_heads=1)
        copies = attended.batch * attended.kv_heads
        converted = attended.dtype != _product_format(kernel, call)
        key = one, parameters, window, converted
        if key not in self._launches:
            launches = self._of_one_head(one, parameters, window, converted)
            self._launches[key] = tuple(LaunchWork.of(_with_idle(launch, blocks)) for launch in launches)
        return tuple(Part(work, copies) for work in self._launches[key])

    def _of_one_head(
        self, one: Workload, parameters: TileParameters, window: int, converted: bool
    ) -> tuple[Launch, ...]:
        if window:
            launches: tuple[Launch, ...] = (windowed_launch(one, parameters, window),)
        else:
            launches = self.kernel.algorithm.plan(one, parameters, self.chip).launches
        if self.kernel.text.call.shared_values:
            launches = tuple(_with_shared_values(launch, one) for launch in launches)
        if self.kernel.text.call.products == "lanes":
            return tuple(_on_lanes(launch, one) for launch in launches)
        return tuple(_converted(launch, one) for launch in launches) if converted else launches


def _tiles(kernel: ServedKernel, workload: Workload, chip: Accelerator) -> TileParameters:
    """Parameters with nothing automatic left; raises InputError for an algorithm that does not tile."""
    parameters = kernel.algorithm.resolved(workload, kernel.parameters(workload), chip)
    if not isinstance(parameters, TileParameters):
        raise InputError(Problem(f"{kernel.text.algorithm} does not attend in tiles", kernel.name, field="algorithm"))
    most = kernel.text.call.most_splits
    if most and isinstance(parameters, SplitParameters):
        return dataclasses.replace(parameters, splits=min(parameters.splits, most))
    return parameters


def history_splits(workload: Workload, cores: int) -> int:
    """Blocks that share the keys of a KV head in XQA, which go by all cached tokens, whatever a window lets see."""
    blocks = workload.kv_len // HISTORY_PER_BLOCK
    blocks = max(min(blocks, round(math.sqrt(HISTORY_ROOT * blocks))), 1)
    waves = workload.batch * workload.kv_heads * blocks / cores
    if waves > HISTORY_WAVES:
        blocks = math.floor(blocks * HISTORY_WAVES / waves)
    return max(min(blocks, HISTORY_BLOCKS // workload.batch), 1)


def _with_idle(launch: Launch, blocks: int) -> Launch:
    """An attention launch with as many more blocks as ``blocks`` are left without keys: they only start and end."""
    given = sum(times for _, times in launch.items)
    if blocks <= given or not any(each.scores for old, _ in launch.items for each, _ in old.steps):
        return launch
    idle = WorkItem((), last_store_bytes=launch.items[-1][0].last_store_bytes)
    return dataclasses.replace(launch, items=(*launch.items, (idle, blocks - given)))


def _before(kernel: ServedKernel, profile: ServedProfile, call: AttentionCall) -> tuple[Part, ...]:
    """The launch that writes new keys and values into the cache, every token with threads of its own."""
    kind = kernel.text.call.before
    if kind == "nothing" or not call.cache_format:
        return ()
    work = call.workload
    tokens, width = work.batch * work.q_len, work.kv_heads * (work.head_dim + work.v_head_dim)
    elements, ops = tokens * width, profile.write_element_ops
    threads = 2 * tokens * min(width // 2, kernel.text.call.write_threads)
    if kind == "rotate_and_write":
        elements += tokens * work.heads * work.head_dim
        ops += ROTATION_OPS
    total = round(ops * elements + profile.write_thread_ops * threads)
    written = Elementwise("cache write", elements, ops=max(1, round(total / elements)))
    return (Part(LaunchWork.of(written.launch(_WRITES, work.dtype)), 1),)


def _product_format(kernel: ServedKernel, call: AttentionCall) -> str:
    """The format that the kernel multiplies in."""
    own = call.workload.dtype
    return call.cache_format if call.cache_format and kernel.text.call.products == "stored" else own


def _attended(kernel: ServedKernel, call: AttentionCall) -> Workload:
    """What the attention kernel itself works on, in the format that it loads."""
    work = call.workload
    loaded = call.cache_format if call.cache_format and kernel.text.call.products != "fresh" else work.dtype
    keys = min(work.kv_len, call.window) if call.window and work.q_len == 1 else work.kv_len
    return work.with_(dtype=loaded, kv_len=keys)


def windowed_launch(workload: Workload, parameters: TileParameters, window: int) -> Launch:
    """Query tiles over whole tiles of the keys that any of their rows sees, the ``window`` last ones of each."""
    tiling = tiling_of(workload, parameters)
    steps = Steps(tiling, parameters)
    items = []
    for tile in tiling.query_tiles:
        first = max(tile.seen_by_all - window, 0)
        start = round_up(first + 1, tiling.tile_columns) - tiling.tile_columns
        stored = len(tile.rows) * workload.v_head_dim * workload.dtype_bytes
        items.append(steps.item(tile, range(start, workload.kv_len), store_bytes=stored))
    return launch_of("attention", tiling, parameters, run_lengths(items))


def _converted(launch: Launch, workload: Workload) -> Launch:
    """``launch`` with products in 16 bits of what it loads in another format, which takes an operation per element."""
    per_byte = CONVERSION_OPS / DTYPE_BYTES[workload.dtype]

    def step(old: TileStep) -> TileStep:
        return dataclasses.replace(old, vector_ops=old.vector_ops + round(per_byte * old.load_bytes))

    return dataclasses.replace(_with_steps(launch, step), matrix_format="bfloat16")


def _with_shared_values(launch: Launch, workload: Workload) -> Launch:
    """``launch`` that loads keys alone, of which values are a part."""
    share = workload.head_dim / (workload.head_dim + workload.v_head_dim)

    def step(old: TileStep) -> TileStep:
        return dataclasses.replace(old, load_bytes=round(share * old.load_bytes))

    if not any(each.scores for old, _ in launch.items for each, _ in old.steps):
        return launch
    values = min(workload.v_bytes, launch.unique_load_bytes)
    return dataclasses.replace(_with_steps(launch, step), unique_load_bytes=launch.unique_load_bytes - values)


def _on_lanes(launch: Launch, workload: Workload) -> Launch:
    """``launch`` without the matrix array: what is loaded is converted to 32 bits, a multiply-add is an operation."""
    per_byte = CONVERSION_OPS / DTYPE_BYTES[workload.dtype]

    def step(old: TileStep) -> TileStep:
        ops = old.flops / FLOPS_PER_OP + per_byte * old.load_bytes
        return dataclasses.replace(old, scores=(), values=(), vector_ops=old.vector_ops + round(ops))

    return _with_steps(launch, step)


def _with_steps(launch: Launch, change: Callable[[TileStep], TileStep]) -> Launch:
    """``launch`` with all of its steps changed; itself if it has no products, which is no attention."""

    def item(old: WorkItem) -> WorkItem:
        return dataclasses.replace(old, steps=tuple((change(each), times) for each, times in old.steps))

    if not any(each.scores for old, _ in launch.items for each, _ in old.steps):
        return launch
    return dataclasses.replace(launch, items=tuple((item(old), times) for old, times in launch.items))
