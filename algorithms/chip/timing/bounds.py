"""Lower bounds beside every time: however its work overlaps, a plan is not faster than the largest of them."""

from __future__ import annotations

from dataclasses import dataclass

from algorithms.chip.plan.plan import Launch, TilePlan
from algorithms.chip.timing.throughput import padded_launch_flops
from hwmodels.chips.accelerator import Accelerator


@dataclass(frozen=True)
class Bounds:
    """Seconds that a plan takes at least, at the chip's peak figures.

    Parameters
    ----------
    compulsory_s
        Inputs read once and outputs written once, over the main memory.
    traffic_s
        Time of all bytes that this plan moves through the chip's main memory, again where its caches cannot keep them.
    useful_matrix_s
        Time of the useful FLOPs on all matrix arrays.
    issued_matrix_s
        FLOP as issued, with the waste of ragged and diagonal tiles and the array's padding.
    exp_s
        Exponentials as issued on all exp units.
    vector_s
        Elementwise operations on all vector lanes.
    """

    compulsory_s: float
    traffic_s: float
    useful_matrix_s: float
    issued_matrix_s: float
    exp_s: float
    vector_s: float

    @property
    def roofline_s(self) -> float:
        """Time of useful FLOPs or compulsory bytes, the classic roofline."""
        return max(self.useful_matrix_s, self.compulsory_s)

    def by_name(self) -> dict[str, float]:
        """The bounds that hold for this very plan, in seconds."""
        return {
            "memory": max(self.traffic_s, self.compulsory_s),
            "matrix": self.issued_matrix_s,
            "exp": self.exp_s,
            "vector": self.vector_s,
        }

    @property
    def binding(self) -> str:
        """The largest of these."""
        named = self.by_name()
        return max(named, key=lambda name: named[name])

    @property
    def seconds(self) -> float:
        """Least time that the binding bound allows."""
        return max(self.by_name().values())


def bounds_of(plan: TilePlan, chip: Accelerator, memory_bytes: int) -> Bounds:
    """Bounds of `plan` on `chip`, where it moves `memory_bytes` through the main memory.

    Raises
    ------
    InputError
        A number format that the chip's arrays cannot take.
    """
    launches = plan.launches
    memory = chip.memory.bytes_per_second
    widest = launches[0].matrix_format if launches else "float16"
    return Bounds(
        compulsory_s=plan.compulsory_bytes / memory,
        traffic_s=memory_bytes / memory,
        useful_matrix_s=plan.useful_flops / chip.peak_flops_per_second(widest),
        issued_matrix_s=sum(_matrix_seconds(launch, chip) for launch in launches),
        exp_s=plan.total("exps") / chip.exp_per_second,
        vector_s=plan.total("vector_ops") / (chip.vector_flops_per_second / 2),
    )


def _matrix_seconds(launch: Launch, chip: Accelerator) -> float:
    return padded_launch_flops(launch, chip.core) / chip.peak_flops_per_second(launch.matrix_format)
