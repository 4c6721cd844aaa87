"""The register of streams of frames: a scenario, what can be changed about it, and the run that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Protocol, TypeVar

from algorithms.chip.timing.fidelity import MemoryFidelity
from algorithms.chip.timing.mapping import Mode
from algorithms.live.streams.run import StreamRun, watch
from algorithms.live.streams.scenario import load_stream, read_stream
from algorithms.registry import ALGORITHMS, Entry, Given, P, Parameters, register_algorithm
from algorithms.workload.levers import knob
from hwmodels.chips.accelerator import Accelerator, load_accelerator
from hwmodels.systems.text import load_system

P_contra = TypeVar("P_contra", bound=Parameters, contravariant=True)
DEFAULT_STREAM = "camera-orin"


class Streamed(Protocol[P_contra]):
    """Watches a stream, on a chip in the place of its own; its launches are timed in a mode and with a memory."""

    def __call__(self, parameters: P_contra, chip: Accelerator, mode: Mode, memory: MemoryFidelity) -> StreamRun: ...


@dataclass(frozen=True, kw_only=True)
class StreamAlgorithm(Entry[P]):
    """A stream of frames that a model watches.

    Parameters
    ----------
    streamed
        Watches it.
    """

    what: ClassVar[str] = "watches a stream of frames"
    takes: ClassVar[frozenset[Given]] = frozenset({"chip", "mapping", "memory", "timing_only"})
    keyed: ClassVar[frozenset[Given]] = frozenset({"chip", "mapping", "memory"})
    chip_parameter: ClassVar[str] = "scenario"

    streamed: Streamed[P]

    def chip_of(self, named: str) -> Accelerator | None:
        """The chip of a scenario."""
        deployment = read_stream(named).deployment
        if deployment.system is not None:
            return load_system(deployment.system).chip
        return None if deployment.chip is None else load_accelerator(deployment.chip)


OVERRIDES: Mapping[str, str] = {
    "model": "model",
    "policy": "policy",
    "budget": "budget",
    "rate": "frames.rate",
    "seconds": "frames.seconds",
    "tokens": "frames.tokens",
    "overflow": "frames.overflow",
    "question_every": "questions.every",
    "weights": "deployment.weights",
    "kv": "deployment.kv",
}
"""Parameters that take the place of what a scenario says, and where it says so."""


@dataclass(frozen=True)
class StreamParameters:
    """A scenario, and what is changed about it: what is left at 0 or empty stays as the scenario says."""

    scenario: str = field(default=DEFAULT_STREAM, metadata={**knob("a stream's name, or YAML file"), "content": True})
    model: str = field(default="", metadata=knob("another model"))
    policy: str = field(default="", metadata=knob("another KV policy, e.g. streaming_llm(sink=64,recent=6208)"))
    budget: int = field(default=0, metadata=knob("keys kept per KV head; 0: the policy's own sizes", "token"))
    rate: float = field(default=0.0, metadata=knob("frames per second"))
    seconds: float = field(default=0.0, metadata=knob("how long the camera runs", "s"))
    tokens: int = field(default=0, metadata=knob("tokens of a frame in the model", "token"))
    overflow: str = field(default="", metadata=knob("frames that come while the model works: queue, drop or newest"))
    question_every: float = field(default=0.0, metadata=knob("time between questions", "s"))
    weights: str = field(default="", metadata=knob("format of matrices"))
    kv: str = field(default="", metadata=knob("format of cached keys and values"))

    def changes(self) -> dict[str, str | int | float]:
        """Values at dotted paths of the scenario's file."""
        return {path: getattr(self, name) for name, path in OVERRIDES.items() if getattr(self, name)}


def stream_algorithm(name: str, parameters: type[P]) -> Callable[[Streamed[P]], Streamed[P]]:
    """Register the decorated function; the first line of its docstring is its summary.

    Raises
    ------
    InputError
        As `algorithms.registry.register_algorithm`.
    """

    def register(streamed: Streamed[P]) -> Streamed[P]:
        register_algorithm(name, parameters, streamed, partial(StreamAlgorithm[P], streamed=streamed, has_values=False))
        return streamed

    return register


def get_stream_algorithm(name: str) -> StreamAlgorithm[Parameters]:
    """The stream of a name; raises InputError if there is none, with the nearest name."""
    return ALGORITHMS.get_kind(name, StreamAlgorithm, "stream of frames")


@stream_algorithm("live.stream", StreamParameters)
def stream_frames(parameters: StreamParameters, chip: Accelerator, mode: Mode, memory: MemoryFidelity) -> StreamRun:
    """Frames of a camera go into a model under a KV policy, questions are answered: does it keep up, at what memory."""
    scenario = load_stream(parameters.scenario, parameters.changes(), chip)
    return watch(replace(scenario, steps=replace(scenario.steps, mode=mode, memory=memory)))
