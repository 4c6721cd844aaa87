"""Chips in studies and on command lines: a preset or a file, with some fields changed by path."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from algorithms.chip.timing.fidelity import MEMORY_FIDELITIES
from hwmodels.chips.chip import Accelerator
from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.shipped import is_path
from studies.points.knobs import CHIP_KNOBS
from studies.points.point import ChipSetting, Mapped, Scalar

if TYPE_CHECKING:
    from algorithms.chip.plan.kernels import Kernel
    from algorithms.workload.shape import Workload


def find_kernel(text: str, folder: Path) -> Kernel:
    """The profile of a published kernel by name, or a file: an absolute path, or one below `folder`.

    Raises
    ------
    InputError
        As `algorithms.chip.plan.kernels.load_kernel`.
    """
    from algorithms.chip.plan.kernels import load_kernel

    return load_kernel(folder / text if is_path(text) else text)


def refuse_kernel(kernel: Kernel, algorithm_name: str, accelerator: Accelerator) -> None:
    """Raise InputError if a kernel is one of another algorithm, or of other chips."""
    name, chips = kernel.name, kernel.text.chips
    if kernel.text.algorithm != algorithm_name:
        raise InputError(f"{name} is a kernel of {kernel.text.algorithm}, not of {algorithm_name}")
    if chips and accelerator.name not in chips:
        raise InputError(f"{name} is a kernel for {', '.join(chips)} (got {accelerator.name})")


def kernel_parameters(
    kernel: Kernel, algorithm_name: str, workload: Workload, accelerator: Accelerator
) -> dict[str, Scalar]:
    """Parameters in which a published kernel differs from the defaults of its algorithm; raises as `refuse_kernel`."""
    refuse_kernel(kernel, algorithm_name, accelerator)
    parameters = kernel.parameters(workload)
    return {
        field.name: getattr(parameters, field.name)
        for field in dataclasses.fields(kernel.algorithm.parameters)
        if getattr(parameters, field.name) != field.default
    }


def chip_setting(
    accelerator: Accelerator,
    changes: Mapping[str, Scalar],
    manner: Mapping[str, Scalar] | None = None,
    kernel: Kernel | None = None,
) -> ChipSetting:
    """``accelerator`` with fields changed (``{"hbm.bytes_per_second": "4 TB/s"}``), and the knobs of its use.

    Parameters
    ----------
    manner
        Values of `CHIP_KNOBS` by name; those that are missing or None take their defaults.

    Raises
    ------
    InputError
        Unknown paths with the nearest one, bad values; each problem's field is the path or the knob.
    """
    problems = [
        Problem(f"must be a number or a text (got {value!r})", field=path)
        for path, value in changes.items()
        if isinstance(value, bool)
    ]
    chosen, changed = {name: knob.default for name, knob in CHIP_KNOBS.items()}, accelerator
    for name, value in (manner or {}).items():
        if value is None:
            continue
        try:
            chosen[name] = CHIP_KNOBS[name].read(value)
        except InputError as error:
            problems += error.problems
    try:
        changed = accelerator.with_(**{path: value for path, value in changes.items() if not isinstance(value, bool)})
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    mapping: Mapped = "exact" if chosen["mapping"] == "exact" else "symmetric"
    memory = next(known for known in MEMORY_FIDELITIES if known == chosen["memory"])
    return ChipSetting(changed, mapping, kernel.profile if kernel else None, memory)
