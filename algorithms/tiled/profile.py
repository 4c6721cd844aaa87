"""What is known of one kernel on one kind of chip: how its work overlaps, and at most four fitted numbers.

Structure (groups that take turns, tiles in flight, items per core) comes from the kernel's source; the fitted numbers
come from ``python -m studies.validate.gpu_fit``, which sees calibration points only. A plan that is timed without a
profile uses `UNFITTED`: the chip's own figures and no overhead at all.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from hwmodels.errors import InputError, Problem, did_you_mean

FITTABLE = ("launch_gap_s", "clock_fraction", "matrix_fraction", "bandwidth_fraction", "exposed_softmax")
MOST_FITTED = 4


@dataclass(frozen=True)
class KernelProfile:
    """How a kernel uses a chip.

    Parameters
    ----------
    name, summary
        For people.
    launch_gap_s
        Added to every launch: what passes between the end of one and the start of the next.
    clock_fraction
        Sustained clock as a share of the chip's.
    matrix_fraction
        Share of the matrix arrays' rate that the kernel's instructions reach.
    bandwidth_fraction
        Share of the main memory's peak that a stream of reads reaches.
    exposed_softmax
        Share of the softmax time of a row group during which the matrix array does not serve the other groups: 0 is
        perfect overlap. Without a second group everything is exposed, whatever this says.
    item_gap_s
        From the end of an item until a core begins to load the next one.
    tiles_in_flight
        Key and value tiles that a work item may have on the way or in local memory.
    items_per_core
        Work items that share a core.
    loads_ahead
        Whether a core loads for its next item while it works on one (persistent kernels).
    fitted
        Which of the numbers above were fitted; at most four.
    """

    name: str = "unfitted"
    summary: str = "the chip's own figures, no overheads"
    launch_gap_s: float = 0.0
    clock_fraction: float = 1.0
    matrix_fraction: float = 1.0
    bandwidth_fraction: float = 1.0
    exposed_softmax: float = 0.0
    item_gap_s: float = 0.0
    tiles_in_flight: int = 2
    items_per_core: int = 1
    loads_ahead: bool = False
    fitted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = [
            Problem(f"must be greater than 0 and at most 1 (got {value:g})", field=name)
            for name in ("clock_fraction", "matrix_fraction", "bandwidth_fraction")
            if not 0 < (value := getattr(self, name)) <= 1
        ]
        problems += [
            Problem(f"must not be negative (got {value:g})", field=name)
            for name in ("launch_gap_s", "item_gap_s", "exposed_softmax")
            if not (value := getattr(self, name)) >= 0
        ]
        problems += [
            Problem(f"must be at least 1 (got {value})", field=name)
            for name in ("tiles_in_flight", "items_per_core")
            if (value := getattr(self, name)) < 1
        ]
        if len(self.fitted) > MOST_FITTED:
            problems.append(Problem(f"at most {MOST_FITTED} numbers may be fitted", field="fitted"))
        problems += [
            Problem(f"{name!r} cannot be fitted", field="fitted", hint=did_you_mean(name, FITTABLE))
            for name in self.fitted
            if name not in FITTABLE
        ]
        if problems:
            raise InputError(problems)

    def with_(self, **changes: float | int | bool | str | tuple[str, ...]) -> KernelProfile:
        """A copy with some fields replaced; raises InputError for values that cannot be."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


UNFITTED = KernelProfile()
