"""Distances between commands in the parameter vector, which each controller derives from JEDEC timings in its own way.

A controller's rules write them through the functions below: distances between column commands and activations by how
close two bank groups are, and those around refreshes.
"""

from __future__ import annotations

import numpy as np

from simulator.firing import IntArray
from simulator.servers.dram import layout
from simulator.servers.dram.devices import Organisation, Refresh, Timing

_SAME_GROUP, _SAME_SID, _SAME_RANK, _OTHER_RANK = range(4)
Distances = tuple[int, int, int, int]
"""Clocks inside a bank group, a stack id, a rank, and between ranks."""


def relations(organisation: Organisation) -> IntArray:
    """Closeness of two bank groups, shape ``(groups, groups)``: same group, same stack id, same rank, neither."""
    group = np.arange(organisation.groups)
    sid = group // organisation.bank_groups
    rank = sid // organisation.sids
    relation = np.full((organisation.groups, organisation.groups), _OTHER_RANK, dtype=np.int64)
    relation[rank[:, None] == rank[None, :]] = _SAME_RANK
    relation[sid[:, None] == sid[None, :]] = _SAME_SID
    np.fill_diagonal(relation, _SAME_GROUP)
    return relation


def write_matrix(
    p: IntArray, at: int, relation: IntArray, distances: Distances, *, part: int = 0, parts: int = 1
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


def write_columns(p: IntArray, relation: IntArray, name: str, distances: Distances) -> None:
    """Write the distances from one kind of access to another, by relation of their bank groups."""
    at, part = _COLUMN_PARTS[name]
    write_matrix(p, at, relation, distances, part=part, parts=2)


def write_refresh(p: IntArray, organisation: Organisation, t: Timing, refresh: Refresh, act: int) -> None:
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
