"""The table of memory technologies outside of a chip: what a unit of each, a stack, a channel or a device, is."""

from __future__ import annotations

from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hwmodels.reading.cited import Cited
from hwmodels.reading.documents import read_text
from hwmodels.reading.quantity import Bytes, BytesPerSecond, SquareMillimetres, Watts
from hwmodels.tiers.dram import DramTier
from hwmodels.tiers.text import load_tier

FILE = "memory_interfaces.yaml"
BITS = 8


class InterfaceText(BaseModel):
    """A technology of ``memory_interfaces.yaml``; all numbers are of one unit, see the comments of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    unit: str
    width: Cited[Bytes]
    pin_rate: Cited[BytesPerSecond]
    phy: Cited[SquareMillimetres]
    controller_transistors: Cited[float]
    phy_idle: Cited[Watts]
    device: str | None = None
    idle: Cited[Watts] | None = None
    counted_by: tuple[str, ...] = Field(strict=False)
    in_energy: Cited[bool]

    @model_validator(mode="after")
    def _idles_in_one_way(self) -> InterfaceText:
        if (self.device is None) == (self.idle is None):
            raise ValueError("needs either a device or its idle power")
        return self

    @property
    def bytes_per_second(self) -> float:
        """Rate of all pins of a unit at the technology's rate per pin."""
        return self.width.value * BITS * self.pin_rate.value

    @property
    def device_idle_w(self) -> float:
        """Standby and refresh of the memory behind a unit."""
        return _tier_idle_w(self.device) if self.idle is None else self.idle.value

    @property
    def idle_w(self) -> float:
        """Memory and PHY of a unit."""
        return self.device_idle_w + self.phy_idle.value


class InterfacesText(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rounding: Cited[float]
    technologies: dict[str, InterfaceText]


@cache
def interface_tables() -> InterfacesText:
    """The shipped table."""
    text = (resources.files("hwmodels.chips") / FILE).read_text(encoding="utf-8")
    return read_text(text, FILE).validate(InterfacesText)


@cache
def _tier_idle_w(name: str) -> float:
    tier = load_tier(name)
    if not isinstance(tier, DramTier):
        raise TypeError(f"{FILE}: {name} is no DRAM")
    return tier.idle_w
