"""Streams of memory addresses: what a tier is probed with, and what it is compared on with other simulators.

The random patterns use splitmix64 in counter mode, so that any program can make the same stream from the same seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hwmodels.reading.errors import InputError, Problem, did_you_mean
from simulator.firing import IntArray

Parameters = Mapping[str, int | float]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_BLOCK_SIZES = (64, 256, 1024, 4096)


@dataclass(frozen=True)
class AddressSpace:
    """Addresses of a tier as a pattern sees them.

    Parameters
    ----------
    transaction_bytes, capacity_bytes : int
    fields : tuple of (str, int)
        Digits of an address in transactions, least significant first: ``channel``, ``rank``, ``sid``, ``group``,
        ``bank``, ``row`` or ``column``, with the number of values. A coordinate may be spread over several digits.
    clock_ns : float
        Length of a clock, for patterns whose gaps are times.
    """

    transaction_bytes: int
    capacity_bytes: int
    fields: tuple[tuple[str, int], ...]
    clock_ns: float

    def size(self, kind: str) -> int:
        """Number of values of a coordinate."""
        return math.prod(size for name, size in self.fields if name == kind)

    def place(self, **coordinates: IntArray) -> IntArray:
        """Byte addresses with the given coordinates (modulo their sizes), all others 0."""
        rest = {kind: values % self.size(kind) for kind, values in coordinates.items()}
        number = np.zeros(np.broadcast_shapes(*(v.shape for v in coordinates.values())), dtype=np.int64)
        scale = 1
        for kind, size in self.fields:
            if kind in rest:
                number += rest[kind] % size * scale
                rest[kind] = rest[kind] // size
            scale *= size
        return number * self.transaction_bytes


@dataclass(frozen=True)
class Stream:
    """A stream of single transactions; arrays of shape ``(n,)``."""

    address_bytes: IntArray
    is_write: IntArray
    arrival_clock: IntArray

    @classmethod
    def reads(cls, address_bytes: IntArray) -> Stream:
        """A stream of reads that are all there at clock 0."""
        zeros = np.zeros_like(address_bytes)
        return cls(address_bytes, zeros, zeros)


Generator = Callable[[AddressSpace, int, Parameters], Stream]
_generators: dict[str, Generator] = {}


def splitmix64(seed: int, index: IntArray) -> np.ndarray:
    """Random 64-bit numbers ``r(seed, index)``, dtype uint64 (Steele, Lea, Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed % 2**64) + (index.astype(np.uint64) + np.uint64(1)) * _GAMMA
        z = (z ^ (z >> np.uint64(30))) * _MIX[0]
        z = (z ^ (z >> np.uint64(27))) * _MIX[1]
        return z ^ (z >> np.uint64(31))


def random_below(seed: int, index: IntArray, limit: int | IntArray) -> IntArray:
    """``r(seed, index) % limit``; raises ValueError for limits below 1."""
    if np.any(np.asarray(limit) < 1):
        raise ValueError("a block of this size does not fit into the tier")
    return (splitmix64(seed, index) % np.asarray(limit, dtype=np.uint64)).astype(np.int64)


def pattern_names() -> tuple[str, ...]:
    """Names of all patterns, sorted."""
    return tuple(sorted(_generators))


def make_stream(name: str, space: AddressSpace, n: int, parameters: Parameters) -> Stream:
    """``n`` transactions of the pattern ``name``.

    Raises
    ------
    InputError
        Unknown pattern, or a parameter that it needs is missing or out of range.
    """
    if name not in _generators:
        hint = did_you_mean(name, _generators)
        raise InputError(Problem(f"no address pattern is called {name!r}", field="pattern", hint=hint))
    try:
        return _generators[name](space, n, parameters)
    except KeyError as missing:
        raise InputError(Problem(f"pattern {name!r} needs the parameter {missing}", field="pattern")) from None
    except (ZeroDivisionError, ValueError) as error:
        raise InputError(Problem(f"pattern {name!r}: {error}", field="pattern")) from None


def _pattern(name: str) -> Callable[[Generator], Generator]:
    def register(generator: Generator) -> Generator:
        _generators[name] = generator
        return generator

    return register


def _whole(parameters: Parameters, name: str, default: int | None = None) -> int:
    value = parameters[name] if default is None else parameters.get(name, default)
    if value != int(value):
        raise ValueError(f"{name} must be a whole number (got {value})")
    return int(value)


def _positive(parameters: Parameters, name: str, default: int | None = None) -> int:
    value = _whole(parameters, name, default)
    if value < 1:
        raise ValueError(f"{name} must be at least 1 (got {value})")
    return value


@_pattern("seq_read")
def _sequential(space: AddressSpace, n: int, _: Parameters) -> Stream:
    return Stream.reads(np.arange(n) * space.transaction_bytes % space.capacity_bytes)


