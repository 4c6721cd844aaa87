"""Finds what a study file or a command line names: algorithms, workloads, chips, kernels, tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from algorithms.chip.plan.kernels import Kernel, load_kernel
from algorithms.registry import ALGORITHMS, AnyAlgorithm
from algorithms.workload.shape import FloatArray, Workload
from algorithms.workload.tensors import load_tensors, workload_of_tensors
from algorithms.workload.text import load_workload
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.chips.chip import Accelerator
from hwmodels.reading.errors import InputError, Problem, did_you_mean
from hwmodels.reading.shipped import is_file, is_path, is_there
from reference.captures import capture_names, capture_path
from studies.points.knobs import SEQUENCE_LENGTH, change_workload
from studies.points.point import Scalar, TensorFile


def all_algorithm_names() -> tuple[str, ...]:
    """Names of algorithms of all kinds, sorted."""
    return ALGORITHMS.names()


def find_algorithm(name: str) -> AnyAlgorithm:
    """The registered algorithm `name`; raises InputError with the nearest name for an unknown one."""
    return ALGORITHMS.get(name)


def find_chip(text: str, folder: Path) -> Accelerator:
    """A shipped chip by name, or a file: an absolute path, or one below `folder`.

    Raises
    ------
    InputError
        As `hwmodels.chips.accelerator.load_accelerator`.
    """
    return load_accelerator(_existing(text, folder) if is_path(text) else text)


def find_kernel(text: str, folder: Path) -> Kernel:
    """The profile of a published kernel by name, or a file: an absolute path, or one below `folder`.

    Raises
    ------
    InputError
        As `algorithms.chip.plan.kernels.load_kernel`.
    """
    return load_kernel(folder / text if is_path(text) else text)


def find_workload(text: str, folder: Path) -> Workload:
    """A preset by name, or a file: an absolute path, or one below `folder`.

    Raises
    ------
    InputError
        As `algorithms.workload.text.load_workload`.
    """
    return load_workload(_existing(text, folder) if is_path(text) else text)


def _existing(text: str, folder: Path) -> Path:
    path = folder / text
    if not is_there(path):
        raise InputError(f"no such file: {path}")
    return path


@dataclass(frozen=True)
class Tensors:
    """Real q, k, v and the file they are from."""

    file: TensorFile
    q: FloatArray
    k: FloatArray
    v: FloatArray

    def shape_of(self, workload: Workload) -> Workload:
        """`workload` with the shapes of these tensors."""
        return workload_of_tensors(workload, self.q, self.k, self.v)


def find_tensors(text: str, folder: Path) -> Tensors:
    """A shipped capture by name, or an ``.npz`` file: an absolute path, or one below `folder`.

    Raises
    ------
    InputError
        Missing or damaged file, missing arrays, shapes that do not fit, values that are not finite.
    """
    path = capture_path(text) if text in capture_names() else folder / text
    if not is_file(path):
        hint = did_you_mean(text, capture_names())
        raise InputError(Problem(f"neither a file nor a shipped capture: {path}", hint=hint))
    try:
        return open_tensors(TensorFile.of(path))
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", str(path))) from None


@lru_cache(maxsize=2)
def open_tensors(file: TensorFile) -> Tensors:
    """The tensors of `file`, remembered because a sweep asks for the same ones again and again.

    Raises
    ------
    InputError
        What is wrong with the file, or that it is not the file it was when the study began.
    """
    tensors = Tensors(file, *load_tensors(file.path))
    if TensorFile.of(file.path) != file:
        raise InputError(Problem("has changed since the study began", file.path))
    return tensors


def shaped_workload(base: Workload, changes: Mapping[str, Scalar], tensors: Tensors | None) -> Workload:
    """`base` with knobs set; tensors dictate the shape, and a knob that contradicts them is an error.

    Raises
    ------
    InputError
        Values out of range, values that do not fit together, or that differ from the tensors'.
    """
    if tensors is None:
        return change_workload(base, changes)
    shaped = tensors.shape_of(base)
    actual = {name: getattr(shaped, name) for name in changes if name != SEQUENCE_LENGTH}
    if SEQUENCE_LENGTH in changes:
        actual[SEQUENCE_LENGTH] = shaped.kv_len
    shape_knobs = {"batch", "heads", "kv_heads", "q_len", "kv_len", "head_dim", "v_head_dim", SEQUENCE_LENGTH}
    problems = [
        Problem(f"the tensors have {actual[name]} (got {value})", tensors.file.path, field=name)
        for name, value in changes.items()
        if name in shape_knobs and value != actual[name]
    ]
    if problems:
        raise InputError(problems)
    return change_workload(shaped, {name: value for name, value in changes.items() if name not in shape_knobs})
