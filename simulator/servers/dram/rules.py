"""From JEDEC timings to distances between commands, as the two reference controllers derive them.

``dramsim3`` follows DRAMsim3 (Li et al., IEEE CAL 2020), ``ramulator2`` Ramulator 2.1 (Luo et al., IEEE CAL 2023).
They agree on most distances and differ in read/write turnaround, rank switching, and in that Ramulator counts from
the last clock of commands that take several.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.firing import IntArray
from simulator.servers.dram import layout

if TYPE_CHECKING:
    from simulator.servers.dram.parameters import Organisation, Refresh, Timing

_SAME_GROUP, _SAME_SID, _SAME_RANK, _OTHER_RANK = range(4)


def _relations(organisation: Organisation) -> IntArray:
    """How close two bank groups are, shape ``(groups, groups)``: same group, same stack id, same rank, neither."""
    group = np.arange(organisation.groups)
    sid = group // organisation.bank_groups
    rank = sid // organisation.sids
    relation = np.full((organisation.groups, organisation.groups), _OTHER_RANK, dtype=np.int64)
    relation[rank[:, None] == rank[None, :]] = _SAME_RANK
    relation[sid[:, None] == sid[None, :]] = _SAME_SID
    np.fill_diagonal(relation, _SAME_GROUP)
    return relation


def _write_matrix(
    p: IntArray, at: int, relation: IntArray, distances: tuple[int, int, int, int], *, part: int = 0, parts: int = 1
) -> None:
    """Write distances by relation into part number ``part`` of the matrix at ``at``, whose parts take turns."""
    size, groups = layout.MAX_GROUPS, relation.shape[0]
    matrix = p[at : at + size * size * parts].reshape(size, size, parts)
    matrix[:groups, :groups, part] = np.asarray(distances, dtype=np.int64)[relation]


_COLUMN_PARTS = {
    "read_read": (layout.P_AFTER_READ, 0),
    "read_write": (layout.P_AFTER_READ, 1),
    "write_read": (layout.P_AFTER_WRITE, 0),
    "write_write": (layout.P_AFTER_WRITE, 1),
}


def _write_columns(p: IntArray, relation: IntArray, name: str, distances: tuple[int, int, int, int]) -> None:
    """Write the distances from one kind of access to another, by relation of their bank groups."""
    at, part = _COLUMN_PARTS[name]
    _write_matrix(p, at, relation, distances, part=part, parts=2)


def dramsim3_rules(p: IntArray, organisation: Organisation, timing: Timing, refresh: Refresh) -> None:
    """Write the distances of DRAMsim3's timing tables into ``p``."""
    t = timing
    read_latency, write_latency = t.cl + t.burst, t.cwl + t.burst
    relation = _relations(organisation)
    read_s, read_l = max(t.burst, t.ccd_s), max(t.burst, t.ccd_l)
    write_s, write_l = max(t.burst, t.ccd_s_write), max(t.burst, t.ccd_l_write)
    to_write = t.rtw or t.cl + t.burst - t.cwl + t.rank_switch
    other = not organisation.rank_owns_bus
    _write_columns(p, relation, "read_read", (read_l, read_s, max(read_s, t.ccd_r), other * (t.burst + t.rank_switch)))
    _write_columns(
        p,
        relation,
        "read_write",
        (to_write, to_write, to_write, other * (read_latency + t.burst + t.rank_switch - write_latency)),
    )
    _write_columns(
        p,
        relation,
        "write_read",
        (
            write_latency + t.wtr_l,
            write_latency + t.wtr_s,
            write_latency + t.wtr_s,
            other * (write_latency + t.burst + t.rank_switch - read_latency),
        ),
    )
    _write_columns(p, relation, "write_write", (write_l, write_s, max(write_s, t.ccd_r), other * t.burst))
    _write_matrix(p, layout.P_ACT_ACT, relation, (t.rrd_l, t.rrd_s, t.rrd_s, 0))
    p[layout.P_READ_LATENCY] = read_latency
    p[layout.P_WRITE_LATENCY] = write_latency
    p[layout.P_ACT_TO_READ] = t.rcd_read
    p[layout.P_ACT_TO_WRITE] = t.rcd_write
    p[layout.P_ACT_TO_PRE] = p[layout.P_ACT_TO_PRE_ALL] = t.ras
    p[layout.P_ACT_TO_ACT] = t.ras + t.rp
    p[layout.P_READ_TO_PRE] = p[layout.P_READ_TO_PRE_ALL] = t.rtp
    p[layout.P_WRITE_TO_PRE] = p[layout.P_WRITE_TO_PRE_ALL] = write_latency + t.wr
    p[layout.P_PRE_TO_ACT] = p[layout.P_PRE_ALL_TO_ACT] = p[layout.P_PRE_TO_REFRESH] = t.rp
    p[layout.P_READ_AP_TO_ACT] = t.burst + t.rtp + t.rp
    p[layout.P_WRITE_AP_TO_ACT] = p[layout.P_WRITE_AP_TO_REFRESH] = write_latency + t.wr + t.rp
    p[layout.P_READ_AP_TO_REFRESH] = t.rtp + t.rp
    p[layout.P_PRE_TO_PRE] = t.ppd
    p[layout.P_FAW] = t.faw
    p[layout.P_REFRESH_TO_ACT] = p[layout.P_REFRESH_TO_REFRESH] = t.rfc
    _write_refresh(p, organisation, t, refresh, 0)


