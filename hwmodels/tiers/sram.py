"""Banked on-chip memory; energies and area follow from capacity, node and cell unless its file gives them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, ClassVar, Literal

from hwmodels.reading.cited import CITE_PLAIN, Cited
from hwmodels.reading.documents import Document, in_order
from hwmodels.reading.errors import InputError
from hwmodels.tiers.base import Citations, ServedTier
from hwmodels.tiers.given import (
    COMMON_FIELDS,
    GivenArea,
    GivenBytes,
    GivenCount,
    GivenHertz,
    GivenJoulesPerBit,
    GivenNumber,
    GivenWatts,
    TierSection,
    plain_fields,
)
from hwmodels.tiers.kinds import TierKind, register_tier_kind
from hwmodels.tiers.sram_energy import (
    Cell,
    SramEnergy,
    sram_area_mm2,
    sram_leakage_w,
    sram_read_j_per_bit,
    sram_sources,
)


@dataclass(frozen=True)
class SramTier(ServedTier):
    """Banked on-chip memory.

    Parameters
    ----------
    capacity_each_bytes
        Bytes of one macro.
    count
        Macros with ports of their own.
    banks, ports
        Banks of a macro, and accesses a bank can serve per cycle.
    width_bytes
        Word of a bank; consecutive words lie in consecutive banks.
    lanes
        Words the macro's interface moves per cycle.
    latency_cycles
        From the access of a word to its data.
    buffers
        2: double buffering, each half has half of the banks and of the capacity.
    node_nm, cell
        Process and kind of cell.
    """

    name: str
    summary: str
    capacity_each_bytes: int
    count: int
    banks: int
    ports: int
    width_bytes: int
    lanes: int
    latency_cycles: int
    clock_hz: float
    buffers: int
    node_nm: float
    cell: Cell
    energy: SramEnergy
    area_each_mm2: float | None = None
    citations: Citations = ()
    kind: ClassVar[str] = "sram"
    device_word: ClassVar[str] = "macros"

    @property
    def capacity_bytes(self) -> int:
        """Bytes of all macros."""
        return self.capacity_each_bytes * self.count

    @property
    def peak_bytes_per_second(self) -> float:
        """Rate of all interfaces without bank conflicts."""
        return self.count * self.lanes * self.width_bytes * self.clock_hz

    @property
    def streamed_j_per_bit(self) -> float:
        """Energy of a bit read at full rate, leakage included."""
        return self.energy.read_j_per_bit + self.count * self.energy.leakage_w / (8 * self.peak_bytes_per_second)

    @property
    def read_latency_s(self) -> float:
        """One word of an idle bank."""
        return self.latency_cycles / self.clock_hz

    @property
    def own_clock_hz(self) -> float:
        """Clock of the macros."""
        return self.clock_hz

    @property
    def working_sets(self) -> int:
        """Buffers of a macro."""
        return self.buffers

    def served(self, clock_hz: float) -> dict[str, int | Fraction]:
        """One macro, in cycles of the tier's own clock."""
        return {
            "capacity_bytes": self.capacity_each_bytes,
            "banks": self.banks,
            "ports": self.ports,
            "width_bytes": self.width_bytes,
            "lanes": self.lanes,
            # the data of a word is there in its last cycle
            "latency_cycles": self.latency_cycles - 1,
            "buffers": self.buffers,
        }

    @property
    def simulated_devices(self) -> int:
        """Each macro has addresses of its own."""
        return 1

    @property
    def address_unit_bytes(self) -> int:
        """A word."""
        return self.width_bytes

    @property
    def slot_bytes(self) -> int:
        """Bytes of all lanes of a macro."""
        return self.lanes * self.width_bytes

    def slot_s(self, *, reads: bool) -> float:
        """One cycle."""
        return 1 / self.clock_hz


class SramTierText(TierSection):
    """A tier of SRAM; `read` and `write` energies and area follow from capacity, node and cell unless given."""

    kind: Literal["sram"]
    capacity: GivenBytes
    count: GivenCount = Cited[int](value=1, assumption=True, note="one macro")
    banks: GivenCount
    ports: GivenCount
    width: GivenBytes
    lanes: GivenCount | None = None
    latency_cycles: GivenCount
    clock: GivenHertz
    buffers: GivenCount = Cited[int](value=1, assumption=True, note="one working set")
    node_nm: GivenNumber
    cell: Annotated[Cited[Cell], CITE_PLAIN]
    read: GivenJoulesPerBit | None = None
    write: GivenJoulesPerBit | None = None
    leakage: GivenWatts | None = None
    area: GivenArea | None = None


_SRAM_FIELDS = COMMON_FIELDS | {
    "banks": "banks",
    "ports": "ports",
    "width": "width_bytes",
    "lanes": "lanes",
    "latency_cycles": "latency_cycles",
    "clock": "clock_hz",
    "buffers": "buffers",
    "node_nm": "node_nm",
    "cell": "cell",
}
_SRAM_ENERGIES = {
    "read": "energy.read_j_per_bit",
    "write": "energy.write_j_per_bit",
    "leakage": "energy.leakage_w",
}


def _build(text: SramTierText, document: Document) -> SramTier:
    capacity, node, cell = text.capacity.value, text.node_nm.value, text.cell.value
    problems = []
    if text.banks.value % text.buffers.value:
        message = f"{text.banks.value} banks cannot be shared by {text.buffers.value} buffers"
        problems.append(document.problem(("buffers",), message))
    if capacity % (text.banks.value * text.width.value):
        message = f"{capacity:g} bytes are no whole number of {text.width.value:g}-byte words in every bank"
        problems.append(document.problem(("capacity",), message))
    try:
        read = text.read.value if text.read else sram_read_j_per_bit(capacity, node, cell)
        leakage = text.leakage.value if text.leakage else sram_leakage_w(capacity, node, cell)
        area = text.area.value if text.area else sram_area_mm2(capacity, node)
    except InputError as error:
        problems += [document.problem((p.field or "node_nm",), p.message, p.hint) for p in error.problems]
    if problems:
        raise InputError(in_order(problems))
    sources = sram_sources(node, cell)
    cited = {"energy.read_j_per_bit": sources["read"], "energy.write_j_per_bit": f"as reads; {sources['read']}"}
    cited |= {"energy.leakage_w": sources["leakage"], "area_each_mm2": sources["area"]}
    plain = plain_fields(text, _SRAM_FIELDS, _SRAM_ENERGIES)
    own = dict(plain.pop("citations"))
    width = plain["width_bytes"]
    # a write swings the bit lines of a word just as a read does
    energy = SramEnergy(read, text.write.value if text.write else read, leakage, width)
    return SramTier(
        **{"lanes": text.banks.value * text.ports.value, "area_each_mm2": area, **plain},
        energy=energy,
        citations=tuple({"lanes": "all ports of all banks", **cited, **own}.items()),
    )


register_tier_kind(TierKind("sram", SramTierText, _build))
