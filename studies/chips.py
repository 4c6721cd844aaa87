"""Chips in studies and on command lines: a preset or a file, with some fields changed by path."""

from __future__ import annotations

from collections.abc import Mapping

from hwmodels.chip import Accelerator
from hwmodels.errors import InputError, Problem
from studies.parameters import CHIP_KNOBS
from studies.space import ChipSetting, Scalar


def chip_setting(accelerator: Accelerator, changes: Mapping[str, Scalar], mapping: Scalar = None) -> ChipSetting:
    """``accelerator`` with fields changed (``{"hbm.bytes_per_second": "4 TB/s"}``) and the mapping, if given.

    Raises
    ------
    InputError
        Unknown paths with the nearest one, bad values; each problem's field is the path or ``mapping``.
    """
    knob = CHIP_KNOBS["mapping"]
    problems = [
        Problem(f"must be a number or a text (got {value!r})", field=path)
        for path, value in changes.items()
        if isinstance(value, bool)
    ]
    chosen, changed = knob.default, accelerator
    try:
        chosen = knob.read(knob.default if mapping is None else mapping)
    except InputError as error:
        problems += error.problems
    try:
        changed = accelerator.with_(**{path: value for path, value in changes.items() if not isinstance(value, bool)})
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    return ChipSetting(changed, "exact" if chosen == "exact" else "symmetric")
