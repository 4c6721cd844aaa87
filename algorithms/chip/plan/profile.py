"""How one kernel uses a chip: what overlaps, and at most four fitted numbers.

A plan that is timed without a profile uses `UNFITTED`: the chip's own figures and no overhead at all. Profiles of
published kernels are YAML files, see `algorithms.chip.plan.kernels`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Self, get_args

from algorithms.workload.changes import changed
from hwmodels.reading.errors import InputError, Problem, did_you_mean

FITTABLE = (
    "launch_gap_s",
    "clock_fraction",
    "matrix_fraction",
    "bandwidth_fraction",
    "exposed_softmax",
    "item_gap_s",
)
MOST_FITTED = 4
HIGHEST_CLOCK_FRACTION = 1.25
"""Boost clocks exceed the clock behind a data sheet's peak, but not by more."""
NextItem = Literal["stored", "finished", "ahead"]


@dataclass(frozen=True)
class KernelProfile:
    """How a kernel uses a chip.

    Parameters
    ----------
    name
        Name for people.
    launch_gap_s
        Added to every launch: what passes between the end of one and the start of the next.
    clock_fraction
        Sustained clock as a share of the chip's.
    matrix_fraction
        Share of the matrix arrays' rate that the kernel's instructions reach.
    bandwidth_fraction
        Share of the shared tiers' peak that streams reach.
    exposed_softmax
        Share of the softmax time of a row group during which the matrix array does not serve the other groups: 0 is
        perfect overlap. Without a second group everything is exposed, whatever this says.
    item_gap_s
        Time from the end of an item until its place on the core begins to load the next one.
    tiles_in_flight
        Key and value tiles that a work item may have on the way or in local memory.
    items_per_core
        Work items that share a core.
    barrier_cycles
        Cycles from the last warp's arrival at a barrier until all go on, where warps exchange partial results.
    next_item
        Moment at which a place on a core begins to load for its next item: when the results of the one before are
        ``stored`` (a new thread block), when they are ``finished`` (persistent kernels whose stores run on), or
        ``ahead``, while that one is still worked on, as far ahead as ``tiles_in_flight`` reach.
    fitted
        Which of the numbers above were fitted; at most four.

    Raises
    ------
    InputError
        With every number that cannot be.
    """

    name: str = "unfitted"
    launch_gap_s: float = 0.0
    clock_fraction: float = 1.0
    matrix_fraction: float = 1.0
    bandwidth_fraction: float = 1.0
    exposed_softmax: float = 0.0
    item_gap_s: float = 0.0
    tiles_in_flight: int = 2
    items_per_core: int = 1
    barrier_cycles: float = 0.0
    next_item: NextItem = "stored"
    fitted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = [
            *_bad_shares(self),
            *_too_small(self, ("launch_gap_s", "item_gap_s", "exposed_softmax", "barrier_cycles"), 0),
            *_too_small(self, ("tiles_in_flight", "items_per_core"), 1),
            *_bad_fit(self.fitted, self.fittable),
        ]
        if self.next_item not in get_args(NextItem):
            choices = ", ".join(get_args(NextItem))
            problems.append(Problem(f"must be one of {choices} (got {self.next_item!r})", field="next_item"))
        if problems:
            raise InputError(problems)

    @property
    def rearrange_fraction(self) -> float:
        """Share of the local memory's rate that loading warps reach where they write operands again, transposed."""
        return 1.0

    @property
    def items_at_a_time(self) -> int:
        """Items that a place on a core has loaded for and not finished; tiles bound them, too."""
        return max(2, self.tiles_in_flight) if self.next_item == "ahead" else 1

    @property
    def bubble_cycles(self) -> float:
        """Of every tile step in which nothing of its own item is issued, because results are waited for."""
        return 0.0

    @property
    def fittable(self) -> tuple[str, ...]:
        """Numbers that may be fitted."""
        return FITTABLE

    def fitted_to(self, **numbers: float) -> Self:
        """A copy with other fitted numbers; raises InputError for what cannot be."""
        fittable = self.fittable
        unknown = [name for name in numbers if name not in fittable]
        if unknown:
            raise InputError(
                [Problem(f"{name!r} cannot be fitted", hint=did_you_mean(name, fittable)) for name in unknown]
            )
        return changed(self, numbers)


def _bad_shares(profile: KernelProfile) -> list[Problem]:
    highest = {"clock_fraction": HIGHEST_CLOCK_FRACTION, "matrix_fraction": 1.0, "bandwidth_fraction": 1.0}
    return [
        Problem(f"must be greater than 0 and at most {most:g} (got {value:g})", field=name)
        for name, most in highest.items()
        if not 0 < (value := getattr(profile, name)) <= most
    ]


def _too_small(profile: KernelProfile, names: tuple[str, ...], least: int) -> list[Problem]:
    return [
        Problem(f"must be at least {least} (got {value:g})", field=name)
        for name in names
        if not (value := getattr(profile, name)) >= least
    ]


def _bad_fit(fitted: tuple[str, ...], fittable: tuple[str, ...]) -> list[Problem]:
    problems = [
        Problem(f"{name!r} cannot be fitted", field="fitted", hint=did_you_mean(name, fittable))
        for name in fitted
        if name not in fittable
    ]
    if len(fitted) > MOST_FITTED:
        problems.append(Problem(f"at most {MOST_FITTED} numbers may be fitted (got {len(fitted)})", field="fitted"))
    return problems


UNFITTED = KernelProfile()


def unfitted_for(parameters: object) -> KernelProfile:
    """The chip's own figures, and what ``parameters`` of an algorithm, decided, say of tiles on the way."""
    tiles = getattr(parameters, "stages", UNFITTED.tiles_in_flight)
    return _unfitted(tiles, getattr(parameters, "next_item", UNFITTED.next_item))


@lru_cache(maxsize=1024)
def _unfitted(tiles_in_flight: int, next_item: NextItem) -> KernelProfile:
    return dataclasses.replace(UNFITTED, tiles_in_flight=tiles_in_flight, next_item=next_item)
