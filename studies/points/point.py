"""Design points: one simulation fully described, with a key that is the same wherever it is computed."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import TypeAdapter

from algorithms.chip.plan.profile import KernelProfile
from algorithms.chip.timing.fidelity import MemoryFidelity
from algorithms.registry import ALGORITHMS, Given
from algorithms.workload.shape import Workload
from hwmodels.chips.chip import Accelerator
from hwmodels.reading.cards import html_table
from hwmodels.reading.errors import InputError, Problem

Scalar = str | int | float | bool | None
Json = Scalar | Sequence["Json"] | Mapping[str, "Json"]
Engine = Literal["compiled", "simpy"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
Mapped = Literal["symmetric", "exact"]

KEY_FORMAT = 1
"""Part of every key: raised when the same point would no longer mean the same simulation."""

_UNKEYED_FIELDS = ("source", "citations")
"""Fields of a workload that say where its numbers come from and change nothing in a simulation."""


def sha256_of(path: Path | str) -> str:
    """SHA-256 of the present content of a file, in hexadecimal; raises OSError if it cannot be read."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        return cls(str(path), sha256_of(path))


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

    @cached_property
    def content_text(self) -> str:
        """`content` in canonical JSON."""
        return _canonical(self.content)

    @cached_property
    def text(self) -> str:
        """`describe` in JSON."""
        return _json(self.describe())

    def __getstate__(self) -> dict[str, object]:
        """Its fields, and what results say of it where that is written: a process that evaluates it needs no more."""
        return {name: value for name, value in vars(self).items() if name not in ("content", "content_text")}


@dataclass(frozen=True)
class DesignPoint:
    """Algorithm, its parameters, workload and how to run them: everything that decides a result.

    Parameters
    ----------
    algorithm
        Registered name, e.g. ``sdpa.naive``.
    workload
        What attends; None where nothing does. Whoever knows that something does asks for `attending`.
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
        The chip and its use; None where there is none. Whoever knows that there is one asks for `on_chip`.
    contents
        Pairs (name, SHA-256) of the parameters that name files which decide a result, sorted by name.
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
    contents: tuple[tuple[str, str], ...] = ()

    @property
    def attending(self) -> Workload:
        """What attends; raises TypeError where nothing does, which is for the caller to know."""
        workload = self.workload
        if workload:
            return workload
        raise TypeError(f"nothing attends in a point of {self.algorithm}")

    @property
    def on_chip(self) -> ChipSetting:
        """The chip and its use; raises TypeError where there is none, which is for the caller to know."""
        setting = self.chip
        if setting:
            return setting
        raise TypeError(f"a point of {self.algorithm} without a chip")

    def describe(self) -> dict[str, Json]:
        """The point as plain JSON values; `from_description` is the way back."""
        before, after = self._run_described()
        workload = _described(self.workload) if self.workload else None
        return {**before, "workload": workload, **after} | {
            name: part.describe() for name, part in self._described_parts
        }

    def _run_described(self) -> tuple[dict[str, Json], dict[str, Json]]:
        """What `describe` says before and after the workload, without parts that have a description of their own."""
        after: dict[str, Json] = {
            "parameters": dict(self.parameters),
            "engine": self.engine,
            "timing_only": self.timing_only,
            "skip": self.skip,
            "tensors": dataclasses.asdict(self.tensors) if self.tensors else None,
            "clock_hz": self.clock_hz,
        }
        if self.contents:
            after["contents"] = dict(self.contents)
        return {"algorithm": self.algorithm}, after

    @property
    def _described_parts(self) -> list[tuple[str, ChipSetting]]:
        """Parts with a description of their own, where they are, by the name of the field."""
        return [(name, part) for name, part in (("chip", self.chip),) if part]

    @classmethod
    def from_description(cls, description: Mapping[str, Json]) -> DesignPoint:
        """The point that `describe` described."""
        pairs = {"parameters": _pairs(description["parameters"]), "contents": _pairs(description.get("contents", {}))}
        told = {**description, **pairs, "chip": _named_chip(description)}
        point: DesignPoint = adapter_of(cls).validate_python(told)
        return point

    @property
    def keyed(self) -> frozenset[Given]:
        """What decides the result besides parameters, as the algorithm says.

        Where the algorithm is gone, since stores may outlive the plug-in that wrote them, the point itself tells: a
        chip has its own clock, and where nothing attends no graph is run.
        """
        try:
            return ALGORITHMS.get(self.algorithm).keyed
        except InputError:
            return frozenset(_RUN) if self.workload and not self.chip else frozenset()

    @property
    def canonical(self) -> str:
        """One JSON text per meaning: sorted keys, no spaces, files by content alone, what decides nothing left out."""
        keyed = self.keyed
        files: dict[str, Json] = {name: f"sha256:{digest}" for name, digest in self.contents}
        own: dict[str, Json] = {
            "algorithm": self.algorithm,
            "clock_hz": self.clock_hz,
            "engine": self.engine,
            "format": KEY_FORMAT,
            "parameters": {**dict(self.parameters), **files},
            "skip": self.skip,
            "tensors": self.tensors.sha256 if self.tensors else None,
            "timing_only": self.timing_only,
        }
        for given, field in _RUN.items():
            if given not in keyed:
                own[field] = None
        texts = {name: part.content_text for name, part in self._described_parts}
        texts["workload"] = _texts_of(self.workload)[0] if self.workload else "null"
        return "{" + ",".join(_spliced(own, texts)) + "}"

    @property
    def text(self) -> str:
        """`describe` in JSON; parts that points share are written once."""
        before, after = self._run_described()
        workload = _texts_of(self.workload)[1] if self.workload else "null"
        members = [_json(before)[1:-1], f'"workload": {workload}', _json(after)[1:-1]]
        members += [f'"{name}": {part.text}' for name, part in self._described_parts]
        return "{" + ", ".join(members) + "}"

    @cached_property
    def key(self) -> str:
        """SHA-256 of `canonical`, in hexadecimal: the name of the point in stores and reports."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    @property
    def seed(self) -> int | None:
        """Seed of the drawn tensors; None when real ones are given or no values are computed."""
        drawn = self.workload if not (self.tensors or self.timing_only) else None
        return drawn.seed if drawn else None

    def refuse_changed_files(self) -> None:
        """Raise InputError if a file that a parameter names is not what it was when the point was made."""
        paths = dict(self.parameters)
        for name, digest in self.contents:
            path = str(paths[name])
            try:
                now = sha256_of(path)
            except OSError as error:
                raise InputError(Problem(f"cannot be read: {error.strerror}", path, field=name)) from None
            if now != digest:
                raise InputError(Problem("has changed since the study began", path, field=name))

    def _repr_html_(self) -> str:
        rows = [("algorithm", self.algorithm)]
        if self.workload:
            rows += [("workload", self.workload.name), ("engine", self.engine)]
        rows += [(name, str(value)) for name, value in self.parameters]
        return html_table(f"Design point {self.key[:12]}", ("field", "value"), rows)


