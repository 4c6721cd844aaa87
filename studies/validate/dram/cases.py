"""Files of DRAM reference results: configurations of other simulators, patterns and what they measured."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from studies.validate.case_files import load_case_file

Number = int | float


class _Lenient(BaseModel):
    """A part of the file; fields that nobody needs are let through."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class DramConfig(_Lenient):
    """One configuration of a simulator, in its own terms.

    DRAMsim3 configurations have `dram_structure`, `timing` and `system` (the sections of its ini files, as text);
    those of Ramulator have `organization`, `timing_in_ticks`, controller and buffers.
    """

    simulator: str
    tx_bytes: int = Field(ge=1)
    channels: int = Field(default=1, ge=1)
    capacity_bytes: int = Field(ge=1)
    address_fields_lsb_to_msb: list[tuple[str, int]]
    dram_structure: dict[str, Number | str] = {}
    timing: dict[str, Number | str] = {}
    system: dict[str, Number | str] = {}
    organization: dict[str, Number | str] = {}
    timing_in_ticks: dict[str, Number | str] = {}
    internal_prefetch: int = Field(default=8, ge=1)
    tick_multiplier: int = Field(default=1, ge=1)
    controller: str = ""
    scheduler: str = ""
    row_policy: str = "Open"
    refresh_manager: str = "AllBank"
    addr_mapper: str = ""
    read_buffer: int = Field(default=32, ge=1)
    write_buffer: int = Field(default=32, ge=1)
    wr_low_watermark: float = 0.2
    wr_high_watermark: float = 0.8


class DramCase(_Lenient):
    """One run of a simulator."""

    config: str
    pattern: str
    generator: str = ""
    params: dict[str, Number | str | None] = {}
    n: int = Field(ge=1)
    mode: Literal["perch", "inorder"] = "perch"
    width: int = Field(default=2, ge=1)
    refresh: bool = True
    cycles: int = Field(ge=1)
    bw_gbs: float = Field(gt=0)
    avg_read_lat_ns: float = Field(ge=0)
    tick_ns: float | None = Field(default=None, gt=0)
    n_act: int | None = None

    @property
    def seeded(self) -> bool:
        """Whether the addresses depend on a random seed."""
        return "seed" in self.params

    def name(self) -> str:
        """Configuration, pattern and front end in one text."""
        refresh = "" if self.refresh else "/no_refresh"
        return f"{self.config}/{self.pattern}/{self.mode}{self.width}{refresh}"


class DramCases(_Lenient):
    """The whole file."""

    configs: dict[str, DramConfig]
    results: list[DramCase]


def load_dram_cases(path: Path) -> DramCases:
    """The file at `path`; raises InputError if it cannot be used."""
    return load_case_file(path, DramCases)
