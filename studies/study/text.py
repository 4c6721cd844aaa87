"""The text of a study file, as pydantic models; `studies.study.resolve` gives it meaning.

A study names an algorithm and a workload, sets some of their knobs and lists axes::

    name: fifo-depth
    algorithm: sdpa.naive
    workload: {preset: llama3-8b, seq_len: 512, heads: 1, kv_heads: 1}
    parameters: {granularity: row}
    axes:
      workload.kv_len: {from: 64, to: 4096, factor: 2}
      algorithm: [sdpa.naive, sdpa.memory_free]
    seeds: [0, 1]

Its grid has one design point for every combination of the axes, the last axis changing fastest. An axis is
``algorithm``, ``workload`` (presets or files), ``engine``, ``clock``, a knob of the workload
(``workload.kv_len``) or a parameter of the algorithm (by name); a plain name means a parameter first, then a
knob of the workload. An axis may hold for some values of earlier axes only, and a study may say what it is after::

      long_depth: {values: [256, 512], when: {algorithm: sdpa.naive}}
    objectives: [cycles, fifo.capacity_bytes]
    constraints: [fifo.capacity_bytes <= 64 KiB]

Where two blocks of a design work side by side and share a budget, ``search --sampler two_stage`` wants to know them,
axes from small to large::

    blocks:
      - {metric: block.feed_forward_cycles, axes: [linear_in, linear_out, linear_units]}
      - {metric: block.attention_cycles, axes: [streaming_modules, attention_tile, attention_queries]}

An algorithm that runs on a chip needs one (a preset or a file), whose fields can be changed and varied; ``kernel``
takes tiles and overheads of a published kernel::

    algorithm: flash.q_outer
    chip: {preset: h100, hbm.bytes_per_second: 4 TB/s}
    kernel: fa3_hopper
    axes:
      chip: [h100, h200, b200]
      chip.cores: [66, 132]
      mapping: [symmetric, exact]

Where a memory tier is measured nothing attends, and parameters say all there is to say::

    algorithm: tier.probe
    axes:
      tier: [ddr4_3200, hbm2]
      pattern: [streams, gather, random]
"""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from algorithms.chip.timing.fidelity import MemoryFidelity
from algorithms.figures import Goal
from hwmodels.reading.quantity import Hertz
from studies.points.point import Engine, Mapped, Scalar
from studies.study.goals import TOLERANCE

LONGEST_AXIS = 100_000
LONGEST_NAME = 200
MOST_AXES = 256
LARGEST_NUMBER = 1e15


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Condition = dict[str, Scalar | Annotated[list[Scalar], Field(min_length=1)]]
"""Earlier axes, and the value or values of each for which an axis holds."""


class RangeText(_Strict):
    """Evenly (`step`) or geometrically (`factor`) spaced values; `to` is included when it is hit."""

    first: int | float = Field(alias="from")
    last: int | float = Field(alias="to")
    step: int | float | None = None
    factor: int | float | None = None
    when: Condition = {}

    @model_validator(mode="after")
    def _advances(self) -> Self:
        numbers = [number for number in (self.first, self.last, self.step, self.factor) if number is not None]
        if not all(-LARGEST_NUMBER <= number <= LARGEST_NUMBER for number in numbers):
            raise ValueError(f"the numbers of a range must lie within {LARGEST_NUMBER:g} of zero")
        if (self.step is None) == (self.factor is None):
            raise ValueError("a range needs either 'step' or 'factor'")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step must be greater than 0 (got {self.step})")
        if self.factor is not None and (self.factor <= 1 or self.first <= 0):
            raise ValueError("a range with a factor needs factor > 1 and from > 0")
        if self.last < self.first:
            raise ValueError(f"'to' must not be below 'from' (got {self.last} and {self.first})")
        if self._steps() >= LONGEST_AXIS:
            raise ValueError(f"has {self._steps() + 1:.6g} values, more than {LONGEST_AXIS}")
        return self

    def _steps(self) -> float:
        """How often one can step from the first value without passing the last."""
        if self.step is not None:
            return (self.last - self.first) / self.step
        return math.log(self.last / self.first) / math.log1p((self.factor or 2) - 1)

    def values(self) -> list[Scalar]:
        """All values, in ascending order; whole numbers stay whole."""
        # a value that misses the last one by rounding alone counts as hitting it
        steps = range(math.floor(self._steps() * (1 + 1e-12) + 1e-12) + 1)
        if self.step is not None:
            return [self.first + i * self.step for i in steps]
        return [self.first * (self.factor or 2) ** i for i in steps]


ListText = Annotated[list[Scalar], Field(min_length=1, max_length=LONGEST_AXIS)]


class ValuesText(_Strict):
    """Values that are tried under a condition only."""

    values: ListText
    when: Condition = {}


def _form_of_axis(value: object) -> str:
    if isinstance(value, ValuesText) or (isinstance(value, dict) and "values" in value):
        return "values"
    return "range" if isinstance(value, dict | RangeText) else "list"


AxisText = Annotated[
    Annotated[ListText, Tag("list")] | Annotated[ValuesText, Tag("values")] | Annotated[RangeText, Tag("range")],
    Discriminator(_form_of_axis),
]


class BlockText(_Strict):
    """One of two blocks that work side by side; ``metric`` is its pace, less is faster."""

    metric: str
    axes: Annotated[list[str], Field(min_length=1)]


def _few(axes: object) -> object:
    """Refuse more axes than any study has, before each of them is read and looked up."""
    if isinstance(axes, dict) and len(axes) > MOST_AXES:
        raise ValueError(f"has {len(axes):,} axes, more than {MOST_AXES}")
    return axes


class StudyText(_Strict):
    """A study file as written."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)] | None = None
    title: str = ""
    algorithm: str | None = None
    workload: str | dict[str, Scalar] | None = None
    chip: str | dict[str, Scalar] | None = None
    mapping: Mapped = "symmetric"
    memory: MemoryFidelity = "peak"
    kernel: str | None = None
    parameters: dict[str, Scalar] = {}
    axes: Annotated[dict[str, AxisText], BeforeValidator(_few)] = {}
    objectives: list[str] | dict[str, Goal | None] = []
    constraints: list[str] = []
    tolerance: Annotated[float, Field(ge=0, lt=1)] = TOLERANCE
    blocks: Annotated[list[BlockText], Field(min_length=2, max_length=2)] = []
    seeds: Annotated[list[int], Field(min_length=1)] | None = None
    engine: Engine = "compiled"
    timing_only: bool = False
    skip: bool = True
    tensors: str | None = None
    clock: Annotated[Hertz, Field(gt=0)] = 1e9

    def axis_values(self) -> dict[str, list[Scalar]]:
        """Values of every axis as written, ranges expanded; seeds are the last axis."""
        values = {name: _values_of(axis) for name, axis in self.axes.items()}
        if self.seeds is not None:
            values["workload.seed"] = list(self.seeds)
        return values

    def conditions(self) -> dict[str, dict[str, list[Scalar]]]:
        """For each axis with a condition the earlier axes and values under which it holds."""
        return {
            name: {other: list(values) if isinstance(values, list) else [values] for other, values in axis.when.items()}
            for name, axis in self.axes.items()
            if isinstance(axis, RangeText | ValuesText) and axis.when
        }


def _values_of(axis: list[Scalar] | ValuesText | RangeText) -> list[Scalar]:
    if isinstance(axis, RangeText):
        return axis.values()
    return list(axis.values if isinstance(axis, ValuesText) else axis)
