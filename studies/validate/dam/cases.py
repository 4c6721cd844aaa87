"""Cases of DAM's cycle counts, and the design that each of them describes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from algorithms.registry import Algorithm, Parameters, get_algorithm
from algorithms.workload.shape import Workload
from simulator import Graph

Count = Annotated[int, Field(ge=1)]
Cycles = Annotated[int, Field(ge=0)]
Numbers = dict[str, int | None]

UNBOUNDED = "unbounded"
_DEPTH_PARAMETERS = {"short": "short_depth", "all": "short_depth", "long": "long_depth"}

ALGORITHMS = {
    "dam-experiments/naive": "dam.naive",
    "dam-experiments/agnostic": "dam.agnostic",
    "DAM-RS@gina/spatial": "dam.gina_spatial",
    "DAM-RS@gina/agnostic": "dam.gina_agnostic",
    "DAM-RS@gina/scaled": "dam.gina_scaled",
    "DAM-RS@gina/unscaled": "dam.gina_unscaled",
}
COMPOSED = {
    variant: f"dam.composed_{variant}" for variant in ("naive", "scaled", "reordered", "naive_reordered", "memory_free")
}

# timing of the composed graphs in words, as the files have it
_UNIT_LATENCY = re.compile(
    r"all ii=(?P<ii>\d+), latency=(?P<latency>\d+)(; reduce emits ii\+latency after its last input)?"
    r"(; repeat ii=(?P<repeat_ii>\d+) latency=(?P<repeat_latency>\d+))?"
)
_DOT_LATENCY = re.compile(
    r"dot latency (?P<dot_latency>\d+)(=1\+log2\(d\))?, exp \(or scan\) latency (?P<exp_latency>\d+), "
    r"others (?P<latency>\d+), all ii=(?P<ii>\d+)"
)
_FIRST_II = re.compile(r"(\d+) on first element of a row, (\d+) after")
_SUM = re.compile(r"\d+( ?\+ ?\d+)*")


class UnsupportedCaseError(Exception):
    """A case that the project has no graph for; the message says why."""


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class ChannelTiming(_Model):
    """Timing of all channels, in cycles."""

    latency: Count = 1
    response_latency: Count = 1


class DamCase(_Model):
    """One run of DAM: a graph, its size and timing, and how long it took.

    Parameters
    ----------
    n, d, batch
        Queries and keys, elements of a row (or ``"vector-wide"``), sequences.
    fifo_depths
        Of the ``short`` and the ``long`` FIFOs, or of ``all``: tokens, or ``"unbounded"``.
    units
        Timing by unit, or for composed graphs in words.
    cycles
        Largest final clock of all units; None with a deadlock.
    """

    id: str | None = None
    group: str = ""
    variant: str = ""
    graph: str
    n: Count = Field(alias="N")
    d: Count | Literal["vector-wide"]
    batch: Count = 1
    fifo_depths: dict[str, Count | Literal["unbounded"] | None]
    units: dict[str, dict[str, Cycles | str]] | str
    channel: ChannelTiming = ChannelTiming()
    cycles: Count | None = None
    deadlock: bool = False

    @model_validator(mode="after")
    def _has_cycles_or_a_deadlock(self) -> DamCase:
        if self.deadlock == (self.cycles is not None):
            raise ValueError("needs either cycles or a deadlock")
        return self

    def build(self) -> Graph:
        """The graph of this case.

        Raises
        ------
        UnsupportedCaseError
            The project has no such graph, or it has no such timing.
        InputError
            The parameters of the graph refuse a value.
        """
        found = self._algorithm()
        parameters = {
            **self._depths(found),
            "channel_latency": self.channel.latency,
            "response_latency": self.channel.response_latency,
            **(_timing_in_words(found, self.units) if isinstance(self.units, str) else _timing(found, self.units)),
        }
        kind: Callable[..., Parameters] = found.parameters  # which refuses what does not fit
        return found.build(self._workload(), kind(**parameters))

    def _algorithm(self) -> Algorithm[Parameters]:
        if self.graph.partition(" ")[0] == "composed":
            if self.variant in COMPOSED:
                return get_algorithm(COMPOSED[self.variant])
            raise UnsupportedCaseError(f"no composed graph is called {self.variant!r}")
        if self.graph in ALGORITHMS:
            return get_algorithm(ALGORITHMS[self.graph])
        raise UnsupportedCaseError(f"no graph is called {self.graph!r}")

    def _workload(self) -> Workload:
        # tokens that are whole rows take the same time whatever they hold
        head_dim = self.d if isinstance(self.d, int) else 1
        return Workload(
            name="dam", phase="prefill", batch=self.batch, heads=1, kv_heads=1, q_len=self.n, kv_len=self.n,
            head_dim=head_dim, mask="full", dtype="float64",
        )  # fmt: skip

    def _depths(self, found: Algorithm[Parameters]) -> Numbers:
        names = _parameter_names(found)
        depths: Numbers = {}
        for kind, depth in self.fifo_depths.items():
            if depth is None:
                continue
            parameter = _DEPTH_PARAMETERS.get(kind)
            if parameter is None or parameter not in names:
                raise UnsupportedCaseError(f"fifo_depths: {found.name} has no FIFOs called {kind!r}")
            depths[parameter] = None if depth == UNBOUNDED else int(depth)
        missing = names & set(_DEPTH_PARAMETERS.values()) - set(depths)
        if missing:
            raise UnsupportedCaseError(f"fifo_depths: {', '.join(sorted(missing))} of {found.name} is not given")
        return depths


def _timing(found: Algorithm[Parameters], units: dict[str, dict[str, int | str]]) -> Numbers:
    """Timing by unit: each key is a parameter ``<unit>_<key>``."""
    timing: Numbers = {}
    for unit, given in units.items():
        for key, value in given.items():
            timing |= _parameters_of(f"{unit}_{key}", value)
    unknown = sorted(set(timing) - _parameter_names(found))
    if unknown:
        raise UnsupportedCaseError(f"units: {found.name} has no parameter {', '.join(unknown)}")
    return timing


def _timing_in_words(found: Algorithm[Parameters], words: str) -> Numbers:
    """The sentences that describe all units of a composed graph at once."""
    match = _UNIT_LATENCY.fullmatch(words) or _DOT_LATENCY.fullmatch(words)
    if match is None:
        raise UnsupportedCaseError(f"units: the words {words!r} are not understood")
    said = {key: int(value) for key, value in match.groupdict().items() if value is not None}
    said.setdefault("repeat_ii", 0)  # a repetition costs nothing unless the words say otherwise
    if "exp_latency" in said:
        said["scan_latency"] = said["exp_latency"]
    timing: Numbers = {}
    for name in _parameter_names(found) - {"channel_latency", "response_latency"}:
        for what in ("latency", "ii"):
            if name.endswith(f"_{what}"):
                timing[name] = said.get(name, said[what])
    return timing


def _parameter_names(found: Algorithm[Parameters]) -> set[str]:
    return {field.name for field in dataclasses.fields(found.parameters)}


def _parameters_of(name: str, value: int | str) -> Numbers:
    """One entry of a unit's timing; texts are ``"2+11"`` and ``"1 on first element of a row, 0 after"``."""
    if isinstance(value, int):
        return {name: value}
    first_ii = _FIRST_II.fullmatch(value)
    if first_ii and name.endswith("_ii"):
        return {f"{name.removesuffix('_ii')}_first_ii": int(first_ii[1]), name: int(first_ii[2])}
    if _SUM.fullmatch(value):
        return {name: sum(map(int, value.split("+")))}
    if value == UNBOUNDED and name.endswith("_depth"):
        return {name: None}
    raise UnsupportedCaseError(f"units: {name} is not understood (got {value!r})")


class DamCases(_Model):
    """A file of such cases."""

    cases: list[DamCase]

    @field_validator("cases")
    @classmethod
    def _is_not_empty(cls, cases: list[DamCase]) -> list[DamCase]:
        if not cases:
            raise ValueError("holds no case")
        return cases
