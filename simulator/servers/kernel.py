"""Compilation of service kernels.

A service kernel neither allocates nor keeps arrays: it works on vectors that its caller owns. Reference counting is
therefore switched off for it; with counting, three quarters of a DRAM channel's run time went into the counters of the
arrays handed from one small function to the next.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from simulator.firing import IntArray

kernel = njit(cache=True, _nrt=False)  # type: ignore[call-overload]  # an option that numba documents but does not type

_DE_BRUIJN = 0x03F79D71B4CB0A89


def _bit_positions() -> IntArray:
    positions = np.zeros(64, dtype=np.int64)
    for bit in range(64):
        positions[((_DE_BRUIJN << bit) & 0xFFFFFFFFFFFFFFFF) >> 58] = bit
    return positions


_POSITIONS = _bit_positions()


@kernel
def lowest_bit(mask: int) -> int:
    """Index of the lowest set bit of a mask that is not 0.

    The isolated bit times a de Bruijn sequence has a different top six bits for every position.
    """
    return _POSITIONS[(((mask & -mask) * _DE_BRUIJN) >> 58) & 63]
