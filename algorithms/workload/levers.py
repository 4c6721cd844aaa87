"""Effects of a parameter, so that ``attnflow explain`` knows what to try.

A field of a parameter class says so in its metadata:

``"speeds"``
    Names of units whose interval a larger value shortens: lanes.
``"slows"``
    `Slows`: units whose interval or latency a smaller value shortens.
``"depth"``
    True where the value is the depth of FIFOs, 0 one that the algorithm decides and None no bound.
``"schedule"``
    True where the value decides when and where on a chip the same values are computed, and nothing else.
``"format_of"``
    What the value is the width of, in bits, in place of the workload's number format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Slows:
    """Cycles that a parameter adds.

    Parameters
    ----------
    kind
        Whether cycles are added to the interval between firings of units, or to the latency of their tokens.
    units
        Names of the units.
    least
        Smallest value worth trying.
    """

    kind: Literal["interval", "latency"]
    units: tuple[str, ...]
    least: int = 0


def knob(
    help_text: str,
    unit: str | None = None,
    speeds: tuple[str, ...] = (),
    depth: bool = False,
    schedule: bool = False,
    format_of: str | None = None,
) -> dict[str, object]:
    """Metadata of a parameter."""
    told: dict[str, object] = {"help": help_text, "speeds": speeds, "depth": depth, "schedule": schedule}
    return told | {name: value for name, value in (("unit", unit), ("format_of", format_of)) if value}
