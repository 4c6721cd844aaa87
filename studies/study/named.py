"""What a study names, looked up: algorithms, workloads, chips, a kernel, tensors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING

from algorithms.workload.shape import Workload
from hwmodels.reading.documents import FieldPath
from studies.points.chips import find_kernel, refuse_kernel
from studies.points.find import (
    ONE_HEAD,
    ONE_HEAD_ON_CHIP,
    Kind,
    Tensors,
    find_algorithm,
    find_chip,
    find_tensors,
    find_workload,
    kind_of,
)
from studies.points.knobs import parameter_knobs
from studies.points.point import Scalar
from studies.study.chips import StudyChips, refuse_mismatch
from studies.study.file import StudyFile

if TYPE_CHECKING:
    from algorithms.chip.plan.kernels import Kernel
    from studies.points.find import AnyAlgorithm

_NOT_OF_TIERS = ("workload", "tensors", "seeds", "kernel", "mapping", "memory", "engine", "clock", "skip")
"""Entries that say what attends, or how: nothing does where a memory tier is measured."""


@dataclass
class Named:
    """Everything that was found; what was not is a problem of the file.

    Parameters
    ----------
    algorithms, workloads
        By the names that the study uses.
    chips
        The same, and what the study changes about them.
    kernel, tensors
        If it names any.
    """

    algorithms: dict[str, AnyAlgorithm] = field(default_factory=dict)
    workloads: dict[str, Workload] = field(default_factory=dict)
    chips: StudyChips = field(default_factory=StudyChips)
    kernel: Kernel | None = None
    tensors: Tensors | None = None

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """What each algorithm is."""
        return {name: kind_of(algorithm) for name, algorithm in self.algorithms.items()}

    @cached_property
    def parameter_names(self) -> list[str]:
        """Parameters of any of the algorithms."""
        names = [name for algorithm in self.algorithms.values() for name in parameter_knobs(algorithm)]
        return list(dict.fromkeys(names))

    @property
    def of_tiers(self) -> bool:
        """Whether memory tiers are measured, so that nothing attends."""
        return "tier" in self.kinds.values()

    def all_on_chips(self) -> bool:
        """Whether there are algorithms, and all of them run on a chip."""
        return set(self.kinds.values()) == {"chip"}


def look_up(file: StudyFile, written: Mapping[str, list[Scalar]]) -> Named:
    """Find all that a study names; `written` are the values of its axes."""
    found, text = Named(), file.text
    if text.tensors is not None:
        name_or_path = text.tensors
        for tensors in file.attempt(("tensors",), lambda: find_tensors(name_or_path, file.folder)):
            found.tensors = tensors
    if text.algorithm is None and not {"algorithm", "axes"} & file.faulty and "algorithm" not in written:
        file.complain(("algorithm",), "required key is missing (here or as an axis)")
    for path, name in _names(file, "algorithm", text.algorithm, written):
        for algorithm in file.attempt(path, partial(find_algorithm, name)):
            found.algorithms[name] = algorithm
    if found.of_tiers:
        _refuse_attention(file, found)
    else:
        _look_up_workloads(file, found, written)
    _look_up_chips(file, found, written)
    return found


def _look_up_workloads(file: StudyFile, found: Named, written: Mapping[str, list[Scalar]]) -> None:
    """Find workloads; one small head if none is named."""
    named = list(_names(file, "workload", file.preset("workload"), written))
    for path, name in named:
        for workload in file.attempt(path, partial(find_workload, name, file.folder)):
            found.workloads[name] = workload
    if not named and "workload" not in written:
        found.workloads[ONE_HEAD.name] = ONE_HEAD_ON_CHIP if found.all_on_chips() else ONE_HEAD


def _refuse_attention(file: StudyFile, found: Named) -> None:
    """Complain about algorithms that attend beside those that do not, and about all that is for them."""
    measuring = next(name for name, kind in found.kinds.items() if kind == "tier")
    for name, kind in found.kinds.items():
        if kind != "tier":
            file.complain(("axes", "algorithm"), f"{measuring} measures a memory tier: {name} needs a study of its own")
    for entry in _NOT_OF_TIERS:
        if file.writes(entry):
            hint = f"`parameters: {{{entry}: ...}}` is that of the traffic" if entry in found.parameter_names else None
            file.complain((entry,), f"does not apply to {measuring}", hint)


def _look_up_chips(file: StudyFile, found: Named, written: Mapping[str, list[Scalar]]) -> None:
    """Find chips, and see that algorithms that need one have it."""
    text = file.text
    for path, name in _names(file, "chip", file.preset("chip"), written):
        for chip in file.attempt(path, partial(find_chip, name, file.folder)):
            found.chips.named[name] = chip
    if text.kernel is not None and not found.of_tiers:
        named = text.kernel
        for kernel in file.attempt(("kernel",), lambda: find_kernel(named, file.folder)):
            found.kernel = kernel
            for algorithm, chip in itertools.product(found.algorithms, found.chips.named.values()):
                file.attempt(("kernel",), partial(refuse_kernel, kernel, algorithm, chip))
    if not {"chip", "axes"} & file.faulty:
        given = text.chip is not None or any(axis.split(".")[0] == "chip" for axis in written)
        path: FieldPath = ("chip",) if file.writes("chip") or not given else ("axes",)
        file.attempt(path, partial(refuse_mismatch, found.kinds, given))
    if file.writes("clock") and found.all_on_chips():
        file.complain(("clock",), "a chip has its own clock: change chip.clock_hz")


def _names(
    file: StudyFile, key: str, fixed: Scalar, written: Mapping[str, list[Scalar]]
) -> Iterator[tuple[FieldPath, str]]:
    """Places and texts of everything that `key` names, as an axis or as a plain entry."""
    if key in written:
        for i, value in enumerate(written[key]):
            if isinstance(value, str):
                yield file.place(key, i), value
            else:
                file.complain(file.place(key, i), f"must be a name (got {value!r})")
    elif fixed is not None:
        yield (key, "preset") if file.writes(key, "preset") else (key,), str(fixed)
