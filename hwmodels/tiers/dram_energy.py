"""Energy of a DRAM tier: activations, bits, refreshes, background.

    E = activations * e_activate + bits * (e_array + e_tsv + e_io + e_phy) + refreshes * e_refresh + P_background * t

The split of the energy of a bit follows O'Connor et al., "Fine-grained DRAM", MICRO 2017. Where only the supply
currents of a device are known, the terms follow from them as in DRAMsim3 (Li et al., IEEE CAL 2020), whose products
of volts, milliamperes and cycles are turned into joules here.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.standards.standard import DramOrganisation, DramTiming


@dataclass(frozen=True)
class DramEnergy:
    """Energies of one tier; all in joules, joules per bit, watts.

    Parameters
    ----------
    activate_j
        Opening and closing one row.
    read_j_per_bit, write_j_per_bit
        Array to the edge of the bank and device.
    tsv_j_per_bit, io_j_per_bit, phy_j_per_bit
        To the base die, over the interface, and in the host's interface circuit.
    refresh_j
        One all-bank refresh of a rank.
    background_w
        Standby of one channel.
    """

    activate_j: float
    read_j_per_bit: float
    write_j_per_bit: float
    tsv_j_per_bit: float = 0.0
    io_j_per_bit: float = 0.0
    phy_j_per_bit: float = 0.0
    refresh_j: float = 0.0
    background_w: float = 0.0

    def used(
        self, *, activations: float, read_bits: float, write_bits: float, refreshes: float, channel_seconds: float
    ) -> dict[str, float]:
        """Joules by component.

        Parameters
        ----------
        activations, read_bits, write_bits
            Counts over all channels.
        refreshes
            All-bank refreshes of one rank each; a per-bank refresh counts as its share of one.
        channel_seconds
            Time multiplied by channels.
        """
        bits = read_bits + write_bits
        return {
            "activate": activations * self.activate_j,
            "array": read_bits * self.read_j_per_bit + write_bits * self.write_j_per_bit,
            "tsv": bits * self.tsv_j_per_bit,
            "io": bits * self.io_j_per_bit,
            "phy": bits * self.phy_j_per_bit,
            "refresh": refreshes * self.refresh_j,
            "background": channel_seconds * self.background_w,
        }


@dataclass(frozen=True)
class SupplyCurrents:
    """Currents of one DRAM device (JEDEC IDD loops), in amperes, and the supply in volts."""

    vdd_v: float
    idd0_a: float
    idd2n_a: float
    idd3n_a: float
    idd4r_a: float
    idd4w_a: float
    idd5ab_a: float

    def energy(
        self, organisation: DramOrganisation, timing: DramTiming, clock_s: float, devices: int, **per_bit: float
    ) -> DramEnergy:
        """Energies of a channel whose ranks have `devices` devices; `per_bit` gives tsv, io and phy.

        Activation and restore without the standby they interrupt; bursts and refreshes above active standby;
        background is active standby, the upper of the two standby levels.
        """
        scale = self.vdd_v * clock_s * devices
        row = self.idd0_a * timing.rc - self.idd3n_a * timing.ras - self.idd2n_a * (timing.rc - timing.ras)
        bits = 8 * organisation.transaction_bytes
        return DramEnergy(
            activate_j=scale * row,
            read_j_per_bit=scale * (self.idd4r_a - self.idd3n_a) * timing.burst / bits,
            write_j_per_bit=scale * (self.idd4w_a - self.idd3n_a) * timing.burst / bits,
            refresh_j=scale * (self.idd5ab_a - self.idd3n_a) * timing.rfc,
            background_w=self.vdd_v * self.idd3n_a * devices * organisation.ranks,
            **per_bit,
        )
