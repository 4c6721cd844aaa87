"""Configurations of DRAMsim3 and Ramulator 2.1 as descriptions of this project's DRAM tiers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator.servers.dram.parameters import (
    AddressField,
    Controller,
    DramDescription,
    FieldKind,
    Organisation,
    Timing,
)
from studies.validate.dram.cases import DramCase, DramConfig, Number

_NO_BANK_GROUPS = 1
_HBM = ("HBM", "HBM2")
_DRAMSIM3_PROTOCOLS = ("DDR3", "DDR4", "LPDDR3", "LPDDR4", *_HBM)
_KINDS: dict[str, FieldKind] = {
    "ch": "channel",
    "ra": "rank",
    "bg": "group",
    "ba": "bank",
    "ro": "row",
    "co": "column",
    "colo": "column",
    "cohi": "column",
}
_NEVER = 10**8


class UnsupportedConfigError(ValueError):
    """The configuration uses something that this project does not model."""


@dataclass(frozen=True)
class Translation:
    """A configuration in this project's terms.

    Parameters
    ----------
    description
        The tier.
    clock_ns
        Length of its clock, for bandwidth and latency.
    gap_clock_ns
        The same as the reference's driver saw it where it turned times into clocks; differs where the reference
        truncates half a clock to whole picoseconds.
    source_channels
        What the address patterns call a channel: the controllers, or the pseudo-channels of a single one.
    counts_return_clock
        1 if the reference's run ends behind the clock of the last return, 0 if in it.
    latency_offset_clocks
        What the reference's mean latency adds to return minus acceptance.
    """

    description: DramDescription
    clock_ns: float
    gap_clock_ns: float
    source_channels: Literal["channel", "rank"]
    counts_return_clock: int
    latency_offset_clocks: int


def translate(config: DramConfig, case: DramCase) -> Translation:
    """The tier and front end of `case`.

    Raises
    ------
    UnsupportedConfigError
        Names what is not modelled.
    KeyError
        The configuration lacks a field.
    """
    if config.simulator.startswith("DRAMsim3"):
        return _dramsim3(config, case)
    if config.simulator.startswith("Ramulator"):
        return _ramulator(config, case)
    raise UnsupportedConfigError(f"simulator {config.simulator!r}")


# ---- DRAMsim3 --------------------------------------------------------------------------------------------------------


def _dramsim3(config: DramConfig, case: DramCase) -> Translation:
    protocol = str(config.dram_structure["protocol"])
    _only("protocol", protocol, _DRAMSIM3_PROTOCOLS)
    _only("queue_structure", str(config.system.get("queue_structure", "PER_BANK")), ("PER_BANK",))
    _only("refresh_policy", str(config.system.get("refresh_policy", "RANK_LEVEL_STAGGERED")), ("RANK_LEVEL_STAGGERED",))
    _only("unified_queue", str(config.system.get("unified_queue", "False")).lower(), ("false",))
    _only("enable_self_refresh", str(config.system.get("enable_self_refresh", "False")).lower(), ("false",))
    widths = _widths(config)
    organisation = Organisation(
        channels=config.channels,
        ranks=1 << widths["ra"],
        sids=1,
        bank_groups=1 << widths["bg"],
        banks_per_group=1 << widths["ba"],
        rows=1 << widths["ro"],
        columns=1 << widths["co"],
        transaction_bytes=config.tx_bytes,
    )
    depth = int(config.system.get("trans_queue_size", 32))
    page = str(config.system.get("row_buf_policy", "OPEN_PAGE"))
    _only("row_buf_policy", page, ("OPEN_PAGE", "CLOSE_PAGE"))
    dual = str(config.dram_structure.get("hbm_dual_cmd", "True")).lower() == "true"
    controller = Controller(
        policy="dramsim3",
        read_depth=depth,
        write_depth=depth,
        bank_depth=int(config.system.get("cmd_queue_size", 16)),
        drain_high=depth,
        drain_low=8,
        dual_command_bus=protocol in _HBM and dual,
        page="open" if page == "OPEN_PAGE" else "close",
        width=case.width,
        shared_source=case.mode == "inorder",
    )
    timing = _dramsim3_timing(config, case, protocol)
    clock_ns = float(config.timing["tCK"])
    description = DramDescription(organisation, timing, controller, _fields(config, _KINDS))
    return Translation(description, clock_ns, clock_ns, "channel", 1, -1)


def _dramsim3_timing(config: DramConfig, case: DramCase, protocol: str) -> Timing:
    def clocks(name: str, default: int | None = None) -> int:
        value = config.timing[name] if default is None else config.timing.get(name, default)
        return int(float(value))

    added = clocks("AL", 0)
    # without bank groups the longer distances do not apply
    grouped = "_L" if int(config.dram_structure["bankgroups"]) > _NO_BANK_GROUPS else "_S"
    own_delays = protocol in _HBM
    return Timing(
        cl=clocks("CL") + added,
        cwl=clocks("CWL") + added,
        rcd_read=clocks("tRCDRD") if own_delays else clocks("tRCD") - added,
        rcd_write=clocks("tRCDWR") if own_delays else clocks("tRCD") - added,
        rp=clocks("tRP"),
        ras=clocks("tRAS"),
        rc=clocks("tRAS") + clocks("tRP"),
        rrd_s=clocks("tRRD_S"),
        rrd_l=clocks(f"tRRD{grouped}"),
        faw=clocks("tFAW"),
        ccd_s=clocks("tCCD_S"),
        ccd_l=clocks(f"tCCD{grouped}"),
        rtp=clocks("tRTP", 5) + added,
        wtr_s=clocks("tWTR_S"),
        wtr_l=clocks(f"tWTR{grouped}"),
        wr=clocks("tWR"),
        burst=int(config.dram_structure["BL"]) // 2,
        rfc=clocks("tRFC"),
        refi=clocks("tREFI") if case.refresh else _NEVER,
        rank_switch=clocks("tRTRS", 2),
        ppd=clocks("tPPD", 0) if protocol == "LPDDR4" else 0,
    )


# ---- Ramulator 2.1 ---------------------------------------------------------------------------------------------------

_CONTROLLERS = ("GenericDDR", "LPDDR5", "HBM12", "HBM34")


def _ramulator(config: DramConfig, case: DramCase) -> Translation:
    _only("controller", config.controller, _CONTROLLERS)
    _only("scheduler", config.scheduler, ("FRFCFS", "FRFCFSRowHit", "FRFCFS-RowHit"))
    _only("row_policy", config.row_policy, ("Open",))
    _only("refresh_manager", config.refresh_manager, ("AllBank", "NoRefresh"))
    _only("addr_mapper", config.addr_mapper, ("RoBaRaCoCh", "MOP4CLXOR"))
    _only("front end", case.mode, ("perch",))
    stacked = config.controller.startswith("HBM")
    sizes = {name: int(value) for name, value in config.organization.items()}
    organisation = Organisation(
        channels=1,
        ranks=sizes["pseudochannel"] if stacked else sizes["rank"],
        sids=sizes.get("sid", 1),
        bank_groups=sizes["bankgroup"],
        banks_per_group=sizes["bank"],
        rows=sizes["row"],
        columns=sizes["column"] // config.internal_prefetch,
        transaction_bytes=config.tx_bytes,
        rank_owns_bus=stacked,
    )
    refreshed = case.refresh and config.refresh_manager != "NoRefresh"
    # the thresholds are compared as single-precision products, as the reference does
    high = np.float32(config.wr_high_watermark) * np.float32(config.write_buffer)
    low = np.float32(config.wr_low_watermark) * np.float32(config.write_buffer)
    controller = Controller(
        policy="ramulator2",
        read_depth=config.read_buffer,
        write_depth=config.write_buffer,
        drain_high=math.floor(high) + 1,
        drain_low=math.ceil(low),
        dual_command_bus=stacked,
        half_clock=config.controller == "HBM34",
        split_activate=config.controller == "LPDDR5",
        one_command_bus=not stacked,
        protect_hits=config.scheduler != "FRFCFS",
        refresh="together" if refreshed else "none",
        width=case.width,
    )
    # a rank of Ramulator's HBM is a stack id, its pseudo-channels are what shares a tFAW window and a refresh
    kinds = _KINDS | ({"ra": "sid", "ch": "rank"} if stacked else {})
    fields = _fields(config, kinds, xor=config.addr_mapper == "MOP4CLXOR")
    ticks = {name: value for name, value in config.timing_in_ticks.items() if name != "rate"}
    timing = _ramulator_timing(config.controller, {name: int(value) for name, value in ticks.items()})
    clock_ns = case.tick_ns or int(ticks["tCK_ps"]) / 1000
    return Translation(
        DramDescription(organisation, timing, controller, fields),
        clock_ns,
        _exact_clock_ns(config) if config.tick_multiplier == 2 else clock_ns,
        "rank" if stacked else "channel",
        0,
        0,
    )


def _exact_clock_ns(config: DramConfig) -> float:
    """Half a clock, which the reference's own table truncates to whole picoseconds; four transfers make a clock."""
    return round(4e6 / float(config.timing_in_ticks["rate"])) / 2000