def ramulator2_rules(p: IntArray, organisation: Organisation, timing: Timing, refresh: Refresh) -> None:
    """Write the distances of Ramulator 2.1's constraint tables into ``p``.

    A command of k clocks takes effect in its last one, so k - 1 is added behind it and subtracted before it.
    """
    t = timing
    act, cas = t.act_clocks - 1, t.cas_clocks - 1
    relation = _relations(organisation)
    other = not organisation.rank_owns_bus
    to_write = t.rtw or t.cl + t.burst + t.turnaround - t.cwl
    written = t.cwl + t.burst
    rank_write_read = (t.cl - t.cwl if t.slow_rank_write_to_read else t.cwl - t.cl) + t.burst + t.rank_switch
    several_sids = organisation.sids > 1
    _write_columns(
        p,
        relation,
        "read_read",
        (
            max(t.burst, t.ccd_s, t.ccd_l),
            max(t.burst, t.ccd_s),
            max(t.burst, t.ccd_r if several_sids else t.ccd_s),
            other * (t.burst + t.rank_switch),
        ),
    )
    _write_columns(p, relation, "read_write", (to_write, to_write, to_write, other * (t.burst + t.rank_switch)))
    _write_columns(
        p,
        relation,
        "write_read",
        (
            max(t.cwl + t.burst_same_group + t.wtr_l, written + t.wtr_s),
            written + t.wtr_s,
            written + t.wtr_s,
            other * rank_write_read,
        ),
    )
    _write_columns(
        p,
        relation,
        "write_write",
        (
            max(t.burst, t.ccd_s_write, t.ccd_l_write),
            max(t.burst, t.ccd_s_write),
            t.burst if several_sids else max(t.burst, t.ccd_s_write),
            other * t.burst,
        ),
    )
    _write_matrix(p, layout.P_ACT_ACT, relation, (max(t.rrd_s, t.rrd_l), t.rrd_s, t.rrd_s, 0))
    p[layout.P_READ_LATENCY] = t.cl + t.burst
    p[layout.P_WRITE_LATENCY] = written
    p[layout.P_ACT_TO_READ] = t.rcd_read + act - cas
    p[layout.P_ACT_TO_WRITE] = t.rcd_write + act - cas
    p[layout.P_ACT_TO_PRE] = p[layout.P_ACT_TO_PRE_ALL] = t.ras + act
    p[layout.P_ACT_TO_ACT] = t.rc
    p[layout.P_READ_TO_PRE] = p[layout.P_READ_TO_PRE_ALL] = t.rtp + cas
    p[layout.P_WRITE_TO_PRE] = p[layout.P_WRITE_TO_PRE_ALL] = written + t.wr + cas
    p[layout.P_PRE_TO_ACT] = t.rp - act
    p[layout.P_PRE_ALL_TO_ACT] = t.rp_all - act
    p[layout.P_READ_AP_TO_ACT] = t.rtp + t.rp + cas - act
    p[layout.P_WRITE_AP_TO_ACT] = written + t.wr + t.rp + cas - act
    p[layout.P_PRE_TO_REFRESH] = t.rp
    p[layout.P_READ_AP_TO_REFRESH] = t.rp + t.rtp + cas
    p[layout.P_WRITE_AP_TO_REFRESH] = written + t.wr + t.rp + cas
    p[layout.P_ACT_TO_REFRESH] = t.rc + act
    p[layout.P_PRE_TO_PRE] = t.ppd
    p[layout.P_FAW] = t.faw
    p[layout.P_REFRESH_TO_ACT] = t.rfc - act
    p[layout.P_REFRESH_TO_REFRESH] = t.rfc if t.refresh_blocks_refresh else 0
    p[layout.P_REFRESH_TO_PRE_ALL] = t.rfc
    _write_refresh(p, organisation, t, refresh, act)


def _write_refresh(p: IntArray, organisation: Organisation, t: Timing, refresh: Refresh, act: int) -> None:
    """Refresh intervals, and JEDEC's distances around a per-bank refresh."""
    if refresh == "per_bank":
        p[layout.P_REFRESH_INTERVAL] = t.refi_bank
    else:
        p[layout.P_REFRESH_INTERVAL] = t.refi // (organisation.ranks if refresh == "staggered" else 1)
    p[layout.P_BANK_REFRESH_TO_ACT] = t.rfc_bank - act
    p[layout.P_BANK_REFRESH_TO_OTHER_ACT] = t.rrefd - act if t.rrefd else 0
    p[layout.P_ACT_TO_BANK_REFRESH] = t.rc + act
    p[layout.P_ACT_TO_OTHER_BANK_REFRESH] = t.rrd_s + act
    p[layout.P_PRE_TO_BANK_REFRESH] = t.rp
    p[layout.P_BANK_REFRESH_TO_BANK_REFRESH] = t.bank_refresh_spacing or t.rrefd