@_pattern("rand64_read")
def _random_64_bytes(space: AddressSpace, n: int, parameters: Parameters) -> Stream:
    return _gather_blocks(space, n, max(1, 64 // space.transaction_bytes), _whole(parameters, "seed"))


@_pattern("gather")
def _gather(space: AddressSpace, n: int, parameters: Parameters) -> Stream:
    block = max(1, _positive(parameters, "block") // space.transaction_bytes)
    return _gather_blocks(space, n, block, _whole(parameters, "seed"))


def _gather_blocks(space: AddressSpace, n: int, block: int, seed: int) -> Stream:
    """Blocks of ``block`` transactions at random multiples of their size."""
    i = np.arange(n)
    unit = space.transaction_bytes
    start = random_below(seed, i // block, space.capacity_bytes // (unit * block)) * block
    return Stream.reads((start + i % block) * unit)


@_pattern("row_conflict_1bank")
def _one_bank(space: AddressSpace, n: int, _: Parameters) -> Stream:
    return Stream.reads(space.place(row=np.arange(n)))


@_pattern("bank_interleaved_rowmiss")
def _interleaved_misses(space: AddressSpace, n: int, _: Parameters) -> Stream:
    i = np.arange(n)
    j, coordinates = i // space.size("channel"), {"channel": i}
    for kind in ("group", "bank", "rank"):
        coordinates[kind], j = j, j // space.size(kind)
    return Stream.reads(space.place(**coordinates, row=j))


@_pattern("bg_interleaved_rowhit")
def _interleaved_hits(space: AddressSpace, n: int, _: Parameters) -> Stream:
    i = np.arange(n)
    j, coordinates = i // space.size("channel"), {"channel": i}
    for kind in ("group", "column", "bank", "rank"):
        coordinates[kind], j = j, j // space.size(kind)
    return Stream.reads(space.place(**coordinates, row=j))


@_pattern("rw21_inplace")
def _read_read_write(space: AddressSpace, n: int, _: Parameters) -> Stream:
    i = np.arange(n)
    address = i * space.transaction_bytes % space.capacity_bytes
    return Stream(address, (i % 3 == 2).astype(np.int64), np.zeros_like(i))


@_pattern("rw21_stream")
def _two_read_streams_and_a_write_stream(space: AddressSpace, n: int, _: Parameters) -> Stream:
    i = np.arange(n)
    base = np.array([0, space.capacity_bytes // 4, space.capacity_bytes // 2])[i % 3]
    return Stream(base + i // 3 * space.transaction_bytes, (i % 3 == 2).astype(np.int64), np.zeros_like(i))


@_pattern("rand_write")
def _random_writes(space: AddressSpace, n: int, parameters: Parameters) -> Stream:
    i = np.arange(n)
    return Stream(_scattered(space, i, _whole(parameters, "seed")), np.ones_like(i), np.zeros_like(i))


@_pattern("rand_mix")
def _random_mix(space: AddressSpace, n: int, parameters: Parameters) -> Stream:
    i, seed = np.arange(n), _whole(parameters, "seed")
    is_write = random_below(seed + 1, i, 100) < parameters["wpct"]
    return Stream(_scattered(space, i, seed), is_write.astype(np.int64), np.zeros_like(i))


def _scattered(space: AddressSpace, i: IntArray, seed: int) -> IntArray:
    """A random transaction for every element of ``i``."""
    return random_below(seed, i, space.capacity_bytes // space.transaction_bytes) * space.transaction_bytes


@_pattern("kv_two_stream")
def _keys_and_values(space: AddressSpace, n: int, _: Parameters) -> Stream:
    return _interleaved_streams(space, n, 2, 256)


@_pattern("streams")
def _streams(space: AddressSpace, n: int, parameters: Parameters) -> Stream:
    return _interleaved_streams(space, n, _positive(parameters, "k"), _positive(parameters, "chunk"))


def _interleaved_streams(space: AddressSpace, n: int, streams: int, chunk_bytes: int) -> Stream:
    """Streams that start an equal part of the tier apart and take turns, a chunk each."""
    i, unit = np.arange(n), space.transaction_bytes
    chunk = max(1, chunk_bytes // unit)
    block = i // chunk
    inside = (block // streams * chunk + i % chunk) * unit
    return Stream.reads((block % streams * (space.capacity_bytes // streams) + inside) % space.capacity_bytes)


@_pattern("stride")
def _stride(space: AddressSpace, n: int, parameters: Parameters) -> Stream:
    distance = np.arange(n) * _positive(parameters, "stride")
    wrapped = distance % space.capacity_bytes + distance // space.capacity_bytes * space.transaction_bytes
    return Stream.reads(wrapped % space.capacity_bytes)


@_pattern("idle")
def _idle(space: AddressSpace, n: int, parameters: Parameters) -> Stream:
    i = np.arange(n)
    arrival = i * math.ceil(parameters["gap_ns"] / space.clock_ns)
    return Stream(_scattered(space, i, _whole(parameters, "seed")), np.zeros_like(i), arrival)


@_pattern("load")
def _load(space: AddressSpace, n: int, parameters: Parameters) -> Stream:
    i = np.arange(n)
    arrival = np.floor(i * float(parameters["step"])).astype(np.int64)
    return Stream(_scattered(space, i, _whole(parameters, "seed")), np.zeros_like(i), arrival)


@_pattern("gather_mixed")
def _gather_of_mixed_sizes(space: AddressSpace, n: int, parameters: Parameters) -> Stream:
    q, seed, unit = np.arange(n), _whole(parameters, "seed"), space.transaction_bytes
    length = np.maximum(1, np.array(_BLOCK_SIZES)[random_below(seed, q, len(_BLOCK_SIZES))] // unit)
    start = random_below(seed + 1, q, space.capacity_bytes // (length * unit)) * length
    block = np.repeat(q, length)[:n]
    inside = np.arange(n) - np.concatenate([[0], np.cumsum(length)])[block]
    return Stream.reads((start[block] + inside) * unit)


@_pattern("bursty")
def _bursty(space: AddressSpace, n: int, parameters: Parameters) -> Stream:
    i = np.arange(n)
    stream = _gather_blocks(space, n, 16, _whole(parameters, "seed"))
    gap = math.ceil(parameters["gap_ns"] / space.clock_ns)
    return Stream(stream.address_bytes, stream.is_write, i // _positive(parameters, "burst") * gap)
