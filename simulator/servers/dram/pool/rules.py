"""Distances between commands as Ramulator 2.1 (Luo et al., IEEE CAL 2023) derives them from JEDEC timings.

It differs from DRAMsim3 in read/write turnaround and rank switching, and counts from the last clock of commands that
take several.
"""

from __future__ import annotations

from simulator.firing import IntArray
from simulator.servers.dram import layout
from simulator.servers.dram.devices import Organisation, Refresh, Timing
from simulator.servers.dram.rules import relations, write_columns, write_matrix, write_refresh


def rules(p: IntArray, organisation: Organisation, timing: Timing, refresh: Refresh) -> None:
    """Write the distances of Ramulator 2.1's constraint tables into ``p``.

    A command of k clocks takes effect in its last one, so k - 1 is added behind it and subtracted before it.
    """
    t = timing
    act, cas = t.act_clocks - 1, t.cas_clocks - 1
    relation = relations(organisation)
    other = not organisation.rank_owns_bus
    to_write = t.rtw or t.cl + t.burst + t.turnaround - t.cwl
    written = t.cwl + t.burst
    rank_write_read = (t.cl - t.cwl if t.slow_rank_write_to_read else t.cwl - t.cl) + t.burst + t.rank_switch
    several_sids = organisation.sids > 1
    write_columns(
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
    write_columns(p, relation, "read_write", (to_write, to_write, to_write, other * (t.burst + t.rank_switch)))
    write_columns(
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
    write_columns(
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
    write_matrix(p, layout.P_ACT_ACT, relation, (max(t.rrd_s, t.rrd_l), t.rrd_s, t.rrd_s, 0))
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
    write_refresh(p, organisation, t, refresh, act)
