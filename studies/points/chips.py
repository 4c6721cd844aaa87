"""Chips in studies and on command lines: some fields changed by path, how they are used, and published kernels."""

from __future__ import annotations

from collections.abc import Mapping

from algorithms.chip.plan.kernels import Kernel
from algorithms.chip.timing.fidelity import MEMORY_FIDELITIES
from algorithms.workload.shape import Workload
from hwmodels.chips.chip import Accelerator
from hwmodels.reading.errors import InputError, Problem
from studies.points.knobs import CHIP_KNOBS, parameter_knobs
from studies.points.point import ChipSetting, Mapped, Scalar


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
    knobs = parameter_knobs(kernel.algorithm)
    return {name: getattr(parameters, name) for name in knobs if getattr(parameters, name) != knobs[name].default}


def chip_setting(
    accelerator: Accelerator,
    changes: Mapping[str, Scalar],
    use: Mapping[str, Scalar] | None = None,
    kernel: Kernel | None = None,
) -> ChipSetting:
    """``accelerator`` with fields changed (``{"hbm.bytes_per_second": "4 TB/s"}``), and the knobs of its use.

    Parameters
    ----------
    use
        Values of `CHIP_KNOBS` by name; those that are missing or None take their defaults.

    Raises
    ------
    InputError
        Unknown paths with the nearest one, bad values; each problem's field is the path or the knob.
    """
    problems: list[Problem] = []
    chosen: dict[str, Scalar] = {name: knob.default for name, knob in CHIP_KNOBS.items()}
    for name, knob in CHIP_KNOBS.items():
        value = (use or {}).get(name)
        if value is None:
            continue
        try:
            chosen[name] = knob.read(value)
        except InputError as error:
            problems += error.problems
    changed = accelerator
    try:
        changed = change_chip(accelerator, changes)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    mapping: Mapped = "exact" if chosen["mapping"] == "exact" else "symmetric"
    memory = next(known for known in MEMORY_FIDELITIES if known == chosen["memory"])
    return ChipSetting(changed, mapping, kernel.profile if kernel else None, memory)


def change_chip(accelerator: Accelerator, changes: Mapping[str, Scalar]) -> Accelerator:
    """``accelerator`` with fields changed; raises InputError, each problem's field the path of what is wrong."""
    problems = [
        Problem(f"must be a number or a text (got {value!r})", field=path)
        for path, value in changes.items()
        if isinstance(value, bool)
    ]
    try:
        changed = accelerator.with_(**{path: value for path, value in changes.items() if not isinstance(value, bool)})
    except InputError as error:
        raise InputError([*problems, *error.problems]) from None
    if problems:
        raise InputError(problems)
    return changed
