"""Number formats of kernels, emulated on float64 arrays: sizes in bytes and round-to-nearest-even."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

DTYPE_BYTES: dict[str, int] = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
"""Storage size of one element by format name."""


def round_to(values: ArrayLike, dtype: str) -> NDArray[np.float64]:
    """The nearest value of `dtype` to each entry, returned as float64.

    Every value of each format is exactly representable in float64, so an oracle run on the result sees
    precisely what a kernel of that format loads.

    Raises
    ------
    ValueError
        An unknown format.
    """
    wide = np.asarray(values, dtype=np.float64)
    if dtype == "bfloat16":
        return _round_to_bfloat16(wide)
    if dtype not in DTYPE_BYTES:
        raise ValueError(f"unknown dtype {dtype!r}: choose from {', '.join(DTYPE_BYTES)}")
    return wide.astype(dtype).astype(np.float64)


def bfloat16_bits(values: ArrayLike) -> NDArray[np.uint16]:
    """The 16 stored bits of each value rounded to bfloat16 (the upper half of a float32)."""
    rounded = _round_to_bfloat16(np.asarray(values, dtype=np.float64)).astype(np.float32, order="C")
    return np.asarray(rounded.view(np.uint32) >> np.uint32(16), dtype=np.uint16)


def bfloat16_values(bits: NDArray[np.uint16]) -> NDArray[np.float64]:
    """The values stored in bfloat16 bits."""
    wide = np.left_shift(bits.astype(np.uint32, order="C"), np.uint32(16))
    return np.asarray(wide).view(np.float32).astype(np.float64)


def _round_to_bfloat16(wide: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round the 53-bit significand to 8 bits directly, so that no detour over float32 rounds twice."""
    fraction, exponent = np.frexp(wide)
    # Below 2**-126 bfloat16 is subnormal with the fixed spacing 2**-133: fewer bits remain.
    bits = np.clip(exponent + 133, 0, 8)
    rounded = np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits)
    rounded = np.where(exponent < -133, np.copysign(0.0, wide), rounded)
    limit = float(np.ldexp(np.float64(2.0 - 2.0**-7), 127))
    overflowed = np.where(np.abs(rounded) > limit, np.copysign(np.inf, wide), rounded)
    return np.where(np.isfinite(wide), overflowed, wide)
