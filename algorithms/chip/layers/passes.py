"""Passes over elements between products: norms, rotary embedding, activations, copies, quantisation, lookups.

Every pass is shared out evenly over all cores; what it reads from the launch before it comes from the caches where it
fits there, and what it makes for the next one stays there likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from algorithms.chip.plan.parameters import cached_bytes
from algorithms.chip.plan.plan import Launch, TileStep, WorkItem, joined_runs
from algorithms.workload.shape import DTYPE_BYTES
from hwmodels.chips.accelerator import Accelerator

STEPS = 8
"""Of the work of a core, at most."""
LEAST_BYTES = 2048
"""Of a step: a thread block of 128 threads that read 16 bytes each."""


@dataclass(frozen=True)
class Pass:
    """A pass over ``elements``.

    Parameters
    ----------
    name
        Name of the launch.
    elements
        Number of elements that are gone through.
    read_bytes, write_bytes
        Bytes per element, read from and written to the launches beside it.
    ops, exps
        Vector operations and operations of the exp unit for each.
    memory_bytes
        Read besides that lie in the main memory: weights, rows of a table, a cache.
    stored_bytes
        Written besides that are to stay in the main memory.
    """

    name: str
    elements: int
    read_bytes: float = 0.0
    write_bytes: float = 0.0
    ops: float = 1.0
    exps: float = 0.0
    memory_bytes: int = 0
    stored_bytes: int = 0

    @property
    def passing_bytes(self) -> int:
        """From and to the launches beside it."""
        return round(self.elements * (self.read_bytes + self.write_bytes))

    def launch(self, chip: Accelerator) -> Launch:
        """Work items of even size."""
        return pass_launch(self, chip.cores, bool(cached_bytes(chip, 2 * self.passing_bytes)))


@lru_cache(maxsize=4096)
def pass_launch(each: Pass, cores: int, inside: bool) -> Launch:
    """The launch of a pass on so many cores, where what passes to it and from it stays ``inside`` of caches or not."""
    loads = round(each.elements * each.read_bytes) + each.memory_bytes
    stores = round(each.elements * each.write_bytes) + each.stored_bytes
    most = max((loads + stores) // LEAST_BYTES, 1)
    count = min(cores, most)
    totals = (loads, round(each.elements * each.exps), round(each.elements * each.ops), stores)

    def item(share: int) -> WorkItem:
        """The part of item number ``share``, in steps of which one loads while the one before is worked on."""
        own = [_part(total, share, count) for total in totals]
        steps = min(STEPS, max((own[0] + own[3]) // LEAST_BYTES, 1))
        return WorkItem(joined_runs((_step([_part(total, n, steps) for total in own]), 1) for n in range(steps)))

    first = item(0)
    items = ((first, count - 1), (item(count - 1), 1)) if count > 1 else ((first, 1),)
    return Launch(
        name=each.name,
        items=items,
        unique_load_bytes=each.memory_bytes if inside else loads,
        reused_bytes=0,
        kept_store_bytes=stores - each.stored_bytes if inside else 0,
    )


def _step(counts: Sequence[int]) -> TileStep:
    loads, exps, ops, stores = counts
    return TileStep(load_bytes=loads, exps=exps, vector_ops=ops, store_bytes=stores)


def _part(total: int, share: int, count: int) -> int:
    """Even parts; what is left over goes to the last one."""
    even = total // count
    return even if share < count - 1 else total - even * (count - 1)


@dataclass(frozen=True)
class Passes:
    """Passes of a model whose activations have a format.

    Parameters
    ----------
    activations
        Format of what passes between launches.
    """

    activations: str

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return DTYPE_BYTES[self.activations]

    def norm(self, name: str, tokens: int, width: int, *, residual: bool = False, kind: str = "rms") -> Pass:
        """A norm of every token; with ``residual``, the block before it is added first and the sum is kept.

        Square, add; multiply by the inverse root and the weight; a mean besides, and a bias, for a layer norm; and a
        conversion each way.
        """
        ops = {"rms": 6.0, "layer": 9.0, "plain": 7.0}[kind] + (1.0 if residual else 0.0)
        each = 2 if residual else 1
        weights = {"rms": 1, "layer": 2, "plain": 0}[kind] * width * self.size
        return Pass(
            name, tokens * width, each * self.size, each * self.size, ops=ops, memory_bytes=weights if tokens else 0
        )

    def rotary(self, name: str, tokens: int, rotated: int, copied: int, cached: int) -> Pass:
        """Rotates queries and keys in place and writes keys and values to their cache.

        Two multiply-adds and two conversions an element; sines and cosines are looked up.
        """
        elements = tokens * (rotated + copied)
        rate = rotated / max(rotated + copied, 1)
        return Pass(
            name,
            elements,
            self.size,
            self.size * rate,
            ops=1 + 4.0 * rate,
            stored_bytes=tokens * cached * self.size,
        )

    def activation(self, name: str, elements: int, *, gated: bool) -> Pass:
        """An activation, multiplied with what it gates: an exponential, a reciprocal and four operations an element."""
        reads = 2 if gated else 1
        return Pass(name, elements, reads * self.size, self.size, ops=5.0 + reads, exps=2.0)

    def add(self, name: str, elements: int) -> Pass:
        """A sum of two streams."""
        return Pass(name, elements, 2 * self.size, self.size, ops=3.0)

    def copy(self, name: str, elements: int) -> Pass:
        """Elements moved from one place to another."""
        return Pass(name, elements, self.size, self.size)

    def quantise(self, name: str, tokens: int, width: int, to_bytes: float) -> Pass:
        """Activations to a narrower format with a scale per token: a magnitude, a maximum, a product, a conversion."""
        return Pass(name, tokens * width, self.size, to_bytes, ops=4.0)

    def lookup(self, name: str, tokens: int, width: int, element_bytes: float) -> Pass:
        """Rows of a table."""
        rows = round(tokens * width * element_bytes)
        return Pass(name, tokens * width, 0, self.size, memory_bytes=rows)

    def softmax(self, name: str, rows: int, columns: int) -> Pass:
        """Scores of every row, and the best of them (routing, sampling)."""
        return Pass(name, rows * columns, self.size, 0.0, ops=8.0, exps=1.0)

    def depthwise(self, name: str, tokens: int, width: int, kernel: int) -> Pass:
        """A convolution over time of every channel by itself, with its norm and activation."""
        weights = width * (kernel + 4) * self.size
        return Pass(name, tokens * width, self.size, self.size, ops=kernel + 9.0, exps=2.0, memory_bytes=weights)


def merged(name: str, *passes: Pass) -> Pass:
    """Passes over the same elements as one: what one makes for the next never leaves the core.

    The first one's reads and the last one's writes remain, and everything from and to the main memory.
    """
    first, last = passes[0], passes[-1]
    elements = first.elements
    share = last.elements / elements if elements else 1.0

    def per_element(counts: Sequence[float]) -> float:
        return sum(count * each.elements for count, each in zip(counts, passes, strict=True)) / max(elements, 1)

    return replace(
        first,
        name=name,
        write_bytes=last.write_bytes * share,
        ops=per_element([each.ops for each in passes]),
        exps=per_element([each.exps for each in passes]),
        memory_bytes=sum(each.memory_bytes for each in passes),
        stored_bytes=sum(each.stored_bytes for each in passes),
    )