_RUN: dict[Given, str] = {"engine": "engine", "skip": "skip", "clock": "clock_hz"}
"""How a graph is run, and the field of a point that says it: nothing in the key of what takes no such thing."""


def _pairs(told: Json) -> tuple[tuple[str, Json], ...]:
    """The mapping of a description as sorted pairs."""
    if not isinstance(told, Mapping):
        raise TypeError("the parameters of a description are a mapping")
    return tuple(sorted(told.items()))


def _described(workload: Workload) -> dict[str, Json]:
    """What decides a result about a workload."""
    return {name: value for name, value in dataclasses.asdict(workload).items() if name not in _UNKEYED_FIELDS}


def _spliced(own: Mapping[str, Json], texts: Mapping[str, str]) -> Iterator[str]:
    """Members of a canonical JSON object: `own` values, and `texts` that are written already, by name."""
    rest = sorted(own)
    for name in sorted(texts):
        before = [other for other in rest if other < name]
        if before:
            yield _canonical({other: own[other] for other in before})[1:-1]
        yield f'"{name}":{texts[name]}'
        rest = rest[len(before) :]
    if rest:
        yield _canonical({other: own[other] for other in rest})[1:-1]


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_json = json.JSONEncoder(allow_nan=False).encode
_KEPT_TEXTS = 1024
_TEXTS: dict[int, tuple[Workload, tuple[str, str]]] = {}


def _texts_of(workload: Workload) -> tuple[str, str]:
    """What is said of a workload, in canonical JSON and in order; kept, as the points of a grid share theirs.

    By identity: workloads that are equal may be written differently (1 and 1.0).
    """
    found = _TEXTS.get(id(workload))
    if found is None:
        if len(_TEXTS) >= _KEPT_TEXTS:
            _TEXTS.clear()
        described = _described(workload)
        found = _TEXTS[id(workload)] = workload, (_canonical(described), _json(described))
    return found[1]


def _named_chip(description: Mapping[str, Json]) -> Json:
    """The chip of a description with the texts that descriptions leave out."""
    chip = description.get("chip")
    accelerator = chip.get("accelerator") if isinstance(chip, Mapping) else None
    if not isinstance(chip, Mapping) or not isinstance(accelerator, Mapping):
        return chip
    return {**chip, "accelerator": {"summary": "", "process": "", **accelerator}}


_ADAPTERS: dict[object, TypeAdapter[Any]] = {}


def adapter_of(kind: Any) -> TypeAdapter[Any]:
    """The reader of a type, made once: making one takes longer than reading."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def grid(axes: Mapping[str, Sequence[Scalar]]) -> Iterator[dict[str, Scalar]]:
    """Every combination of the axes, the last axis changing fastest.

    >>> [list(point.values()) for point in grid({"a": [1, 2], "b": ["x", "y"]})]
    [[1, 'x'], [1, 'y'], [2, 'x'], [2, 'y']]
    """
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))
