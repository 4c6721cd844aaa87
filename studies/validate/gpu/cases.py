"""Files of measured GPU kernels: public collections, and the records that ``attnflow measure`` writes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from algorithms.workload.shape import DTYPE_BYTES, Workload
from hwmodels.chips.accelerator import Accelerator, load_accelerator
from hwmodels.reading.errors import InputError
from studies.validate.case_files import load_case_file

Given = int | float | str | bool | None

FORMATS = {
    "fp64": "float64",
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "fp8": "float8_e4m3",
    "fp8_e4m3": "float8_e4m3",
    "e4m3": "float8_e4m3",
    "int8": "int8",
}
"""Names of number formats in such files."""


class UnsupportedPointError(Exception):
    """A point that the project cannot predict; the message says why."""


class GpuPoint(BaseModel):
    """One measured kernel; fields that are not needed here are ignored."""

    model_config = ConfigDict(extra="allow", frozen=True)

    id: str
    kind: str
    kernel: str = ""
    hw: str = ""
    dtype: str = "fp16"
    shape: dict[str, Given] = {}
    flops: float | None = None
    bytes_min: float | None = None
    exps: float | None = None
    latency_us: float | None = None
    gbps_reported: float | None = None
    confidence: str = "A"
    split: Literal["calibrate", "validate"] = "validate"
    conditions: str = ""

    @property
    def measured_us(self) -> float:
        """The measured time, or what follows from a measured bandwidth; raises UnsupportedPointError without either."""
        if self.latency_us is not None and self.latency_us > 0:
            return self.latency_us
        if self.kind == "membench" and self.gbps_reported:
            return self.size("bytes") / self.gbps_reported / 1e3
        raise UnsupportedPointError("no time was measured")

    @property
    def number_format(self) -> str:
        """Storage format of the operands, a key of `DTYPE_BYTES`.

        Raises
        ------
        UnsupportedPointError
            An unknown one.
        """
        first = re.split(r"[/ (]|->", self.dtype.strip().casefold())[0]
        found = FORMATS.get(first, first)
        if found not in DTYPE_BYTES:
            raise UnsupportedPointError(f"number format {self.dtype!r} is not modelled")
        return found

    @property
    def locked_clock_hz(self) -> float | None:
        """The clock that the point's conditions say the cores were locked to."""
        found = re.search(r"locked (?:at |to )?(\d+(?:\.\d+)?) ?MHz", self.conditions)
        return float(found.group(1)) * 1e6 if found else None

    def chip(self) -> Accelerator:
        """What it was measured on; raises UnsupportedPointError for a chip without a preset."""
        try:
            return load_accelerator(re.sub(r"[ -]", "_", self.hw.removeprefix("NVIDIA ")))
        except InputError:
            raise UnsupportedPointError(f"there is no chip preset for {self.hw!r}") from None

    def size(self, *names: str, default: int | None = None) -> int:
        """The whole number that the shape gives under one of ``names``; raises UnsupportedPointError without any."""
        folded = {name.casefold(): value for name, value in self.shape.items()}
        for name in names:
            value = folded.get(name.casefold())
            if isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
                return int(value)
        if default is None:
            raise UnsupportedPointError(f"the shape does not give {' or '.join(names)}")
        return default

    def workload(self) -> Workload:
        """The attention it computes; raises UnsupportedPointError for a shape that is not one."""
        if self.shape.get("varlen"):
            raise UnsupportedPointError("sequence lengths differ and are not given")
        try:
            return Workload(
                name=self.id,
                phase="prefill" if self.kind.startswith("prefill") else "decode",
                batch=self.size("B", default=1),
                heads=self.size("Hq", "H"),
                kv_heads=self.size("Hkv", "Hq", "H"),
                q_len=self.size("Sq", "S"),
                kv_len=self.size("Skv", "S"),
                head_dim=self.size("D"),
                v_head_dim=self.size("Dv", default=0),
                mask="causal" if self.shape.get("causal") else "full",
                dtype=self.number_format,
            )
        except InputError as error:
            raise UnsupportedPointError("; ".join(str(error).splitlines())) from None


class GpuFile(BaseModel):
    """A file of points."""

    model_config = ConfigDict(extra="allow", frozen=True)

    points: tuple[GpuPoint, ...]


def load_points(path: Path) -> tuple[GpuPoint, ...]:
    """All points of the JSON file at `path`; raises InputError if it cannot be used."""
    return load_case_file(path, GpuFile).points
