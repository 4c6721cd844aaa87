"""A fingerprint of every start time and stall cause that can be computed without storing them.

Per unit, two 64-bit polynomial hashes run over the pairs (start minus previous start, cause). Because they depend on
differences only, a repeated stretch of the schedule acts on a hash as one affine map, h -> h * M**n + C, and k
repetitions are composed in O(log k): the fingerprint of a run with skipped periods is *the same number* as that of the
full run. The schedule digest is the SHA-256 over the fingerprints of all units in order.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from simulator.firing import IntArray
from simulator.servers.kernel import Words, inlined, kernel

MULTIPLIER_LOW = np.uint64(0x9E3779B97F4A7C15)
MULTIPLIER_HIGH = np.uint64(0xD6E8FEB86659FD93)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_Hashes = npt.NDArray[np.uint64]
_CAUSE_SHIFT = np.uint64(16)  # more causes than any unit has ports


@inlined
def mix(delta: int, cause: int) -> np.uint64:
    """Spread one (delta, cause) pair over 64 bits."""
    x = (np.uint64(delta) << _CAUSE_SHIFT) + np.uint64(cause) + np.uint64(1)
    x = (x ^ (x >> np.uint64(30))) * _MIX
    return x ^ (x >> np.uint64(31))


@kernel
def power(base: np.uint64, exponent: int) -> np.uint64:
    """``base ** exponent`` modulo 2^64."""
    result = np.uint64(1)
    while exponent > 0:
        if exponent & 1:
            result = result * base
        base = base * base
        exponent >>= 1
    return result


@kernel
def repeat_affine(value: np.uint64, scale: np.uint64, shift: np.uint64, times: int) -> np.uint64:
    """Apply ``h -> h * scale + shift`` to ``value`` ``times`` times, modulo 2^64, in O(log times)."""
    while times > 0:
        if times & 1:
            value = value * scale + shift
        shift = shift * scale + shift
        scale = scale * scale
        times >>= 1
    return value


@kernel
def fingerprint(deltas: Words, causes: Words) -> tuple[np.uint64, np.uint64]:
    """Both hashes of a recorded schedule of one unit (arrays of equal length)."""
    low = np.uint64(0)
    high = np.uint64(0)
    for i in range(deltas.shape[0]):
        x = mix(deltas[i], causes[i])
        low = low * MULTIPLIER_LOW + x
        high = high * MULTIPLIER_HIGH + x
    return low, high


@kernel
def extend_by_rows(hashes: _Hashes, runs: IntArray, work: _Hashes, rows: int) -> None:
    """Extend both hashes of a unit by rows that grow: shape of ``runs`` is ``(runs, 5)``.

    A run is its firings and what they grow by from row to row, its delta and what that grows by, its cause. Powers of
    the multipliers for a run follow from those of the row before; ``work``, shape ``(runs, 9)``, holds them.
    """
    for run in range(runs.shape[0]):
        for which in range(2):
            base = MULTIPLIER_LOW if which == 0 else MULTIPLIER_HIGH
            for part in range(2):
                count = runs[run, part]
                work[run, 4 * which + 2 * part] = power(base, count)
                work[run, 4 * which + 2 * part + 1] = repeat_affine(np.uint64(0), base, np.uint64(1), count)
        work[run, 8] = mix(runs[run, 2], runs[run, 4])
    low, high = hashes[0], hashes[1]
    for row in range(rows):
        for run in range(runs.shape[0]):
            x = work[run, 8]
            if runs[run, 3] != 0:
                x = mix(runs[run, 2] + row * runs[run, 3], runs[run, 4])
            low = low * work[run, 0] + x * work[run, 1]
            high = high * work[run, 4] + x * work[run, 5]
            if runs[run, 1] != 0:
                work[run, 0] *= work[run, 2]
                work[run, 1] = work[run, 1] * work[run, 2] + work[run, 3]
                work[run, 4] *= work[run, 6]
                work[run, 5] = work[run, 5] * work[run, 6] + work[run, 7]
    hashes[0], hashes[1] = low, high


def digest(names: list[str], low: list[int], high: list[int]) -> str:
    """SHA-256 (hex) over the fingerprints of all units, in graph order, with their names."""
    sha = hashlib.sha256()
    for name, first, second in zip(names, low, high, strict=True):
        sha.update(f"{name}:{first:016x}{second:016x};".encode())
    return sha.hexdigest()
