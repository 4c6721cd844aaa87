"""Tables of a run on a chip: its lower bounds, and its launches."""

from __future__ import annotations

from algorithms.chip.timing.mapping import ChipRun, LaunchRun
from studies.tables import table
from studies.words import percent, quantity

BOUNDS = {
    "memory": "bytes of this plan over the main memory",
    "matrix": "products as issued, on all matrix arrays",
    "exp": "exponentials as issued, on all exp units",
    "vector": "elementwise operations, on all vector lanes",
}
"""What each lower bound counts."""
_UNITS = ("matrix", "exp", "vector", "cache", "memory")


def bound_table(run: ChipRun) -> str:
    """Every lower bound with its share of the time."""
    bounds, seconds = run.bounds, run.seconds
    rows = [
        (name, quantity(bound, "s"), _share(bound, seconds), BOUNDS[name])
        for name, bound in _descending(bounds.by_name())
    ]
    roofline = ("roofline", quantity(bounds.roofline_s, "s"), _share(bounds.roofline_s, seconds))
    rows.append((*roofline, "useful FLOP or compulsory bytes, the classic bound"))
    return table(("lower bound", "at least", "of the time", "what it counts"), rows)


def launch_table(run: ChipRun) -> str:
    """All launches, those that are alike in one row, with the busy share of each unit."""
    alike: dict[tuple[str, float, int], list[LaunchRun]] = {}
    for launch in run.launches:
        alike.setdefault((launch.name, launch.seconds, launch.items), []).append(launch)
    rows = [
        (
            name,
            len(launches),
            quantity(sum(launch.seconds + launch.gap_s for launch in launches), "s"),
            items,
            launches[0].cores,
            launches[0].waves,
            *(f"{100 * launches[0].busy.get(unit, 0.0):.1f}%" for unit in _UNITS),
        )
        for (name, _, items), launches in alike.items()
    ]
    return table(("launch", "times", "time", "items", "cores", "waves", *(f"{unit} busy" for unit in _UNITS)), rows)


def _descending(named: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(named.items(), key=lambda item: -item[1])


def _share(part: float, whole: float) -> str:
    # rounded as in sentences, so that both say the same
    return percent(part / whole).replace(" ", "") if whole else "-"
