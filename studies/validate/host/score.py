"""Predicted beside measured for a computer, case by case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from algorithms.chip.layers.formats import weight_format
from algorithms.chip.layers.gemm import Gemm
from algorithms.chip.layers.passes import Pass
from algorithms.chip.plan.profile import KernelProfile
from algorithms.chip.timing.calls import Part, estimate_call
from algorithms.chip.timing.launch_work import LaunchWork
from hwmodels.chips.accelerator import Accelerator
from studies.points.point import Json
from studies.validate.host.chip import ceilings_of
from studies.validate.host.record import HostRecordText, PointText

FORMAT = "float32"
SIZE = 4
SHIFT_OPS, DIVIDE_OPS = 1.0, 4.0
"""Per element: a subtraction; a division, which vector units take several cycles for."""
GOAL_PCT, FROM_US = 25.0, 1000.0
"""The goal for cases that take so long, on a quiet machine."""


@dataclass(frozen=True)
class HostScore:
    """A case.

    Parameters
    ----------
    point
        As measured.
    predicted_us
        In closed form.
    bound
        What takes the longest.
    """

    point: PointText
    predicted_us: float
    bound: str

    @property
    def error_pct(self) -> float:
        """Predicted over measured, less one."""
        return 100 * (self.predicted_us / self.point.time_us - 1)

    def to_json(self) -> dict[str, Json]:
        """As the command line prints it."""
        return {
            "id": self.point.id,
            "split": self.point.split,
            "measured_us": self.point.time_us,
            "predicted_us": round(self.predicted_us, 3),
            "error_pct": round(self.error_pct, 2),
            "bound": self.bound,
            "values_right": self.point.passed,
        }


def score_host(record: HostRecordText, chip: Accelerator) -> tuple[HostScore, ...]:
    """All cases that are not ceilings."""
    profile = ceilings_of(record).profile()
    fused = record.machine.framework == "torch"
    return tuple(_scored(point, chip, profile, fused) for point in record.points if point.split == "validate")


def summary(scores: Sequence[HostScore]) -> dict[str, Json]:
    """Means of the sizes of errors: of all, and of those above a millisecond."""
    long = [abs(score.error_pct) for score in scores if score.point.time_us >= FROM_US]
    every = [abs(score.error_pct) for score in scores]
    return {
        "cases": len(scores),
        "mean_abs_error_pct": round(float(np.mean(every)), 2) if every else None,
        "cases_above_1_ms": len(long),
        "mean_abs_error_above_1_ms_pct": round(float(np.mean(long)), 2) if long else None,
        "wrong_values": sum(not score.point.passed for score in scores),
    }


def _scored(point: PointText, chip: Accelerator, profile: KernelProfile, fused: bool) -> HostScore:
    made = _made(point, fused)
    held = sum(tier.capacity_bytes for tier in chip.caches)
    parts = [Part(LaunchWork.of(each.launch(chip)), warm=_bytes(each) <= held) for each in made]
    gaps_s = profile.launch_gap_s * (len(parts) - 1)  # every operation is a call of its own
    found = estimate_call(parts, chip, profile, launching="eager")
    device_s = sum(part.seconds for part in found.launches)
    return HostScore(point, 1e6 * (profile.launch_gap_s + gaps_s + device_s), found.dominating)


def _bytes(made: Gemm | Pass) -> int:
    if isinstance(made, Pass):
        return made.passing_bytes
    return made.input_bytes + made.weight_bytes + made.output_bytes


def _made(point: PointText, fused: bool) -> list[Gemm | Pass]:
    """Operations of a case, one after the other."""
    product = partial(Gemm, weights=weight_format(FORMAT), activations=FORMAT)
    if point.kind == "gemm":
        rows, columns, depth = point.sizes
        return [product("product", rows, columns, depth)]
    if point.kind == "softmax":
        rows, columns = point.sizes
        return _softmax(rows, columns, fused)
    batch, heads, tokens, head_dim, decode = point.sizes
    count, queries = batch * heads, 1 if decode else tokens
    scores = product("scores", queries, tokens, head_dim, count=count)
    values = product("values", queries, head_dim, tokens, count=count)
    return [scores, *_softmax(count * queries, tokens, fused), values]


def _softmax(rows: int, columns: int, fused: bool) -> list[Gemm | Pass]:
    """In one pass, or as NumPy does it: maximum, difference, exponential, sum, quotient."""
    elements = rows * columns
    if fused:
        return [Pass("softmax", elements, SIZE, SIZE, SHIFT_OPS + DIVIDE_OPS, exps=1.0)]
    return [
        Pass("maximum", elements, SIZE),
        Pass("difference", elements, SIZE, SIZE, SHIFT_OPS),
        Pass("exponential", elements, SIZE, SIZE, exps=1.0),
        Pass("sum", elements, SIZE),
        Pass("quotient", elements, SIZE, SIZE, DIVIDE_OPS),
    ]
