"""What a study names, looked up: algorithms, workloads, chips, a kernel, tensors; and whether it applies."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from algorithms.chip.plan.kernels import Kernel
from algorithms.registry import AnyAlgorithm
from algorithms.workload.shape import Workload
from hwmodels.chips.chip import Accelerator
from hwmodels.reading.documents import FieldPath
from studies.points.chips import refuse_kernel
from studies.points.find import Tensors, find_algorithm, find_chip, find_kernel, find_tensors, find_workload
from studies.points.knobs import parameter_knobs
from studies.points.point import Scalar
from studies.points.vocabulary import Vocabulary
from studies.study.file import SECTIONED, Sectioned, StudyFile

T = TypeVar("T")
Values = Mapping[str, list[Scalar]]
"""Values of axes as written, by the name of the axis."""


@dataclass
class Named:
    """Everything that was found; what was not is a problem of the file.

    Parameters
    ----------
    algorithms, workloads, chips
        By the names that the study uses.
    kernel, tensors
        If it names any.
    """

    algorithms: dict[str, AnyAlgorithm] = field(default_factory=dict)
    workloads: dict[str, Workload] = field(default_factory=dict)
    chips: dict[str, Accelerator] = field(default_factory=dict)
    kernel: Kernel | None = None
    tensors: Tensors | None = None

    @property
    def words(self) -> Vocabulary:
        """What can be said of its algorithms."""
        return Vocabulary(tuple(self.algorithms.values()))


def look_up(file: StudyFile, written: Values) -> Named:
    """Find all that a study names; `written` are the values of its axes."""
    found, text = Named(), file.text
    if text.tensors is not None:
        found.tensors = _one(file, "tensors", partial(find_tensors, text.tensors, file.folder))
    if text.algorithm is None and not {"algorithm", "axes"} & file.faulty and "algorithm" not in written:
        file.complain(("algorithm",), "required key is missing (here or as an axis)")
    for path, name in _names(file, "algorithm", text.algorithm, written):
        for algorithm in file.attempt(path, partial(find_algorithm, name)):
            found.algorithms[name] = algorithm
    _refuse_strangers(file, found)
    if found.words.has("workload"):
        found.workloads = _all(file, "workload", written, find_workload)
    found.chips = _all(file, "chip", written, find_chip)
    _look_up_kernel(file, found)
    _refuse_unfit(file, found, written)
    return found


def _one(file: StudyFile, entry: str, action: Callable[[], T]) -> T | None:
    """What an entry names; None, and problems of the file, if that is not to be found."""
    return next(iter(file.attempt((entry,), action)), None)


def _all(file: StudyFile, key: Sectioned, written: Values, finder: Callable[[str, Path], T]) -> dict[str, T]:
    """Everything that `key` names, by its name."""
    found: dict[str, T] = {}
    for path, name in _names(file, key, file.preset(key), written):
        for thing in file.attempt(path, partial(finder, name, file.folder)):
            found[name] = thing
    return found


def _refuse_strangers(file: StudyFile, found: Named) -> None:
    """Complain about algorithms that attend beside those that do not: no workload is common to them."""
    alone = next((each for each in found.algorithms.values() if "workload" not in each.takes), None)
    for name, algorithm in found.algorithms.items():
        if alone and "workload" in algorithm.takes:
            file.complain(("axes", "algorithm"), f"{alone.name} {alone.what}: {name} needs a study of its own")


def _look_up_kernel(file: StudyFile, found: Named) -> None:
    """Find a kernel, and see that it is one of all algorithms and chips that are to have it."""
    if file.text.kernel is None or not found.words.has("kernel"):
        return
    found.kernel = kernel = _one(file, "kernel", partial(find_kernel, file.text.kernel, file.folder))
    meant = [name for name, algorithm in found.algorithms.items() if "kernel" in algorithm.takes]
    for algorithm, chip in itertools.product(meant, found.chips.values()):
        if kernel:
            file.attempt(("kernel",), partial(refuse_kernel, kernel, algorithm, chip))


def _refuse_unfit(file: StudyFile, found: Named, written: Values) -> None:
    """Complain about what applies to none of the algorithms, and about what one of them needs besides."""
    said = _said(file, found.words, written)
    own = {name for algorithm in found.algorithms.values() for name in parameter_knobs(algorithm)}
    for problem in found.words.unfit(said):
        field = problem.field or ""
        if field in said:
            hint = f"`parameters: {{{field}: ...}}` is that of the traffic" if field in own else None
            if field == "clock" and found.words.has("chip"):
                hint = "change chip.clock_hz"
            file.complain(said[field], problem.message, hint)
        elif not {field, "axes"} & file.faulty:
            file.complain((field,), problem.message, _MISSING.get(field))


_MISSING = {"chip": "for example `chip: h100`, here or as an axis; see `attnflow list chips`"}
"""How to give what is missing."""


def _said(file: StudyFile, words: Vocabulary, written: Values) -> dict[str, FieldPath]:
    """Inputs and knobs of inputs that the study gives, and where; what happens anyway need not be said."""
    text = file.text
    anyway = {"engine": text.engine == "compiled", "skip": text.skip, "timing_only": not text.timing_only}
    entries = ("tensors", "kernel", "mapping", "memory", "engine", "clock", "skip", "timing_only")
    said: dict[str, FieldPath] = {each: (each,) for each in entries if file.writes(each) and not anyway.get(each)}
    for key in SECTIONED:
        if file.preset(key) is not None:
            said[key] = (key,)
        else:
            said |= {f"{key}.{name}": (key, name) for name in file.settings(key)}
    if text.seeds is not None:
        said["workload.seed"] = ("seeds",)
    named = ("chip", "workload") if words.has("workload") else ("chip",)
    bringing = {algorithm.chip_parameter for algorithm in words.algorithms} - {""}
    said |= {name: ("parameters", name) for name in bringing & set(text.parameters)}
    said |= {name: ("axes", name) for name in bringing & set(written)}
    return said | {axis: ("axes", axis) for axis in written if axis.partition(".")[0] in named}


def _names(file: StudyFile, key: str, fixed: Scalar, written: Values) -> Iterator[tuple[FieldPath, str]]:
    """Places and texts of everything that `key` names, as an axis or as a plain entry."""
    if key in written:
        for i, value in enumerate(written[key]):
            if isinstance(value, str):
                yield file.place(key, i), value
            else:
                file.complain(file.place(key, i), f"must be a name (got {value!r})")
    elif fixed is not None:
        yield (key, "preset") if file.writes(key, "preset") else (key,), str(fixed)
