"""Limits of a memory tier: achieved against peak rate, and where the rest went, cause by cause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hwmodels.reading.cards import html_table
from hwmodels.reading.quantity import format_quantity
from simulator.firing import IntArray
from simulator.servers.dram.tier import LOSS_CAUSES, DramCounters, LossCause

Fidelity = Literal["cycle", "analytic"]

SMALLEST_SHARE = 1e-9
"""Share of the peak below which a loss is rounding."""
Cause = Literal[LossCause, "overhead"]
CAUSES: tuple[Cause, ...] = (*LOSS_CAUSES, "overhead")

MEANINGS: Mapping[Cause, str] = {
    "source": "no request was there",
    "queue": "queues, places for requests under way, planes or banks were taken, or the command slot was",
    "command_spacing": "distance between column commands or activations, bank groups included (tCCD, tRRD)",
    "turnaround": "between reads and writes, or between ranks",
    "faw": "four-activation window (tFAW)",
    "row_cycle": "closing and opening rows (tRP, tRCD, tRC)",
    "refresh": "banks were refreshed",
    "overhead": "protocol, and the rest of the last chunk, sector or word of a request",
}


@dataclass(frozen=True)
class TierReport:
    """How a tier did, and what held it back; clocks are summed over its data buses.

    Parameters
    ----------
    tier : str
    fidelity : {"cycle", "analytic"}
        Simulated bank by bank, or from closed forms.
    peak_bytes_per_second : float
        Rate of all data buses of the tier.
    seconds : float
    bus_clocks, busy_clocks : float
        Clocks of all data buses, and those in which they moved data; whole numbers when simulated.
    lost_clocks : Mapping
        Clocks by cause; with `busy_clocks` they make up `bus_clocks` exactly.
    row_hit_rate : float or None
        Share of column commands that needed no activation of their own; None without rows.
    mean_latency_s : float
        Mean time from the acceptance of a read transaction to its data.
    p99_latency_s : float or None
        Time from first acceptance to last data within which 99 of 100 reads are done; None when unknown.
    simulated_channels, channels : int
        Fewer than `channels` are simulated when one of N channels stands for all.
    energy_j : float or None
        Activations, bits, refresh and background.
    activations : int or None
        Rows that were opened in the simulated channels; None without rows, or from closed forms.
    remark : str
        How far the figures can be trusted.

    Raises
    ------
    ValueError
        The causes do not make up the gap.
    """

    tier: str
    fidelity: Fidelity
    peak_bytes_per_second: float
    seconds: float
    bus_clocks: float
    busy_clocks: float
    lost_clocks: Mapping[Cause, float]
    row_hit_rate: float | None
    mean_latency_s: float
    p99_latency_s: float | None = None
    simulated_channels: int = 1
    channels: int = 1
    energy_j: float | None = None
    activations: int | None = None
    remark: str = ""

    def __post_init__(self) -> None:
        rest = self.bus_clocks - self.busy_clocks - sum(self.lost_clocks.values())
        if abs(rest) > 1e-9 * max(1.0, self.bus_clocks):
            raise ValueError(f"{rest:g} of {self.bus_clocks:g} bus clocks have no cause")

    @classmethod
    def from_counters(
        cls,
        tier: str,
        peak_bytes_per_second: float,
        tick_s: float,
        counters: DramCounters,
        latency_clocks: IntArray | None = None,
        *,
        channels: int = 1,
        simulated_channels: int | None = None,
        energy_j: float | None = None,
    ) -> TierReport:
        """The report of a simulated DRAM tier.

        Parameters
        ----------
        peak_bytes_per_second : float
            Rate of the whole tier.
        tick_s : float
            Length of a clock of the counters.
        latency_clocks : int array, shape ``(reads,)``, optional
            Clocks from acceptance to last data of each read request, for the 99th percentile (nearest rank).
        """
        commands = counters.read_commands + counters.write_commands
        p99 = None
        if latency_clocks is not None and latency_clocks.size:
            p99 = float(np.percentile(latency_clocks, 99, method="higher")) * tick_s
        return cls(
            tier,
            "cycle",
            peak_bytes_per_second,
            counters.clocks * tick_s,
            counters.bus_clocks,
            counters.busy_clocks,
            {cause: counters.lost_clocks[cause] for cause in counters.lost_clocks},
            max(0.0, 1 - counters.activations / commands) if commands else 0.0,
            counters.mean_read_clocks * tick_s,
            p99,
            channels if simulated_channels is None else simulated_channels,
            channels,
            energy_j,
            counters.activations,
        )

    @property
    def achieved_bytes_per_second(self) -> float:
        """Rate at which data moved over the buses."""
        return self.peak_bytes_per_second * self._share(self.busy_clocks)

    @property
    def utilisation(self) -> float:
        """Achieved over peak rate."""
        return self._share(self.busy_clocks)

    @property
    def moved_bytes(self) -> float:
        """Bytes that all channels moved, those that one of N stands for included."""
        return self.achieved_bytes_per_second * self.seconds

    @property
    def lost_shares(self) -> dict[Cause, float]:
        """Share of the peak that each cause cost; `utilisation` and all of them make 1."""
        return {cause: self._share(self.lost_clocks.get(cause, 0)) for cause in CAUSES}

    @property
    def lost_bytes_per_second(self) -> dict[Cause, float]:
        """Rate that each cause cost; achieved plus all of them is the peak."""
        return {cause: self.peak_bytes_per_second * share for cause, share in self.lost_shares.items()}

    @property
    def limiter(self) -> Cause | None:
        """The cause that cost most; None when nothing was lost."""
        worst = max(CAUSES, key=lambda cause: self.lost_clocks.get(cause, 0))
        return worst if self.lost_clocks.get(worst, 0) > 0 else None

    def _share(self, clocks: float) -> float:
        return clocks / self.bus_clocks if self.bus_clocks else 0.0

    def to_dict(self) -> dict[str, str | int | float | dict[str, float] | None]:
        """JSON form."""
        return {
            "tier": self.tier,
            "fidelity": self.fidelity,
            "peak_bytes_per_second": self.peak_bytes_per_second,
            "achieved_bytes_per_second": self.achieved_bytes_per_second,
            "utilisation": self.utilisation,
            "lost_bytes_per_second": {str(cause): rate for cause, rate in self.lost_bytes_per_second.items()},
            "limiter": self.limiter,
            "row_hit_rate": self.row_hit_rate,
            "mean_latency_s": self.mean_latency_s,
            "p99_latency_s": self.p99_latency_s,
            "seconds": self.seconds,
            "bus_clocks": self.bus_clocks,
            "busy_clocks": self.busy_clocks,
            "lost_clocks": {str(cause): clocks for cause, clocks in self.lost_clocks.items()},
            "channels": self.channels,
            "simulated_channels": self.simulated_channels,
            "energy_j": self.energy_j,
            "activations": self.activations,
            "remark": self.remark,
        }

    def rows(self) -> list[tuple[str, str, str]]:
        """Figure, value, remark: for tables."""
        peak = self.peak_bytes_per_second
        rows = [
            ("peak", format_quantity(peak, "B/s", 4), "of all data buses or interfaces"),
            ("achieved", format_quantity(self.achieved_bytes_per_second, "B/s", 4), f"{100 * self.utilisation:.1f} %"),
        ]
        for cause, rate in sorted(self.lost_bytes_per_second.items(), key=lambda item: -item[1]):
            if rate > SMALLEST_SHARE * peak:
                label = f"lost to {cause.replace('_', ' ')}"
                rows.append((label, format_quantity(rate, "B/s", 4), f"{100 * rate / peak:.1f} %: {MEANINGS[cause]}"))
        if self.row_hit_rate is not None:
            rows.append(("row hits", f"{100 * self.row_hit_rate:.1f} %", "of column commands"))
        if self.activations is not None:
            rows.append(("rows opened", f"{self.activations:,}", "in the simulated channels"))
        rows.append(
            (
                "mean latency",
                format_quantity(self.mean_latency_s, "s", 4),
                "of a read transaction" if self.row_hit_rate is not None else "of a request",
            )
        )
        if self.p99_latency_s is not None:
            rows.append(("p99 latency", format_quantity(self.p99_latency_s, "s", 4), "of a request"))
        if self.energy_j is not None:
            rows.append(("energy", format_quantity(self.energy_j, "J", 4), "with refresh and background"))
        if self.remark:
            rows.append(("fidelity", self.fidelity, self.remark))
        return rows

    def _repr_html_(self) -> str:
        """Card for notebooks."""
        return html_table(f"{self.tier} ({self.fidelity})", ("", "", ""), self.rows())
