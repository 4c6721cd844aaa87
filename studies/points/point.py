"""Design points: one simulation fully described, with a key that is the same wherever it is computed."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, Self, TypeVar, get_args

from pydantic import TypeAdapter

from algorithms.chip.plan.profile import KernelProfile
from algorithms.chip.timing.fidelity import MemoryFidelity
from algorithms.workload.shape import Workload
from hwmodels.chips.chip import Accelerator

T = TypeVar("T")
Scalar = str | int | float | bool | None
Json = Scalar | Sequence["Json"] | Mapping[str, "Json"]
Engine = Literal["compiled", "simpy"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
Mapped = Literal["symmetric", "exact"]

KEY_FORMAT = 1
"""Part of every key: raised when the same point would no longer mean the same simulation."""

_UNKEYED_FIELDS = ("source", "citations")
"""Fields of a workload that say where its numbers come from and change nothing in a simulation."""


@dataclass(frozen=True)
class TensorFile:
    """Real q, k and v in a file, identified by content.

    Parameters
    ----------
    path
        Where it was read; not part of a design point's key.
    sha256
        Of the file's bytes.
    """

    path: str
    sha256: str

    @classmethod
    def of(cls, path: Path | str) -> Self:
        """The file at `path` with the hash of its present content.

        Raises
        ------
        OSError
            If it cannot be read.
        """
        with Path(path).open("rb") as file:
            return cls(str(path), hashlib.file_digest(file, "sha256").hexdigest())


_UNKEYED_CHIP_FIELDS = ("summary", "process", "citations")
"""Fields of a chip that say what it is called and where its numbers come from."""


@dataclass(frozen=True)
class ChipSetting:
    """The chip of a design point and how work is put on it.

    Parameters
    ----------
    accelerator
        The chip, with everything that was changed about it.
    mapping
        ``"symmetric"``: a few cores stand for all; ``"exact"``: all cores in one simulation.
    profile
        Of a published kernel: its structure and overheads; None takes the chip's own figures without any.
    memory
        What the main memory sustains: its ``"peak"``, or what closed forms (``"analytic"``) or its banks (``"cycle"``)
        say of the runs that are read.
    """

    accelerator: Accelerator
    mapping: Mapped = "symmetric"
    profile: KernelProfile | None = None
    memory: MemoryFidelity = "peak"

    def describe(self) -> dict[str, Json]:
        """Plain JSON values; what only says where numbers come from is left out."""
        fields = dataclasses.asdict(self.accelerator)
        kept = {name: value for name, value in fields.items() if name not in _UNKEYED_CHIP_FIELDS}
        profile = dataclasses.asdict(self.profile) if self.profile else None
        return {"accelerator": kept, "mapping": self.mapping, "memory": self.memory, "profile": profile}

    @cached_property
    def content(self) -> dict[str, Json]:
        """What decides a result: `describe` without the list of changes, which the numbers show."""
        bare = dataclasses.replace(self, accelerator=dataclasses.replace(self.accelerator, changes=()))
        return bare.describe()


@dataclass(frozen=True)
class DesignPoint:
    """Algorithm, its parameters, workload and how to run them: everything that decides a result.

    Parameters
    ----------
    algorithm
        Registered name, e.g. ``sdpa.naive``.
    workload
        What attends; None for measurements of a memory tier, where nothing does.
    parameters
        Pairs (name, value) of *all* parameters of the algorithm, sorted by name.
    engine
        ``"compiled"`` or ``"simpy"``.
    timing_only
        No values, hence no errors against the oracle.
    skip
        Whether whole periods of a steady state are skipped (exactly).
    tensors
        Real q, k, v; None draws them from the workload's seed.
    clock_hz
        Turns cycles into seconds; a chip has its own clock.
    chip
        For algorithms that run on a chip, else None.
    """

    algorithm: str
    workload: Workload | None
    parameters: tuple[tuple[str, Scalar], ...]
    engine: Engine = "compiled"
    timing_only: bool = False
    skip: bool = True
    tensors: TensorFile | None = None
    clock_hz: float = 1e9
    chip: ChipSetting | None = None

    def describe(self) -> dict[str, Json]:
        """The point as plain JSON values; `from_description` is the way back."""
        return {
            "algorithm": self.algorithm,
            "workload": _described(self.workload),
            "parameters": dict(self.parameters),
            "engine": self.engine,
            "timing_only": self.timing_only,
            "skip": self.skip,
            "tensors": dataclasses.asdict(self.tensors) if self.tensors else None,
            "clock_hz": self.clock_hz,
            **({"chip": self.chip.describe()} if self.chip else {}),
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Json]) -> Self:
        """The point that `describe` described."""
        parameters = description["parameters"]
        if not isinstance(parameters, Mapping):
            raise TypeError("the parameters of a description are a mapping")
        pairs = tuple(sorted(parameters.items()))
        return adapter_of(cls).validate_python({**description, "parameters": pairs, "chip": _named_chip(description)})

    @property
    def canonical(self) -> str:
        """One JSON text per meaning: sorted keys, no spaces, tensors by content alone."""
        description = self.describe() | {
            "tensors": self.tensors.sha256 if self.tensors else None,
            "format": KEY_FORMAT,
            # how graphs are run means nothing on a chip or a memory tier, which have their own clocks
            **({"engine": None, "skip": None, "clock_hz": None} if self.chip or self.workload is None else {}),
            **({"chip": self.chip.content} if self.chip else {}),
        }
        return json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @cached_property
    def key(self) -> str:
        """SHA-256 of `canonical`, in hexadecimal: the name of the point in stores and reports."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    @property
    def seed(self) -> int | None:
        """Seed of the drawn tensors; None when real ones are given or no values are computed."""
        return None if self.tensors or self.timing_only or self.workload is None else self.workload.seed

    def _repr_html_(self) -> str:
        from hwmodels.reading.cards import html_table

        rows = [("algorithm", self.algorithm)]
        if self.workload is not None:
            rows += [("workload", self.workload.name), ("engine", self.engine)]
        rows += [(name, str(value)) for name, value in self.parameters]
        return html_table(f"Design point {self.key[:12]}", ("field", "value"), rows)


def _described(workload: Workload | None) -> dict[str, Json] | None:
    """What decides a result about a workload."""
    if workload is None:
        return None
    return {name: value for name, value in dataclasses.asdict(workload).items() if name not in _UNKEYED_FIELDS}


def _named_chip(description: Mapping[str, Json]) -> Json:
    """The chip of a description with the texts that descriptions leave out."""
    chip = description.get("chip")
    if not isinstance(chip, Mapping) or not isinstance(chip.get("accelerator"), Mapping):
        return chip
    return {**chip, "accelerator": {"summary": "", "process": "", **chip["accelerator"]}}


@cache
def adapter_of(kind: type[T]) -> TypeAdapter[T]:
    """The reader of a type, made once: making one takes longer than reading."""
    return TypeAdapter(kind)


def grid(axes: Mapping[str, Sequence[Scalar]]) -> Iterator[dict[str, Scalar]]:
    """Every combination of the axes, the last axis changing fastest.

    >>> [list(point.values()) for point in grid({"a": [1, 2], "b": ["x", "y"]})]
    [[1, 'x'], [1, 'y'], [2, 'x'], [2, 'y']]
    """
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))
