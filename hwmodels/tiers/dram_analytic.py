"""Closed forms for DRAM: bandwidth and latency of a traffic without simulating it.

A sample of the traffic is cut, channel by channel, into windows of as many transactions as the controller can look at
together. Within a window order does not matter, so its time is that of the resource that is busiest:

- the data bus: ``burst`` (or ``ccd_s``) per transaction, ``ccd_l`` per transaction of one bank group;
- activations: ``max(rrd_s, faw / 4)`` each in a rank, ``rrd_l`` each in a bank group;
- a bank: ``rc`` per row, and precharge, activation and all accesses of a row one after the other;

to which turnarounds are added, two per batch of buffered writes. Refresh takes
``(rtp + rp + rfc + rcd) / refi`` of what is left. Latency follows from Little's law on the queues. The error of all
this against the cycle-level model is tabulated by ``attnflow validate analytic``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hwmodels.standards.policies.policy import queue_policy
from hwmodels.standards.standard import COORDINATES, DramStandard
from hwmodels.tiers.dram import DramTier

WINDOW_OF_LOOK_AHEAD = 4.0
"""Length of a window over the transactions the controller holds: what it does not see together it still overlaps with
what comes before and after. Fitted to the cycle-level model; see `attnflow validate analytic`."""
BANK_QUEUE_FILL = 0.5
"""Mean fill of the banks' own queues under saturating traffic, fitted likewise to ``dramsim3``."""
ROW_VIEW = 0.5
"""Share of the transactions held within which all accesses of a row are served together, fitted likewise."""
TYPICAL_ERROR_PCT = 3.0
NINE_IN_TEN_ERROR_PCT = 20.5
"""Bandwidth against the cycle-level model on patterns that were not used for fitting: median, and 9 of 10 cases."""
ERROR_REMARK = (
    f"closed forms: bandwidth within {TYPICAL_ERROR_PCT:g} % of the simulation in half of all cases, within "
    f"{NINE_IN_TEN_ERROR_PCT:g} % in nine of ten; see attnflow validate analytic"
)
CHANCE = 3.0
"""Standard deviations by which the load of channels may differ in a sample that is balanced in the long run."""
CHANNELS_LOOKED_AT = 4
"""Channels that are looked at, of all, which do much the same."""
SATURATED = 0.98
"""Share of the limit from which on queues are full."""

IntArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Cause = Literal["source", "queue", "command_spacing", "turnaround", "faw", "row_cycle", "refresh"]


@dataclass(frozen=True)
class DramTraffic:
    """A sample of what is asked of a tier.

    Parameters
    ----------
    address_bytes, is_write : int array, shape ``(n,)``
        Transactions in the order of their source.
    load : float, optional
        Offered rate as a share of the peak; None: as much as is accepted.
    """

    address_bytes: IntArray
    is_write: IntArray
    load: float | None = None


@dataclass(frozen=True)
class DramEstimate:
    """Estimate by the closed forms.

    Parameters
    ----------
    utilisation : float
        Achieved over peak bandwidth.
    mean_latency_s : float
        From the acceptance of a read to its data.
    row_hit_rate : float
        Share of transactions that need no activation of their own.
    lost_shares : tuple of (cause, float)
        Share of the peak lost by cause; with `utilisation` they add up to 1.
    """

    utilisation: float
    mean_latency_s: float
    row_hit_rate: float
    lost_shares: tuple[tuple[Cause, float], ...]


@dataclass(frozen=True)
class _Windows:
    """Counts per window, first axis: transactions by bus, bank and group, rows opened by bank.

    `by_channel` are the transactions of the whole sample, also those of channels without windows.
    """

    by_channel: IntArray
    by_bus: IntArray
    by_group: IntArray
    by_bank: IntArray
    rows_by_bank: IntArray
    row_groups: int

    @property
    def transactions(self) -> IntArray:
        """Transactions of every window."""
        total: IntArray = self.by_bank.sum(axis=1)
        return total

    @property
    def rows_per_transaction(self) -> float:
        """Activations over transactions."""
        return float(self.rows_by_bank.sum() / self.by_bank.sum())


