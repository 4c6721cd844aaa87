"""One core of a chip: matrix array, vector lanes, exp unit, registers and local memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hwmodels.reading.errors import InputError, Problem, did_you_mean

FORMAT_BITS: dict[str, int] = {
    "float64": 64,
    "float32": 32,
    "tfloat32": 32,
    "float16": 16,
    "bfloat16": 16,
    "int16": 16,
    "float8_e4m3": 8,
    "int8": 8,
    "float4_e2m1": 4,
    "int4": 4,
}
"""Storage width of one operand by number format."""

_CONVERTED_TO: dict[str, tuple[str, ...]] = {
    "float16": ("bfloat16", "float32"),
    "bfloat16": ("float16", "float32"),
    "float8_e4m3": ("float16", "bfloat16", "float32"),
    "int8": ("float16", "bfloat16", "int16", "float32"),
    "float4_e2m1": ("float8_e4m3", "float16", "bfloat16", "float32"),
    "int4": ("int8", "float16", "bfloat16", "int16", "float32"),
    "int16": ("float32",),
    "tfloat32": ("float32",),
    "float32": ("tfloat32",),
    "float64": (),
}
"""Formats that can stand in for one that a core lacks, best first: same width, then wider."""


@dataclass(frozen=True)
class Rates(Mapping[str, float]):
    """A value per number format, as a mapping that can be hashed and pickled.

    Parameters
    ----------
    pairs
        (format, value), formats sorted.
    """

    pairs: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, float] | Iterable[tuple[str, float]]) -> Rates:
        """From any mapping."""
        return cls(tuple(sorted(dict(values).items())))

    def __getitem__(self, key: str) -> float:
        for name, value in self.pairs:
            if name == key:
                return value
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(frozen=True)
class Core:
    """Rates and memories of one core. A GPU's core is its SM or CU; a TPU's its TensorCore.

    Parameters
    ----------
    matrix_flops_per_cycle
        Dense matrix products, 2 FLOP per multiply-add, by operand format.
    matrix_rows, matrix_columns, matrix_depth
        Granularity: a product is padded to multiples of these before it is issued.
    vector_flops_per_cycle
        Elementwise float32; a fused multiply-add counts 2.
    exp_per_cycle
        Exponentials.
    sram_bytes
        Local memory that a kernel can use.
    sram_bytes_per_cycle
        Of that memory, reads and writes together.
    register_bytes
        Register file, or accumulators where there is none.
    sram_latency_cycles
        From request to data; None when unknown.
    sram_banks
        Independent macros that make up the local memory: an access pays for one of them.
    accumulator_bytes
        Memory that only holds accumulators of the matrix array (tensor memory of a B200); 0 when there is none.
    """

    matrix_flops_per_cycle: Rates
    matrix_rows: int
    matrix_columns: int
    matrix_depth: int
    vector_flops_per_cycle: float
    exp_per_cycle: float
    sram_bytes: float
    sram_bytes_per_cycle: float
    register_bytes: float
    sram_latency_cycles: float | None = None
    sram_banks: int = 1
    accumulator_bytes: float = 0.0

    def matrix_format(self, operand_format: str) -> str:
        """The format in which products of `operand_format` operands run.

        The format itself where the array has it; else one of the same width, else a wider one, to which operands are
        converted on the way (an A100 multiplies FP8 caches in FP16).

        Raises
        ------
        InputError
            An unknown format, or one that nothing of this core can stand in for.
        """
        if operand_format not in FORMAT_BITS:
            hint = did_you_mean(operand_format, FORMAT_BITS)
            raise InputError(Problem(f"unknown number format {operand_format!r}", hint=hint))
        for candidate in (operand_format, *_CONVERTED_TO[operand_format]):
            if candidate in self.matrix_flops_per_cycle:
                return candidate
        known = ", ".join(self.matrix_flops_per_cycle)
        raise InputError(Problem(f"the matrix array has no {operand_format} nor a wider format (it has {known})"))

    def matrix_rate(self, operand_format: str) -> float:
        """FLOP per cycle of products of `operand_format` operands; raises what `matrix_format` raises."""
        return self.matrix_flops_per_cycle[self.matrix_format(operand_format)]
