"""The text of a published system, as pydantic models; `studies.reproductions.system` gives it meaning.

A system says in one file what it is, what runs, and what was claimed of it::

    title: "DuoAttention: retrieval heads keep all, streaming heads a window"
    family: bounded caches and video
    paper: arXiv:2410.10819
    mechanism: Two sentences.
    setting:
      context: {value: 100000, unit: token, source: "figure 9", mark: paper}
    runs:
      full:
        algorithm: model.step
        chip: a100_sxm4_80g
        parameters: {model: llama2-7b, batch: decode 1 of 100000}
      duo: {like: full, parameters: {policy: "duo_attention(retrieval=0.25,sink=64,recent=256)"}}
    claims:
      - metric: decode speed-up at 100 K
        published: 2.18
        unit: x
        ours: full.seconds / duo.seconds
        kind: simulated
        compare: ratio
        tolerance_pct: 10
        source: abstract
        mark: abstract
    perturb:
      - {run: duo, parameters: {policy: full}, moves: [decode speed-up at 100 K]}

A run is a design, written as in a study file without axes, or a named calculation with parameters; ``like`` takes
everything of an earlier run that is not said again. ``perturb`` says what the figures hang on: with the change, those
named have to move. A claim without ``ours`` is only quoted, and says why; ``growth: true`` says no more than that
something stays constant, or grows in proportion, while a stream goes on.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from algorithms.chip.timing.fidelity import MemoryFidelity
from hwmodels.reading.cited import NO_TRUTH_VALUE
from studies.points.point import Engine, Mapped, Scalar
from studies.reproductions.verdicts import Comparison, Kind

Group = Literal[
    "hardware, kernels, serving, training",
    "bounded caches and video",
    "retrieval",
    "constant state and cached activations",
]
Mark = Literal["paper", "code", "abstract", "notes"]
"""Where a published value was seen: the paper's text, its official code, its abstract alone, somebody's notes."""
Number = Annotated[int | float, NO_TRUTH_VALUE]
Words = Annotated[str, Field(min_length=1), BeforeValidator(lambda text: " ".join(text.split()) if text else text)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SettingText(_Strict):
    """A number of the paper's setting, or a choice where the paper is silent."""

    value: Number
    unit: str = ""
    source: Words
    mark: Mark | Literal["choice"] = "paper"


class DesignText(_Strict):
    """What of a design a run sets, or a perturbation changes."""

    algorithm: str | None = None
    calculation: str | None = None
    workload: str | dict[str, Scalar] | None = None
    chip: str | dict[str, Scalar] | None = None
    mapping: Mapped | None = None
    memory: MemoryFidelity | None = None
    kernel: str | None = None
    engine: Engine | None = None
    clock: Scalar = None
    timing_only: bool | None = None
    parameters: dict[str, Scalar] = {}


class RunText(DesignText):
    """A design or a calculation under a name."""

    like: Name | None = None


class PerturbText(DesignText):
    """A change of a run under which figures have to move."""

    run: Name
    moves: Annotated[list[str], Field(min_length=1)]


class ClaimText(_Strict):
    """A published value, and how ours is made and compared."""

    metric: Words
    published: Number | Annotated[list[Number], Field(min_length=2, max_length=2)]
    unit: str = ""
    kind: Kind = "quoted"
    growth: bool = False
    """Whether all that is claimed is how something grows with a stream or a prompt, most often not at all."""
    ours: str | Annotated[list[str], Field(min_length=2)] | None = None
    compare: Comparison | None = None
    tolerance_pct: Annotated[float, Field(gt=0, le=50), NO_TRUTH_VALUE] | None = None
    source: Words
    mark: Mark
    why: Words | None = None

    @property
    def formulas(self) -> list[str]:
        """Formulas of our figure: several make a range."""
        return [self.ours] if isinstance(self.ours, str) else list(self.ours or [])

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if (self.kind == "quoted") != (self.ours is None):
            raise ValueError("a claim is either 'quoted', or has 'ours' and is 'simulated' or 'arithmetic'")
        if self.ours is None:
            if self.compare or self.tolerance_pct:
                raise ValueError("what is only quoted cannot be compared")
            if not self.why:
                raise ValueError("what is only quoted needs a 'why': what is missing")
            return self
        if self.compare is None:
            raise ValueError("needs 'compare': how ours is held against the published value")
        if (self.compare in ("tolerance", "ratio")) != (self.tolerance_pct is not None) and self.compare != "band":
            raise ValueError(
                "'tolerance_pct' goes with the comparisons tolerance and ratio, which need it, and with band"
            )
        if (self.compare == "band") != isinstance(self.ours, list):
            raise ValueError("'ours' is a list of formulas for the comparison 'band', else one formula")
        return self


class SystemText(_Strict):
    """A published system as written."""

    title: Words
    family: Group
    paper: Words
    mechanism: Words
    setting: dict[Name, SettingText] = {}
    runs: dict[Name, RunText] = {}
    claims: Annotated[list[ClaimText], Field(min_length=1)]
    perturb: list[PerturbText] = []
