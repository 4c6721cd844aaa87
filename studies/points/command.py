"""The command that simulates a design point again, to copy from a report into a shell."""

from __future__ import annotations

import shlex
from dataclasses import fields
from functools import cache

from algorithms.workload.one_head import ONE_HEAD
from algorithms.workload.shape import Workload
from algorithms.workload.text import load_workload, workload_names
from hwmodels.chips.accelerator import accelerator_names
from hwmodels.reading.errors import InputError
from studies.points.find import find_algorithm
from studies.points.knobs import WORKLOAD_KNOBS
from studies.points.point import ChipSetting, DesignPoint


def command_of(point: DesignPoint) -> str:
    """``attnflow run ...`` for `point`.

    Starts from the shipped preset of the workload's name, or from the workload that its algorithm has when none is
    named; whatever no option can set (the latent projections of a workload file) has to come from the preset.
    """
    words = ["attnflow", "run", point.algorithm, *_what_attends(point)]
    for name, value in point.parameters:
        words += ["--set", f"{name}={'null' if value is None else value}"]
    words += ["--engine", point.engine] if "engine" in point.keyed else []
    words += ["--clock", f"{point.clock_hz!r} Hz"] if "clock" in point.keyed else []
    setting = point.chip
    words += _on_chip(setting) if setting else []
    words += ["--timing-only"] if point.timing_only else []
    words += [] if point.skip else ["--no-skip"]
    return shlex.join(words)


def _what_attends(point: DesignPoint) -> list[str]:
    """Options for the workload and its tensors; none where nothing attends."""
    workload = point.workload
    if not workload:
        return []
    preset = workload.name in workload_names()
    words = ["--workload", workload.name] if preset else []
    if point.tensors is not None:
        words += ["--tensors", point.tensors.path]
    base = _preset(workload.name) if preset else _default(point.algorithm)
    for name in _changed_knobs(base, workload):
        words += ["--set", f"workload.{name}={getattr(workload, name)}"]
    return words


def _default(algorithm: str) -> Workload:
    """The workload of an algorithm when none is named; a head where it has none, or is gone."""
    try:
        return find_algorithm(algorithm).default_workload or ONE_HEAD
    except InputError:
        return ONE_HEAD


# a report writes the commands of 10^4 points: files are looked at once
_preset = cache(load_workload)


def _on_chip(setting: ChipSetting) -> list[str]:
    """Options for the chip and its use."""
    chip = setting.accelerator
    words = ["--chip", chip.name if chip.name in accelerator_names() else f"{chip.name}.yaml"]
    for path, value in chip.changes:
        words += ["--set", f"chip.{path}={value}"]
    if setting.profile is not None:
        words += ["--kernel", setting.profile.name]
    return [*words, "--mapping", setting.mapping, "--memory", setting.memory]


def _changed_knobs(base: Workload, workload: Workload) -> list[str]:
    """Knobs in which `workload` differs from `base`, in the order of the fields."""
    return [
        field.name
        for field in fields(Workload)
        if field.name in WORKLOAD_KNOBS and getattr(base, field.name) != getattr(workload, field.name)
    ]
