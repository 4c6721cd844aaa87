"""Distances between commands as DRAMsim3 (Li et al., IEEE CAL 2020) derives them from JEDEC timings."""

from __future__ import annotations

from simulator.firing import IntArray
from simulator.servers.dram import layout
from simulator.servers.dram.devices import Organisation, Refresh, Timing
from simulator.servers.dram.rules import relations, write_columns, write_matrix, write_refresh


def rules(p: IntArray, organisation: Organisation, timing: Timing, refresh: Refresh) -> None:
    """Write the distances of DRAMsim3's timing tables into ``p``."""
    t = timing
    read_latency, write_latency = t.cl + t.burst, t.cwl + t.burst
    relation = relations(organisation)
    read_s, read_l = max(t.burst, t.ccd_s), max(t.burst, t.ccd_l)
    write_s, write_l = max(t.burst, t.ccd_s_write), max(t.burst, t.ccd_l_write)
    to_write = t.rtw or t.cl + t.burst - t.cwl + t.rank_switch
    other = not organisation.rank_owns_bus
    write_columns(p, relation, "read_read", (read_l, read_s, max(read_s, t.ccd_r), other * (t.burst + t.rank_switch)))
    write_columns(
        p,
        relation,
        "read_write",
        (to_write, to_write, to_write, other * (read_latency + t.burst + t.rank_switch - write_latency)),
    )
    write_columns(
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
    write_columns(p, relation, "write_write", (write_l, write_s, max(write_s, t.ccd_r), other * t.burst))
    write_matrix(p, layout.P_ACT_ACT, relation, (t.rrd_l, t.rrd_s, t.rrd_s, 0))
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
    write_refresh(p, organisation, t, refresh, 0)
