"""Fits the few free numbers of a served kernel to rows marked ``calibrate``, and to nothing else.

What is made small is the mean of |predicted / measured - 1|, the number that is scored: its minimum does not care how
far off a few rows are that the model has no mechanism for. The search goes number by number in steps that shrink.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from algorithms.chip.layers.served import SERVED_PRODUCTS, ServedProduct
from algorithms.chip.plan.served import SERVED_KERNELS, WRITE_NUMBERS, ServedKernel
from algorithms.state.served import SERVED_STATES, ServedState
from hwmodels.reading.errors import InputError, Problem, did_you_mean
from studies.validate.measured.rows.prediction import FittedRows, GroupKey, UnsupportedRowError, predictor_of
from studies.validate.measured.sampling import sampled_rows
from studies.validate.measured.tables.layout import layout_called
from studies.validate.measured.tables.read import read_tables
from studies.validate.measured.tables.table import MeasuredTable, Times
from studies.validate.measured.validate import CALIBRATE  # which also registers the predictors

Served = ServedKernel | ServedProduct | ServedState
"""What is fitted."""
FOLDERS = (SERVED_KERNELS, SERVED_PRODUCTS, SERVED_STATES)
"""Where it lies."""
BOUNDS = {
    "launch_gap_s": (1e-7, 5e-4),
    "item_gap_s": (1e-8, 2e-5),
    "clock_fraction": (0.4, 1.25),
    "matrix_fraction": (0.02, 1.0),
    "bandwidth_fraction": (0.2, 1.0),
    "exposed_softmax": (0.01, 1.0),
    "rearrange_fraction": (0.005, 1.0),
    "bubble_cycles": (1.0, 20000.0),
    "write_element_ops": (1.0, 400.0),
    "quantise_element_ops": (1.0, 400.0),
    "element_ops": (0.1, 400.0),
    "library_latency_s": (1e-6, 1e-4),
    "library_hop_s": (1e-8, 1e-5),
    "library_bulk_latency_s": (1e-6, 1e-3),
}
"""Within which each number is sought."""
FIRST_STEP = 0.8
"""Of the logarithm of a number."""
LAST_STEP = 0.04
LEAST_GAIN = 1e-5
"""Of the error, for a step to be taken."""
MOST_ROWS = 300
"""Of a table that a kernel is fitted to, unless told otherwise."""
SIGNIFICANT_DIGITS = 3


@dataclass(frozen=True)
class Fit:
    """Numbers found.

    Parameters
    ----------
    kernel
        As its file has it.
    numbers
        By name.
    groups
        GPU, stack, version and kernel of the rows.
    rows
        That were fitted to.
    before_pct, after_pct
        Mean of |error| on them, with the numbers of the file and with those found.
    """

    kernel: Served
    numbers: dict[str, float]
    groups: tuple[str, ...]
    rows: int
    before_pct: float
    after_pct: float


@dataclass(frozen=True)
class _Rows:
    """Rows of a group that a kernel is fitted to."""

    predictor: FittedRows
    rows: tuple[int, ...]
    label: str


def fit_served(
    kernel: Served, tables: Sequence[MeasuredTable], seed: int = 0, most_rows: int = MOST_ROWS
) -> Fit | None:
    """The fitted numbers of ``kernel``; None if no row marked ``calibrate`` is one of its own."""
    chosen = [part for table in tables for part in _rows_of(kernel, table, seed, most_rows)]
    names = tuple(kernel.text.fitted_numbers)
    if not chosen or not names:
        return None
    start = {name: float(getattr(kernel.profile, name)) for name in names}
    before = _mean_error(kernel, chosen, start)
    # squares first: sizes alone have corners in which no single number helps
    near = searched(start, lambda tried: float(np.mean(_errors(kernel, chosen, tried) ** 2)))
    best = searched(near, lambda tried: _mean_error(kernel, chosen, tried))
    if _mean_error(kernel, chosen, best) > before:
        best = start
    numbers = {name: float(f"{value:.{SIGNIFICANT_DIGITS}g}") for name, value in best.items()}
    return Fit(
        kernel,
        numbers,
        tuple(dict.fromkeys(part.label for part in chosen)),
        sum(len(part.rows) for part in chosen),
        100 * before,
        100 * _mean_error(kernel, chosen, numbers),
    )


def fit_all(place: Path, names: Sequence[str], seed: int = 0, most_rows: int = MOST_ROWS) -> Iterator[Fit]:
    """Fits of the kernels named, or of all, that rows in ``place`` are marked ``calibrate`` for.

    Raises
    ------
    InputError
        Tables that cannot be read, an unknown kernel, or one that is named and has no rows.
    """
    kernels: list[Served] = [fittable_called(name) for name in names or _names()]
    kinds = {kind for kernel in kernels for kind in kernel.text.kinds}
    tables = read_tables(place, [layout_called(kind) for kind in sorted(kinds)]).tables
    for kernel in kernels:
        fit = fit_served(kernel, tables, seed, most_rows)
        if fit is not None:
            yield fit
        elif names:
            raise InputError(Problem(f"no row is marked {CALIBRATE!r} for {kernel.name}", str(place)))


def _names() -> tuple[str, ...]:
    """Of everything that can be fitted."""
    return tuple(name for folder in FOLDERS for name in folder.names())


def fittable_called(name: str) -> Served:
    """A served kernel, product or state; raises InputError for a name that is none, with the nearest."""
    for folder in FOLDERS:
        if name in folder.names():
            return folder.load(name)
    raise InputError(Problem(f"there is no served kernel {name!r}", "--kernel", hint=did_you_mean(name, _names())))


def profile_path(kernel: Served) -> Path:
    """Where its file lies."""
    return next(folder.path(kernel.name) for folder in FOLDERS if kernel.name in folder.names())


def write_fit(fit: Fit, folder: Path, source: str) -> Path:
    """Write the kernel's file with its fitted numbers and where they come from into ``folder``; returns where.

    Raises
    ------
    InputError
        If it cannot be written.
    """
    path = profile_path(fit.kernel)
    target = folder / path.parent.name / path.name
    text = with_fit(path.read_text(encoding="utf-8"), fit, source)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(Problem(error.strerror or "cannot be written", str(target))) from None
    return target


def with_fit(text: str, fit: Fit, source: str) -> str:
    """A file of a served kernel with other fitted numbers and their origin; comments and everything else stay."""
    own = {name: value for name, value in fit.numbers.items() if name not in WRITE_NUMBERS}
    written = {name: value for name, value in fit.numbers.items() if name in WRITE_NUMBERS}
    for section, numbers in (("fitted", own), ("write_fitted", written)):
        inside = ", ".join(f"{name}: {value:g}" for name, value in numbers.items())
        text = re.sub(rf"^{section}:.*$", f"{section}: {{{inside}}}", text, flags=re.MULTILINE)
    text = re.sub(r"^origin:\n(  .*\n)+", "", text, flags=re.MULTILINE).rstrip("\n")
    groups = ", ".join(f'"{group}"' for group in fit.groups)
    return (
        f'{text}\norigin:\n  tables: "{source}"\n  groups: [{groups}]\n  rows: {fit.rows}\n'
        f"  mean_error_pct: {fit.after_pct:.2f}\n  mean_error_before_pct: {fit.before_pct:.2f}\n"
    )


Numbers = dict[str, float]


def searched(start: Numbers, error_of: Callable[[Numbers], float]) -> Numbers:
    """Numbers near ``start`` with a small error: the pattern search of Hooke and Jeeves (J. ACM 8, 1961) on logarithms.

    Each number is moved by itself; if that helped, all go on together the way they went; else the steps shrink.
    """
    best, least, step = dict(start), error_of(start), FIRST_STEP
    while step >= LAST_STEP:
        found, error = _explored(best, least, step, error_of)
        if error >= least - LEAST_GAIN:
            step /= 2
            continue
        while error < least - LEAST_GAIN:
            before, best, least = best, found, error
            ahead = _within({name: best[name] ** 2 / before[name] for name in best})
            found, error = _explored(ahead, error_of(ahead), step, error_of)
    return best


def _explored(
    numbers: Numbers, error: float, step: float, error_of: Callable[[Numbers], float]
) -> tuple[Numbers, float]:
    """Every number in turn a step up or down, where that makes the error smaller."""
    for name in numbers:
        for direction in (step, -step):
            tried = _within(numbers | {name: numbers[name] * math.exp(direction)})
            if tried != numbers and (found := error_of(tried)) < error - LEAST_GAIN:
                numbers, error = tried, found
                break
    return numbers, error


def _within(numbers: Numbers) -> Numbers:
    return {name: min(max(value, BOUNDS[name][0]), BOUNDS[name][1]) for name, value in numbers.items()}


def _rows_of(kernel: Served, table: MeasuredTable, seed: int, most_rows: int) -> list[_Rows]:
    """Rows of ``table`` marked ``calibrate`` that ``kernel`` stands for and can predict, by group; a sample of them."""
    if table.name not in kernel.text.kinds:
        return []
    kept = table.rows(table.split == CALIBRATE)
    kept = kept.rows(np.isin(kept.words["stack"], list(kernel.text.stacks)))
    kept = kept.rows(np.isin(kept.words["kernel"], list(kernel.text.kernels)))
    if len(kept):
        kept = kept.rows(np.array(sorted(row for part in _by_group(kernel, kept) for row in part.rows), dtype=np.int64))
    if not len(kept):
        return []
    kept = kept.rows(sampled_rows([kept], most_rows, seed)[0])
    parts = _by_group(kernel, kept)
    return [_Rows(part.predictor, tuple(row for row in part.rows if _can(part, row)), part.label) for part in parts]


def _by_group(kernel: Served, table: MeasuredTable) -> list[_Rows]:
    """Rows that ``kernel`` is chosen for, by group."""
    keys, group = table.groups()
    found = []
    for number, key in enumerate(keys):
        predictor = predictor_of(GroupKey(table.name, *key), table)
        if not isinstance(predictor, FittedRows):
            continue
        rows = tuple(row for row in map(int, np.flatnonzero(group == number)) if _own(predictor, row, kernel.name))
        if rows:
            found.append(_Rows(predictor, rows, "/".join(key)))
    return found


def _own(predictor: FittedRows, row: int, kernel: str) -> bool:
    """Whether it is this kernel that a row is predicted by."""
    try:
        return predictor.kernel_of(row) == kernel
    except UnsupportedRowError:
        return False


def _can(part: _Rows, row: int) -> bool:
    """Whether a row can be predicted."""
    try:
        part.predictor.predict(row)
    except UnsupportedRowError:
        return False
    return True


def _mean_error(kernel: Served, chosen: Sequence[_Rows], numbers: dict[str, float]) -> float:
    return float(np.mean(np.abs(_errors(kernel, chosen, numbers))))


def _errors(kernel: Served, chosen: Sequence[_Rows], numbers: dict[str, float]) -> Times:
    """``predicted / measured - 1`` of every row."""
    ratios = []
    for part in chosen:
        predictor = part.predictor.by(kernel.name, numbers)
        ratios += [predictor.predict(row).microseconds / float(predictor.table.time_us[row]) for row in part.rows]
    return np.array(ratios) - 1
