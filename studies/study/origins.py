"""Where every value of a resolved study comes from: a line, a preset, a default, a citation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from hwmodels.reading.documents import Document, FieldPath
from studies.points.knobs import WORKLOAD_KNOBS
from studies.points.point import ChipSetting, DesignPoint, Json, Scalar
from studies.points.vocabulary import Target, Thing, path_of
from studies.study.question import Setting


@dataclass
class StudyAxis:
    """An axis as far as it is sound: what it changes and the good values, each with its place."""

    target: Target | Thing
    name: str
    places: dict[Scalar, FieldPath]
    when: dict[str, list[Scalar]] = field(default_factory=dict)


@dataclass(frozen=True)
class Origins:
    """A study file and its axes, to look values up in."""

    document: Document
    axes: Mapping[str, StudyAxis]

    def settings(self, first: DesignPoint) -> Iterator[Setting]:
        """Every resolved value with its origin, of the first point of the study; an axis shows all its values."""
        by_target = {(axis.target, axis.name): axis for axis in self.axes.values()}
        for row in (*_of_algorithm(first), *_of_workload(first), *_of_run(first), *_of_chip(first)):
            name = path_of(row.target, row.name)
            axis = by_target.get((row.target, row.name))
            if axis is not None:
                place = next(iter(axis.places.values()))
                condition = "".join(f", when {other} is {_either(values)}" for other, values in axis.when.items())
                yield Setting(name, list(axis.places), f"axis, {self._line(place)}{condition}")
            else:
                found = [self._line(path) for path in row.places if path in self.document.lines]
                yield Setting(name, row.value, found[0] if found else row.default)
        for name in ("timing_only", "skip", "tensors") if first.workload else ():
            found = [self._line((name,))] if (name,) in self.document.lines else ["default"]
            yield Setting(name, first.describe()[name], found[0])
        for name in ("objectives", "constraints"):
            if (name,) in self.document.lines:
                yield Setting(name, self.document.at((name,)), self._line((name,)))

    def _line(self, path: FieldPath) -> str:
        return f"{self.document.name}:{self.document.lines[path]}"


@dataclass(frozen=True)
class _Row:
    """A value, the places where a study may have set it, and where it comes from otherwise."""

    target: Target | Thing
    name: str
    value: Json
    default: str
    places: tuple[FieldPath, ...]


def _of_algorithm(point: DesignPoint) -> Iterator[_Row]:
    yield _Row("algorithm", "algorithm", point.algorithm, "default", (("algorithm",),))
    for name, value in point.parameters:
        yield _Row("parameter", name, value, f"default of {point.algorithm}", (("parameters", name),))


def _of_workload(point: DesignPoint) -> Iterator[_Row]:
    workload = point.workload
    if not workload:
        return
    yield _Row("workload", "workload", workload.name, "default", (("workload", "preset"), ("workload",)))
    origin = f"tensors {point.tensors.path}" if point.tensors else f"workload {workload.name}"
    for name in WORKLOAD_KNOBS:
        if hasattr(workload, name):
            places: list[FieldPath] = [("workload", name)]
            if name in ("q_len", "kv_len"):
                places += [("workload", "seq_len"), ("axes", "seq_len"), ("axes", "workload.seq_len")]
            yield _Row("knob", name, getattr(workload, name), origin, tuple(places))


def _of_run(point: DesignPoint) -> Iterator[_Row]:
    if not point.workload:
        return
    yield _Row("use", "engine", point.engine, "default", (("engine",),))
    chip = point.chip
    clock_origin = f"chip {chip.accelerator.name}" if chip else "default"
    yield _Row("use", "clock", point.clock_hz, clock_origin, (("clock",),))


def _of_chip(point: DesignPoint) -> Iterator[_Row]:
    setting = point.chip
    if not setting:
        return
    yield _Row("chip", "chip", setting.accelerator.name, "default", (("chip", "preset"), ("chip",)))
    yield _Row("use", "mapping", setting.mapping, "default", (("mapping",),))
    yield _Row("use", "memory", setting.memory, "default", (("memory",),))
    yield _Row("use", "kernel", setting.profile.name if setting.profile else None, "default", (("kernel",),))
    for path, value, source in _chip_fields(setting):
        yield _Row("field", path, value, source, (("chip", path),))


def _chip_fields(setting: ChipSetting) -> Iterator[tuple[str, Scalar, str]]:
    """(path, value, source) of every number of a chip."""
    accelerator = setting.accelerator
    sources = accelerator.sources()
    for path, value in accelerator.values().items():
        if path not in ("name", "summary") and value is not None:
            yield path, value, sources.get(path, f"chip {accelerator.name}")


def _either(values: Iterable[Scalar]) -> str:
    return " or ".join(str(value) for value in values)
