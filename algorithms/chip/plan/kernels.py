"""Published kernels: which algorithm with which tiles they are on which chips, and their profile.

One YAML file of ``algorithms/chip/plan/profiles`` per kernel and family of chips. ``structure`` and ``tiles`` come from
the kernel's source code or paper; ``fitted`` holds at most four numbers, written by ``python -m
studies.validate.gpu.fit``, which sees only the points listed under ``calibration``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from algorithms.chip.algorithm import TiledAlgorithm, get_chip_algorithm
from algorithms.chip.plan.in_flight import LEAST_STAGES
from algorithms.chip.plan.profile import KernelProfile, NextItem
from algorithms.registry import Parameters, Setting
from algorithms.workload.shape import Mask, Workload
from hwmodels.chips.accelerator import Accelerator
from hwmodels.reading.documents import read_document
from hwmodels.reading.errors import InputError, Problem, did_you_mean, of_its_family
from hwmodels.reading.shipped import Shipped, is_path

Profile = TypeVar("Profile", bound=KernelProfile)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StructureText(_Strict):
    """Section ``structure``: numbers of `KernelProfile` that are not fitted."""

    launch_gap_s: float | None = None
    clock_fraction: float | None = None
    matrix_fraction: float | None = None
    bandwidth_fraction: float | None = None
    exposed_softmax: float | None = None
    item_gap_s: float | None = None
    tiles_in_flight: int | None = None
    items_per_core: int | None = None
    barrier_cycles: float | None = None
    next_item: NextItem | None = None


class TilesText(_Strict):
    """One line of ``tiles``: parameters for workloads up to a head dimension and a length, with a mask, of a format."""

    head_dim: int
    kv_len: int | None = None
    mask: Mask | None = None
    dtype: str | None = None
    set: dict[str, Setting]

    def fits(self, workload: Workload) -> bool:
        """Whether this line is for ``workload``."""
        return (
            workload.head_dim <= self.head_dim
            and (self.kv_len is None or workload.kv_len <= self.kv_len)
            and self.mask in (None, workload.mask)
            and self.dtype in (None, workload.dtype)
        )


class KernelText(_Strict):
    """A profile file."""

    name: str
    summary: str
    source: str
    kinds: tuple[str, ...]
    kernels: tuple[str, ...]
    chips: tuple[str, ...] = Field(description="chips it stands for; empty for all")
    algorithm: str
    parameters: dict[str, Setting] = {}
    tiles: tuple[TilesText, ...] = ()
    structure: StructureText = StructureText()
    fitted: dict[str, float] = {}
    calibration: tuple[str, ...] = ()
    not_modelled: str = Field("", description="what is known to take time and is left out")


@dataclass(frozen=True)
class Kernel:
    """A published kernel on a family of chips.

    Parameters
    ----------
    text
        Text of its file.
    profile
        Structure and fitted numbers together.
    """

    text: KernelText
    profile: KernelProfile

    @property
    def name(self) -> str:
        """Name of its file."""
        return self.text.name

    @property
    def algorithm(self) -> TiledAlgorithm[Parameters]:
        """The algorithm that it runs; raises InputError for an unknown name."""
        return get_chip_algorithm(self.text.algorithm)

    def parameters(self, workload: Workload) -> Parameters:
        """Parameters of the algorithm for ``workload``.

        Raises
        ------
        InputError
            Parameters that the algorithm does not have, or that do not fit.
        """
        settings = dict(self.text.parameters)
        for line in self.text.tiles:
            if line.fits(workload):
                settings |= line.set
                break
        kind = self.algorithm.parameters
        automatic = {field.name: field.default for field in fields(kind)}
        known = list(automatic)
        # tiles on the way, and when they begin to come, are the profile's to say, not the chip's
        if automatic.get("stages") == 0:
            settings.setdefault("stages", LEAST_STAGES)
        if "next_item" in automatic:
            settings.setdefault("next_item", self.profile.next_item)
        unknown = [name for name in settings if name not in known]
        if unknown:
            raise InputError(
                [
                    Problem(
                        f"{self.text.algorithm} has no parameter {name!r}", self.name, hint=did_you_mean(name, known)
                    )
                    for name in unknown
                ]
            )
        return kind(**settings)

    def serves(self, kind: str, kernel: str, chip: Accelerator) -> bool:
        """Whether it stands for points of ``kind`` that were measured with ``kernel`` on ``chip``."""
        named = kernel.casefold()
        return (
            kind in self.text.kinds
            and any(named.startswith(start.casefold()) for start in self.text.kernels)
            and (not self.text.chips or chip.name in self.text.chips)
        )


_SHIPPED = Shipped("algorithms.chip.plan", "profiles", "kernel profile")


def kernel_names() -> tuple[str, ...]:
    """Names of all profiles shipped, sorted."""
    return _SHIPPED.names()


def load_kernel(name_or_path: str | Path) -> Kernel:
    """A shipped profile by name, or a profile file by path.

    Raises
    ------
    InputError
        An unknown name (with the nearest one), or every problem of the file with its line.
    """
    if is_path(name_or_path):
        return kernel_of(read_document(Path(name_or_path)).validate(KernelText))
    name = str(name_or_path)
    return _shipped(_SHIPPED.known(name, of_its_family(name, kernel_names()) or "see `attnflow list kernels`"))


def find_kernel(kind: str, kernel: str, chip: Accelerator) -> Kernel | None:
    """The shipped profile for points of ``kind`` measured with ``kernel`` on ``chip``; None if there is none."""
    for name in kernel_names():
        found = _shipped(name)
        if found.serves(kind, kernel, chip):
            return found
    return None


def profile_path(name: str) -> Path:
    """Path of the profile called ``name``, for the script that fits it."""
    return Path(str(_SHIPPED.path(name)))


@cache
def _shipped(name: str) -> Kernel:
    return kernel_of(_SHIPPED.document(name).validate(KernelText))


def kernel_of(text: KernelText) -> Kernel:
    """The kernel of a file; raises InputError for a number that is both structure and fitted."""
    return Kernel(text, profile_of(text, KernelProfile))


def profile_of(text: KernelText, kind: type[Profile]) -> Profile:
    """Structure and fitted numbers of a file together; raises InputError for a number that is both."""
    given = {name: value for name, value in text.structure.model_dump().items() if value is not None}
    twice = sorted(set(given) & set(text.fitted))
    if twice:
        raise InputError([Problem("stands in structure and in fitted", text.name, field=name) for name in twice])
    return kind(name=text.name, **given, fitted=tuple(text.fitted)).fitted_to(**text.fitted)