def estimate_dram(tier: DramTier, traffic: DramTraffic) -> DramEstimate:
    """Bandwidth, latency and losses of `traffic` on `tier`.

    Raises
    ------
    ValueError
        An empty sample.
    """
    if traffic.address_bytes.size == 0:
        raise ValueError("a sample of the traffic has at least one transaction")
    standard, channels = tier.standard, tier.organisation.channels
    windows = _windows(tier, traffic.address_bytes // tier.organisation.transaction_bytes)
    needs = _clocks(standard, windows)
    worst = np.max(np.stack(list(needs.values())), axis=0)
    turns = windows.transactions * _turnaround_clocks(standard, float(np.mean(traffic.is_write)))
    available = 1 - _refresh_share(standard)
    # what the channels looked at do, as if every channel of the tier did its mean share
    looked_at = channels * float(windows.transactions.sum() / windows.by_channel.sum())
    # the busiest channel decides how long a traffic that all of them share takes
    length = float((worst + turns).sum()) / looked_at * _imbalance(windows) / available
    busy = windows.transactions * standard.timing.burst / _buses(standard)
    limit = float(busy.sum()) / looked_at / length
    utilisation = min(limit, _source_limit(tier, _unloaded_clocks(tier, windows)), traffic.load or 1.0)
    lost: dict[Cause, float] = {"refresh": 1 - available, "turnaround": float(turns.sum()) / looked_at / length}
    binding = np.argmax(np.stack(list(needs.values())), axis=0)
    for index, cause in enumerate(needs):
        gap = float(np.sum((worst - busy)[binding == index])) / looked_at / length
        lost[cause] = lost.get(cause, 0.0) + gap
    shares = {cause: share * utilisation / limit for cause, share in lost.items() if share > 0}
    shares["source"] = 1 - utilisation - sum(shares.values())
    active = np.count_nonzero(windows.by_channel)
    interval = standard.timing.burst / _buses(standard) / utilisation * active / channels
    latency = _latency_clocks(tier, windows, interval, utilisation / limit, traffic) * standard.clock_s
    return DramEstimate(utilisation, latency, 1 - windows.rows_per_transaction, tuple(shares.items()))


def _imbalance(windows: _Windows) -> float:
    """Transactions of the busiest channel over the mean, unless that may be chance in so small a sample."""
    counts = windows.by_channel
    events = np.maximum(1, counts * windows.rows_per_transaction)
    certain = counts * (1 - CHANCE * np.sqrt((1 - counts / counts.sum()) / events))
    return max(1.0, float(certain.max() / counts.mean()))


def _buses(standard: DramStandard) -> int:
    """Data buses of a channel."""
    return standard.organisation.ranks if standard.organisation.rank_owns_bus else 1


def _look_ahead(standard: DramStandard) -> int:
    """Transactions that a channel's controller holds: its pool, or its shared queue and the banks' queues."""
    controller = standard.controller
    return controller.read_depth + (controller.bank_depth if queue_policy(controller.policy).has_bank_queues else 0)


def _places(tier: DramTier, transactions: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Channel, bank (numbered through the channel) and row of transaction numbers."""
    organisation = tier.organisation
    coordinates = {name: np.zeros_like(transactions) for name in COORDINATES}
    scale = dict.fromkeys(COORDINATES, 1)
    rest = transactions
    for part in tier.fields:
        coordinates[part.coordinate] += rest % part.size * scale[part.coordinate]
        scale[part.coordinate] *= part.size
        rest = rest // part.size
    shift = 0
    for name in COORDINATES:
        if any(part.xor for part in tier.fields if part.coordinate == name):
            size = organisation.size(name)
            coordinates[name] ^= (coordinates["column"] >> shift) & (size - 1)
            shift += size.bit_length() - 1
    bank = coordinates["rank"] * organisation.sids + coordinates["sid"]
    bank = bank * organisation.bank_groups + coordinates["group"]
    return coordinates["channel"], bank * organisation.banks_per_group + coordinates["bank"], coordinates["row"]


def _windows(tier: DramTier, transactions: IntArray) -> _Windows:
    """The sample cut into windows; of many channels a few are looked at."""
    organisation, banks = tier.organisation, tier.organisation.banks
    channel, bank, row = _places(tier, transactions)
    by_channel = np.bincount(channel, minlength=organisation.channels)
    chosen = np.flatnonzero(by_channel)
    chosen = chosen[:: -(-chosen.size // CHANNELS_LOOKED_AT)]
    order = np.concatenate([np.flatnonzero(channel == number) for number in chosen])
    bank, row = bank[order], row[order]
    size = by_channel[chosen]
    number = np.repeat(np.arange(chosen.size), size)
    place = np.arange(order.size) - np.repeat(np.cumsum(size) - size, size)
    # an odd length is out of step with rows and runs, as the controller's view is
    length = int(WINDOW_OF_LOOK_AHEAD * _look_ahead(tier.standard)) | 1
    most = int(place.max()) // length + 1
    cell, count = number * most + place // length, chosen.size * most
    by_bank = np.bincount(cell * banks + bank, minlength=count * banks).reshape(count, banks)
    rows = _rows_opened(tier, cell * banks + bank, number, bank, row, place, count)
    used = by_bank.any(axis=1)
    by_bank, rows = by_bank[used], rows[used]
    groups = by_bank.reshape(len(by_bank), -1, organisation.banks_per_group).sum(axis=2)
    buses = by_bank.reshape(len(by_bank), _buses(tier.standard), -1).sum(axis=2)
    return _Windows(by_channel, buses, groups, by_bank, rows, organisation.banks_per_group)


def _rows_opened(
    tier: DramTier, cell: IntArray, channel: IntArray, bank: IntArray, row: IntArray, place: IntArray, count: int
) -> IntArray:
    """Activations per window and bank, shape ``(count, banks)``; ``cell`` numbers the entries.

    Of what the controller holds at a time, all accesses of a row are served together: a bank opens each of their rows
    once, but for the row that is open from before.
    """
    organisation, ahead = tier.organisation, max(1, int(ROW_VIEW * _look_ahead(tier.standard)))
    views = int(place.max()) // ahead + 2
    view = (channel * views + place // ahead) * organisation.banks + bank
    opened, first = np.unique(view * organisation.rows + row, return_index=True)
    kept = np.isin(opened - organisation.banks * organisation.rows, opened)
    # one row of a bank can have stayed open
    _, carried = np.unique((opened // organisation.rows)[kept], return_index=True)
    counted = np.ones(opened.size, dtype=np.int64)
    counted[np.flatnonzero(kept)[carried]] = 0
    weighted = np.bincount(cell[first], counted, minlength=count * organisation.banks)
    return weighted.astype(np.int64).reshape(count, organisation.banks)


def _clocks(standard: DramStandard, windows: _Windows) -> dict[Cause, FloatArray]:
    """Clocks that every window needs of each resource."""
    t, ranks = standard.timing, standard.organisation.ranks
    rows, count = windows.rows_by_bank, windows.by_bank.shape[0]
    column = np.maximum(
        windows.by_bus.max(axis=1) * max(t.burst, t.ccd_s), windows.by_group.max(axis=1) * max(t.burst, t.ccd_l)
    )
    in_group = rows.reshape(count, -1, windows.row_groups).sum(axis=2).max(axis=1)
    in_rank = rows.reshape(count, ranks, -1).sum(axis=2).max(axis=1)
    serial = rows * (t.rp + t.rcd_read + t.rtp) + (windows.by_bank - rows) * max(t.burst, t.ccd_l)
    bank = np.maximum(rows * t.rc, np.where(rows > 0, serial, 0)).max(axis=1)
    return {
        "command_spacing": np.maximum(column, in_group * t.rrd_l).astype(np.float64),
        "faw": in_rank * max(t.rrd_s, t.faw / 4),
        "row_cycle": bank.astype(np.float64),
    }


def _turnaround_clocks(standard: DramStandard, writes: float) -> float:
    """Clocks per transaction lost between reads and writes: once there and back per batch of buffered writes."""
    if writes in (0.0, 1.0):
        return 0.0
    t, controller = standard.timing, standard.controller
    to_write = t.rtw or t.cl + t.burst + t.turnaround - t.cwl
    to_read = t.cwl + t.burst + t.wtr_l
    batch = controller.drain_high - (controller.drain_low if queue_policy(controller.policy).drains_to_low else 0)
    return writes * (to_write + to_read - 2 * t.burst) / (max(1, batch) * _buses(standard))


def _refresh_share(standard: DramStandard) -> float:
    """Share of the time that refreshing takes: until the rows of a rank are open again."""
    t, controller = standard.timing, standard.controller
    if controller.refresh == "none":
        return 0.0
    if controller.refresh == "per_bank":
        banks = standard.organisation.banks // standard.organisation.ranks
        return (t.rtp + t.rp + t.rfc_bank + t.rcd_read) / (t.refi_bank * banks)
    return (t.rtp + t.rp + t.rfc + t.rcd_read) / t.refi


def _unloaded_clocks(tier: DramTier, windows: _Windows) -> float:
    """Mean latency of a read on an idle tier, with as many open rows as the traffic finds."""
    hits = 1 - windows.rows_per_transaction
    ticks = hits * tier.read_latency_ticks("open") + (1 - hits) * tier.read_latency_ticks("conflict")
    return ticks / tier.standard.bus.ticks_per_clock


def _source_limit(tier: DramTier, unloaded: float) -> float:
    """Share of the peak that the front end can ask for: what it accepts, and what its window lets be under way."""
    standard, controller = tier.standard, tier.standard.controller
    sharing = tier.organisation.channels if controller.shared_source else 1
    per_bus = standard.timing.burst / (_buses(standard) * sharing)
    accepted = controller.width * standard.bus.ticks_per_clock * per_bus
    if not controller.outstanding:
        return accepted
    return min(accepted, controller.outstanding * per_bus / unloaded * (1 - _refresh_share(standard)))


def _latency_clocks(tier: DramTier, windows: _Windows, interval: float, ratio: float, traffic: DramTraffic) -> float:
    """Mean latency of a read: unloaded, plus waiting that grows up to what full queues mean (Little's law).

    Parameters
    ----------
    interval : float
        Clocks between two transactions of a channel.
    ratio : float
        Achieved over the most that is possible.
    """
    standard, controller, t = tier.standard, tier.standard.controller, tier.standard.timing
    unloaded = _unloaded_clocks(tier, windows) + _refresh_share(standard) * t.rfc / 2
    reads = 1 - float(np.mean(traffic.is_write))
    if reads == 0:
        return 0.0
    held = controller.read_depth / reads
    if queue_policy(controller.policy).has_bank_queues:
        held += controller.bank_depth * float(np.mean(np.count_nonzero(windows.by_bank, axis=1))) * BANK_QUEUE_FILL
    full = held * interval + t.cl + t.burst
    if controller.outstanding and not controller.shared_source:
        full = min(full, max(unloaded, controller.outstanding * interval))
    if ratio >= SATURATED:
        return full
    return min(full, unloaded + interval * ratio**2 / (2 * (1 - ratio)))
