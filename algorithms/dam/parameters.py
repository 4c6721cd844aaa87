"""Parameters of DAM's graphs: FIFO depths, channel timing and, per unit, latency and intervals.

A field is called ``<unit>_<what>``: ``latency`` and ``ii`` as everywhere, ``reset`` or ``row`` cycles before each row,
``start`` cycles once, ``out_depth`` the depth of the FIFOs behind the unit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from algorithms.workload.levers import Slows
from hwmodels.reading.errors import InputError, Problem


@dataclass(frozen=True)
class Timing:
    """Timing of one unit, in cycles.

    Parameters
    ----------
    latency
        Cycles from the firing that makes a token until the token leaves.
    ii
        Initiation interval; DAM allows 0.
    row
        Spent before each row.
    start
        Spent once, before the first row.
    """

    latency: int = 1
    ii: int = 1
    row: int = 0
    start: int = 0


def latency(unit: str, default: int = 1, units: tuple[str, ...] = ()) -> int:
    """The field ``<unit>_latency``; `units` are those that it is for, if not the one of its name."""
    return _cycles(f"latency of {unit}", default, Slows("latency", units or (unit,), 1))


def interval(unit: str, default: int = 1, units: tuple[str, ...] = ()) -> int:
    """The field ``<unit>_ii``; `units` as for `latency`."""
    # an interval of 0 is what DAM gives to units that cost nothing, not one that hardware could be asked for
    return _cycles(f"initiation interval of {unit}; may be 0", default, Slows("interval", units or (unit,), 1))


def row_overhead(unit: str, default: int = 0) -> int:
    """The field ``<unit>_row`` or ``<unit>_reset``."""
    return _cycles(f"cycles that {unit} spends before each row", default, Slows("interval", (unit,)))


def start_overhead(unit: str, default: int = 0) -> int:
    """The field ``<unit>_start``."""
    return _cycles(f"cycles that {unit} spends once, before its first row", default, Slows("interval", (unit,)))


def _cycles(meaning: str, default: int, slows: Slows) -> int:
    return field(default=default, metadata={"help": meaning, "unit": "cycles", "slows": slows})


def depth(which: str, zero: str = "", default: int = 0) -> int | None:
    """A field for FIFO depths: `zero` says what 0 stands for, None is an unbounded FIFO."""
    meaning = f"0: {zero}; null: unbounded" if zero else "null: unbounded"
    return field(default=default, metadata={"help": f"depth of {which}, in tokens; {meaning}", "depth": True})


@dataclass(frozen=True)
class DamParameters:
    """Settings that all of DAM's graphs have.

    Raises
    ------
    InputError
        For values out of range, all at once.
    """

    short_depth: int | None = depth("all other FIFOs", default=16)
    channel_latency: int = field(
        default=1, metadata={"help": "least time of a token in a channel; latencies overlap it", "unit": "cycles"}
    )
    response_latency: int = field(
        default=1, metadata={"help": "cycles from taking a token until its slot is free", "unit": "cycles"}
    )

    def __post_init__(self) -> None:
        problems = [
            Problem(f"must be at least {_least(name)} (got {value})", field=name)
            for name, value in vars(self).items()
            if value is not None and value < _least(name)
        ]
        if problems:
            raise InputError(problems)

    def timing(self, unit: str) -> Timing:
        """Timing of `unit`, from the fields that are named after it."""
        row = self._cycles(unit, "reset", 0) + self._cycles(unit, "row", 0)
        return Timing(
            self._cycles(unit, "latency", 1), self._cycles(unit, "ii", 1), row, self._cycles(unit, "start", 0)
        )

    def _cycles(self, unit: str, what: str, default: int) -> int:
        value: int = getattr(self, f"{unit}_{what}", default)
        return value


def _least(name: str) -> int:
    """Smallest legal value of a field."""
    if name in ("short_depth", "channel_latency", "response_latency"):
        return 1
    return 0


@dataclass(frozen=True)
class LongFifoParameters(DamParameters):
    """Parameters of graphs with FIFOs that hold a whole row of scores."""

    long_depth: int | None = depth("the FIFOs that hold a row", "keys + 2, as in the published runs")

    def row_fifo_depth(self, columns: int) -> int | None:
        """Depth of the long FIFOs for rows of `columns` scores."""
        return columns + 2 if self.long_depth == 0 else self.long_depth
