"""Fit the few free numbers of kernel profiles to their calibration points, and nothing else.

    python -m studies.validate.gpu.fit --cases gpu_points.json            # shows what it would write
    python -m studies.validate.gpu.fit --cases gpu_points.json --write    # into algorithms/chip/plan/profiles

For each profile it takes the points listed under ``calibration``; one that the file does not mark ``calibrate`` is
refused, so that no number can see a point that is scored. It minimises the sum of squared errors in seconds, within the
bounds below, by Gauss-Newton steps with halving. Long runs therefore decide the rates and short ones the gaps.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from algorithms.chip.plan.kernels import Kernel, kernel_names, load_kernel, profile_path
from hwmodels.reading.errors import InputError, Problem
from studies.validate.gpu.cases import GpuPoint, UnsupportedPointError, load_points
from studies.validate.gpu.plans import predict

FloatArray = NDArray[np.float64]
Errors = Callable[[FloatArray], FloatArray]

BOUNDS = {
    "launch_gap_s": (0.0, 1e-3),
    "item_gap_s": (0.0, 1e-5),
    "clock_fraction": (0.5, 1.25),
    "matrix_fraction": (0.05, 1.0),
    "bandwidth_fraction": (0.1, 1.0),
    "exposed_softmax": (0.0, 1.0),
}
"""Within which each number is sought."""
STARTS = {"launch_gap_s": 5e-6, "item_gap_s": 5e-7, "exposed_softmax": 0.5}
"""Where the search starts; fractions start at half."""
SCALES = {"launch_gap_s": 5e-6, "item_gap_s": 5e-7}
"""Typical size of each number; 0.5 unless given."""
ROUNDS = 25
SMALLEST_STEP = 1 / 64
PROBE = 0.02
"""Of the typical size: distance at which slopes are taken."""
CONVERGED = 1e-5
SIGNIFICANT_DIGITS = 4


def fit_kernel(kernel: Kernel, points: Sequence[GpuPoint]) -> dict[str, float]:
    """The fitted numbers of `kernel` from its calibration points among `points`.

    Raises
    ------
    InputError
        A calibration point is missing, is not marked ``calibrate``, or cannot be predicted.
    """
    chosen = _calibration(kernel, points)
    names = list(kernel.profile.fitted)
    measured = np.array([point.measured_us for point in chosen])

    def errors(numbers: FloatArray) -> FloatArray:
        profile = kernel.profile.fitted_to(**dict(zip(names, map(float, numbers), strict=True)))
        predicted = np.array([predict(point, profile).microseconds for point in chosen])
        return np.asarray((predicted - measured) / measured.max(), dtype=np.float64)

    scale = np.array([SCALES.get(name, 0.5) for name in names])
    start = np.array([STARTS.get(name, 0.5) for name in names])
    low, high = (np.array([BOUNDS[name][end] for name in names]) for end in (0, 1))
    try:
        found = minimize(errors, start, low, high, scale)
    except UnsupportedPointError as reason:
        raise InputError(Problem(str(reason), kernel.name, field="calibration")) from None
    return {
        name: float(f"{value:.{SIGNIFICANT_DIGITS}g}") if value > 1e-9 else 0.0
        for name, value in zip(names, found, strict=True)
    }


def _calibration(kernel: Kernel, points: Sequence[GpuPoint]) -> list[GpuPoint]:
    known = {point.id: point for point in points}
    problems = [
        Problem(f"the file of cases has no point {name!r}", kernel.name, field="calibration")
        for name in kernel.text.calibration
        if name not in known
    ]
    problems += [
        Problem(f"{name!r} is for scoring, not for calibration", kernel.name, field="calibration")
        for name in kernel.text.calibration
        if name in known and known[name].split != "calibrate"
    ]
    if problems:
        raise InputError(problems)
    return [known[name] for name in kernel.text.calibration]


def minimize(errors: Errors, start: FloatArray, low: FloatArray, high: FloatArray, scale: FloatArray) -> FloatArray:
    """Least squares within bounds: Gauss-Newton steps, halved until they improve; numbers pushed out of a bound stay.

    Parameters
    ----------
    errors
        Maps numbers `(n,)` to errors `(m,)`.
    start, low, high, scale
        First guess, bounds and typical sizes, `(n,)`.
    """
    numbers = start.copy()
    now = errors(numbers)
    for _ in range(ROUNDS):
        slopes = _slopes(errors, numbers, now, high, scale)
        gradient = slopes.T @ now
        stuck = ((numbers <= low) & (gradient > 0)) | ((numbers >= high) & (gradient < 0))
        free = np.flatnonzero(~stuck)
        if not len(free):
            break
        step = np.zeros_like(numbers)
        step[free] = np.linalg.lstsq(slopes[:, free] * scale[free], -now, rcond=1e-6)[0] * scale[free]
        length = 1.0
        while length >= SMALLEST_STEP:
            tried = np.clip(numbers + length * step, low, high)
            then = errors(tried)
            if then @ then < now @ now:
                break
            length /= 2
        else:
            break
        moved = np.abs(tried - numbers) / scale
        numbers, now = tried, then
        if moved.max() < CONVERGED:
            break
    return numbers


def _slopes(
    errors: Errors,
    numbers: FloatArray,
    now: FloatArray,
    high: FloatArray,
    scale: FloatArray,
) -> FloatArray:
    """Finite differences, `(m, n)`."""
    columns = []
    for index in range(len(numbers)):
        probe = PROBE * scale[index] * (-1 if numbers[index] + PROBE * scale[index] > high[index] else 1)
        moved = numbers.copy()
        moved[index] += probe
        columns.append((errors(moved) - now) / probe)
    return np.stack(columns, axis=1)


def with_numbers(text: str, numbers: dict[str, float]) -> str:
    """A profile file with other fitted numbers; comments and everything else stay."""
    inside = ", ".join(f"{name}: {value!r}" for name, value in numbers.items())
    return re.sub(r"^fitted:.*$", f"fitted: {{{inside}}}", text, flags=re.MULTILINE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit the profiles named, or all; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.validate.gpu.fit", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("profiles", nargs="*", help="names of profiles; all that fit anything if none is given")
    parser.add_argument("--cases", type=Path, required=True, help="JSON file with the calibration points")
    parser.add_argument("--write", action="store_true", help="change the profile files")
    options = parser.parse_args(arguments)
    try:
        points = load_points(options.cases)
        kernels = [load_kernel(name) for name in options.profiles or kernel_names()]
        for kernel in kernels:
            if kernel.profile.fitted:
                _report(kernel, fit_kernel(kernel, points), write=options.write)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _report(kernel: Kernel, numbers: dict[str, float], *, write: bool) -> None:
    before = {name: getattr(kernel.profile, name) for name in numbers}
    changes = ", ".join(f"{name} {before[name]:g} -> {value:g}" for name, value in numbers.items())
    sys.stdout.write(f"{kernel.name}: {changes}\n")
    if write:
        path = profile_path(kernel.name)
        path.write_text(with_numbers(path.read_text(encoding="utf-8"), numbers), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
