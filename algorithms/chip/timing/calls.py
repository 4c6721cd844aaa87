"""Calls of several launches in closed form: what runs one after the other, with the gaps before and between.

A call is what a serving stack does for one operation of a layer: a quantisation or a cache write, the kernel, a
reduction. Replayed in a graph, launches follow each other at a fixed distance; launched by a host one by one, the call
takes as long as the host needs if the chip is faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from algorithms.chip.plan.profile import KernelProfile
from algorithms.chip.timing.closed_form import LaunchEstimate, estimate_launch
from algorithms.chip.timing.launch_work import LaunchWork
from hwmodels.chips.accelerator import Accelerator

Launching = Literal["graph", "eager"]

GRAPH_EDGE_S = 1.1e-6
"""From the end of a launch to the start of the next in a replayed graph; a model choice, of the order of what graphs of
empty kernels take per node. The gap alone: what a call of one launch takes beyond its work is its profile's
``launch_gap_s``, in steps of whole models `algorithms.models.steps.rates.Rates.graph_fixed_s`."""
REFERENCE_CLOCK_HZ = 1.83e9
"""That gaps of profiles and of graphs hold for, an H100's. What passes between launches is work of the chip's front end
and of the first and last instructions of a kernel, so many cycles of its clock."""


@dataclass(frozen=True)
class Part:
    """A launch of a call.

    Parameters
    ----------
    work
        Work of one copy.
    copies
        Beside each other.
    warm
        Whether the caches hold what it loads and stores, even where not all of the call is there.
    """

    work: LaunchWork
    copies: int = 1
    warm: bool = False


@dataclass(frozen=True)
class CallEstimate:
    """How long a call takes in closed form.

    Parameters
    ----------
    seconds
        Time of all launches, with the gap before the call and those between them.
    launches
        Launches in their order.
    gap_s, edge_s
        Gap before the call (or what the host needs for it), and between its launches.
    warm
        Whether the caches hold everything from the call before.
    """

    seconds: float
    launches: tuple[LaunchEstimate, ...]
    gap_s: float
    edge_s: float
    warm: bool

    @property
    def dominating(self) -> str:
        """What takes the longest: a launch by what binds it, or the gaps."""
        parts = {f"{part.name}: {part.binding}": part.seconds for part in self.launches}
        parts["launch gaps"] = self.gap_s + self.edge_s * (len(self.launches) - 1)
        return max(parts, key=lambda name: parts[name])


def estimate_call(
    parts: Sequence[Part],
    chip: Accelerator,
    profile: KernelProfile,
    *,
    warm: bool = False,
    launching: Launching = "graph",
) -> CallEstimate:
    """Time of ``parts`` one after the other.

    Parameters
    ----------
    warm
        Whether the caches hold everything that is loaded and stored.
    launching
        Where the host launches every part, ``eager``, ``launch_gap_s`` is what it needs for the call, and runs beside
        the chip.
    """
    launches = tuple(estimate_launch(part.work, chip, profile, part.copies, warm or part.warm) for part in parts)
    slower = REFERENCE_CLOCK_HZ / chip.clock_hz
    edge_s = slower * GRAPH_EDGE_S
    device_s = edge_s * (len(launches) - 1) + sum(part.seconds for part in launches)
    if launching == "eager":
        gap_s = profile.launch_gap_s  # of a host, whatever the chip's clock
        return CallEstimate(max(gap_s, device_s), launches, gap_s, edge_s, warm)
    gap_s = slower * profile.launch_gap_s
    return CallEstimate(gap_s + device_s, launches, gap_s, edge_s, warm)