def _ramulator_timing(controller: str, ticks: dict[str, int]) -> Timing:
    long_commands = "nCCDL_WR" in ticks and controller == "GenericDDR"
    return Timing(
        cl=ticks["nCL"],
        cwl=ticks["nCWL"],
        rcd_read=ticks["nRCDRD"] if "nRCDRD" in ticks else ticks["nRCD"],
        rcd_write=ticks["nRCDWR"] if "nRCDWR" in ticks else ticks["nRCD"],
        rp=ticks["nRP"],
        rp_all=ticks.get("nRPab", 0),
        ras=ticks["nRAS"],
        rc=ticks["nRC"],
        rrd_s=ticks["nRRDS"],
        rrd_l=ticks["nRRDL"],
        faw=ticks["nFAW"],
        ccd_s=ticks["nCCDS"],
        ccd_l=ticks["nCCDL"],
        ccd_s_write=ticks.get("nCCDS_WR", 0),
        ccd_l_write=ticks.get("nCCDL_WR", 0),
        ccd_r=ticks.get("nCCDR", 0),
        rtp=ticks["nRTP"] if "nRTP" in ticks else ticks["nRTPL"],
        wtr_s=ticks["nWTRS"],
        wtr_l=ticks["nWTRL"],
        wr=ticks["nWR"],
        burst=ticks["nBL"] if "nBL" in ticks else ticks["nBL_min"],
        burst_same_group=ticks.get("nBL_max", 0),
        rfc=ticks["nRFC"],
        refi=ticks["nREFI"],
        # DDR5 adds two clocks of write preamble
        turnaround=4 if long_commands else 2,
        rank_switch=ticks.get("nCS", 0),
        rtw=ticks.get("nRTW", 0),
        ppd=ticks.get("nPPD", 0),
        refresh_blocks_refresh=controller == "LPDDR5",
        slow_rank_write_to_read=controller == "LPDDR5",
        act_clocks={"HBM34": 3, "HBM12": 2}.get(controller, 2 if long_commands else 1),
        cas_clocks=2 if long_commands or controller == "HBM34" else 1,
        aad=ticks.get("nAAD", 0),
        strobe_post=ticks.get("nWCKPST", 0),
    )


# ---- both ------------------------------------------------------------------------------------------------------------


def _only(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UnsupportedConfigError(f"{what} {value!r} (known: {', '.join(known)})")


def _widths(config: DramConfig) -> dict[str, int]:
    """Bits of each coordinate in the address mapping."""
    widths = dict.fromkeys(("ch", "ra", "bg", "ba", "ro", "co"), 0)
    for name, bits in config.address_fields_lsb_to_msb:
        if name not in _KINDS:
            raise UnsupportedConfigError(f"address field {name!r} (known: {', '.join(_KINDS)})")
        widths["co" if name.startswith("co") else name] += bits
    return widths


def _fields(config: DramConfig, kinds: dict[str, FieldKind], *, xor: bool = False) -> tuple[AddressField, ...]:
    _widths(config)
    parts = [(kinds[name], bits) for name, bits in config.address_fields_lsb_to_msb]
    return tuple(AddressField(kind, 1 << bits, xor and kind != "column") for kind, bits in parts)


def as_numbers(params: dict[str, Number | str | None]) -> dict[str, Number]:
    """The parameters of a pattern that are numbers."""
    return {name: value for name, value in params.items() if isinstance(value, int | float)}
