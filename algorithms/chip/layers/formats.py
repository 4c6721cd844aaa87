"""Number formats of weights: bits in memory, scales beside them, and what it costs to hand them to a product.

A product runs in the format of its activations where the array has no products of the weight's own format; weights are
then converted element by element on their way, by every work item that reads them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from algorithms.rounding import ceil_div
from algorithms.workload.shape import BITS, DTYPE_BYTES, FloatArray
from hwmodels.chips.accelerator import Accelerator
from hwmodels.reading.errors import InputError, Problem, did_you_mean

UNSCALED_BITS = 16
"""Formats of so many bits and more have no scales."""


@dataclass(frozen=True)
class WeightFormat:
    """How weights lie in memory.

    Parameters
    ----------
    name
        ``bfloat16``, ``float8``, ``int8``, ``int4``, ``nvfp4``, ``mxfp4``, ``ternary``...
    bits
        Bits of an element.
    group, group_rows
        Elements that share a scale along the depth of a product (0: all), and outputs that share it.
    scale_bits
        Bits of a scale; 0 where there is none.
    operand
        Format of the product where the array has one for it; None: there is none, weights are converted.
    operations, lookups
        Vector operations to convert an element to 16 bits, and operations of the unit that evaluates exponentials and
        converts integers to floats (XU of NVIDIA's cores).
    source
        Where sizes and operations are from.
    """

    name: str
    bits: float
    group: int = 0
    group_rows: int = 1
    scale_bits: int = 0
    operand: str | None = None
    operations: float = 0.0
    lookups: float = 0.0
    source: str = ""

    def matrix_bytes(self, outputs: int, inputs: int) -> int:
        """Of a matrix with all of its scales."""
        elements = ceil_div(outputs * inputs * self.tenth_bits, 10 * BITS)
        scales = ceil_div(outputs, self.group_rows) * (ceil_div(inputs, self.group) if self.group else 1)
        return elements + ceil_div(scales * self.scale_bits, BITS)

    @property
    def tenth_bits(self) -> int:
        """Of an element, in tenths of a bit: whole for every format, so that sizes are exact."""
        return round(10 * self.bits)

    def runs_as(self, activations: str, chip: Accelerator) -> tuple[str, bool]:
        """The format in which a product with ``activations`` runs on ``chip``, and whether weights are converted to it.

        Raises
        ------
        InputError
            Activations that the chip has no products of, nor of anything wider.
        """
        if (
            self.operand is not None
            and self.operand in chip.core.matrix_flops_per_cycle
            and self.operand == activations
        ):
            return self.operand, False
        if self.name == activations:
            return chip.core.matrix_format(activations), False
        return chip.core.matrix_format(activations), True


_CONVERSION = "an instruction to take apart or convert, and one multiply-add with the scale, per pair of elements"
FORMATS = {
    weights.name: weights
    for weights in (
        WeightFormat("float32", 32, source="IEEE 754"),
        WeightFormat("float16", 16, operand="float16", source="IEEE 754"),
        WeightFormat("bfloat16", 16, operand="bfloat16", source="brain floating point"),
        WeightFormat(
            "float8",
            8,
            scale_bits=32,
            operand="float8_e4m3",
            operations=1.0,
            source=f"OCP FP8, one float32 scale per output; {_CONVERSION}",
        ),
        WeightFormat(
            "float8_block",
            8,
            group=128,
            group_rows=128,
            scale_bits=32,
            operand="float8_e4m3",
            operations=1.0,
            source="a float32 scale for 128 x 128 weights (DeepSeek-V3, arXiv:2412.19437, section 3.3.2); "
            f"{_CONVERSION}",
        ),
        WeightFormat(
            "int8",
            8,
            scale_bits=16,
            operand="int8",
            operations=2.0,
            lookups=1.0,
            source="one 16-bit scale per output; a byte is taken out, converted (I2F), rounded to 16 bits, as Triton "
            "compiles gpt-fast's weight.to(dtype) (quantize.py, WeightOnlyInt8Linear)",
        ),
        WeightFormat(
            "int4",
            4,
            group=128,
            scale_bits=16,
            operations=1.5,
            source="16-bit scales for 128 elements (GPTQ, AWQ); a pair by two lop3 and a fused multiply-add in half2 "
            "(Marlin, arXiv:2408.11743, section 3.4)",
        ),
        WeightFormat(
            "nvfp4",
            4,
            group=16,
            scale_bits=8,
            operand="float4_e2m1",
            operations=1.5,
            source="float8 scales for 16 elements (NVIDIA NVFP4); conversion as int4's",
        ),
        WeightFormat(
            "mxfp4",
            4,
            group=32,
            scale_bits=8,
            operand="float4_e2m1",
            operations=1.5,
            source="OCP microscaling formats 1.0: 8-bit scales for 32 elements; conversion as int4's",
        ),
        WeightFormat(
            "ternary",
            1.6,
            scale_bits=16,
            operations=2.0,
            source="five in a byte (TL2 of BitNet.cpp, arXiv:2502.11880); a table lookup and a multiply",
        ),
    )
}
"""By name."""
ALIASES = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "fp32": "float32",
    "fp8": "float8",
    "float8_e4m3": "float8",
    "fp8_block": "float8_block",
    "fp4": "nvfp4",
}


def weight_format(name: str) -> WeightFormat:
    """The format called ``name``.

    Raises
    ------
    InputError
        If there is none, with the nearest name.
    """
    known = ALIASES.get(name, name)
    if known not in FORMATS:
        raise InputError(Problem(f"unknown weight format {name!r}", field="weights", hint=did_you_mean(name, FORMATS)))
    return FORMATS[known]


def activation_format(name: str) -> str:
    """A format of activations by its long name.

    Raises
    ------
    InputError
        If there is none.
    """
    eight = ("fp8", "float8", "float8_e4m3")
    known = "float8_e4m3" if name in eight else ALIASES.get(name, name)
    if known not in DTYPE_BYTES:
        raise InputError(
            Problem(
                f"unknown format of activations {name!r}", field="activations", hint=did_you_mean(name, DTYPE_BYTES)
            )
        )
    return known


def rounded(weights: FloatArray, form: WeightFormat) -> FloatArray:
    """``weights`` `(outputs, inputs)` as they are after a way through a format, in float64.

    The largest of a group stands at the end of the format's range; ternary weights are scaled by the mean magnitude
    instead (BitNet b1.58, arXiv:2402.17764, equation 1). Scales themselves are not rounded.
    """
    if form.bits >= UNSCALED_BITS:
        return _significant(weights, {"float32": 24, "float16": 11, "bfloat16": 8}[form.name])
    outputs, inputs = weights.shape
    rows, columns = form.group_rows, form.group or inputs
    padded = np.zeros((-(-outputs // rows) * rows, -(-inputs // columns) * columns))
    padded[:outputs, :inputs] = weights
    groups = padded.reshape(len(padded) // rows, rows, -1, columns)
    grid = _GRIDS[form.name]
    if form.name == "ternary":
        scale = np.sum(np.abs(groups), axis=(1, 3), keepdims=True) / (rows * columns)
    else:
        scale = np.max(np.abs(groups), axis=(1, 3), keepdims=True) / grid[-1]
    scale = np.where(scale > 0, scale, 1.0)
    return np.asarray((_nearest(groups / scale, grid) * scale).reshape(padded.shape)[:outputs, :inputs])


def _significant(values: FloatArray, bits: int) -> FloatArray:
    """Nearest numbers with so many significant bits, ties to even; exponents are not bounded."""
    fraction, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits), np.float64)


def _nearest(values: FloatArray, grid: FloatArray) -> FloatArray:
    """The number of ``grid`` (ascending from 0) nearest to each magnitude, with its sign; ties to even places."""
    between = (grid[1:] + grid[:-1]) / 2
    below = np.searchsorted(between, np.abs(values), side="left")
    above = np.searchsorted(between, np.abs(values), side="right")
    place = np.where(below % 2 == 0, below, above)
    return np.asarray(np.copysign(grid[place], values))


def _floats(exponent_bits: int, fraction_bits: int, largest: float) -> FloatArray:
    """All numbers of a small float format that are not negative."""
    bias = 2 ** (exponent_bits - 1) - 1
    codes = np.arange(2 ** (exponent_bits + fraction_bits))
    exponent, fraction = codes >> fraction_bits, codes % 2**fraction_bits / 2**fraction_bits
    values = np.where(exponent == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * 2.0 ** (exponent - bias))
    return np.asarray(values[values <= largest])


_E4M3, _E2M1 = _floats(4, 3, 448.0), _floats(2, 1, 6.0)
_GRIDS: dict[str, FloatArray] = {
    "float8": _E4M3,
    "float8_block": _E4M3,
    "int8": np.arange(128.0),
    "int4": np.arange(8.0),
    "nvfp4": _E2M1,
    "mxfp4": _E2M1,
    "ternary": np.arange(2.0),
}
"""Magnitudes that formats have."""
