"""Stalls of all units by cause, as a table."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.result import Result


@dataclass(frozen=True)
class StallRow:
    """Cycles of one unit by one use: ``busy``, ``idle``, or a stall cause such as ``input scores``."""

    unit: str
    use: str
    cycles: int
    share: float

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        return dict(vars(self))


def stall_table(result: Result) -> tuple[StallRow, ...]:
    """One row per unit and use that took any cycles, in graph order, the largest use of a unit first."""
    total = max(result.cycles, 1)
    rows: list[StallRow] = []
    for unit in result.units:
        uses = {"busy": unit.busy_cycles, **unit.stalled_cycles, "idle": unit.idle_cycles}
        rows += [
            StallRow(unit.name, use, cycles, cycles / total)
            for use, cycles in sorted(uses.items(), key=lambda item: -item[1])
            if cycles
        ]
    return tuple(rows)
