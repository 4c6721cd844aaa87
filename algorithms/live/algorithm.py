"""The register of what is served over time: a scenario, what can be changed about it, and the run that comes of it.

They are found like the algorithms of `algorithms.registry` and share their names; a scenario says everything, and every
parameter that is set takes the place of what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar, Protocol, TypeVar

from algorithms.chip.timing.fidelity import MemoryFidelity
from algorithms.chip.timing.mapping import Mode
from algorithms.live.deployment import Deployment
from algorithms.live.metrics import ServingMetrics, serving_metrics
from algorithms.live.pools import chip_for_tokens
from algorithms.live.replica import StepLog
from algorithms.live.scenario import Scenario, load_scenario, read_scenario, trace_of
from algorithms.live.serve import ServedRun, serve
from algorithms.live.steps import Part
from algorithms.live.times.divided import DividedChip
from algorithms.live.times.energy import joules_of_steps
from algorithms.live.times.staggered import StaggeredTimes
from algorithms.live.times.table import TableError, TableTimes, table_error
from algorithms.registry import ALGORITHMS, Entry, Given, P, Parameters, Setting, register_algorithm
from algorithms.workload.levers import knob
from hwmodels.chips.accelerator import Accelerator, load_accelerator
from hwmodels.systems.text import load_system

P_contra = TypeVar("P_contra", bound=Parameters, contravariant=True)
DEFAULT_SCENARIO = "azure-chat-h100"


@dataclass(frozen=True)
class LiveRun:
    """What became of a scenario.

    Parameters
    ----------
    scenario
        The scenario that was served.
    run
        Requests, steps and memory.
    metrics
        Figures that the run is judged by.
    error
        How far step times read from the table are from computed ones, on steps of this run.
    filled
        Step times that were simulated.
    energy_j
        Energy of all chips from the first arrival to the last token; None where attention is left to other
        chips.
    """

    scenario: Scenario
    run: ServedRun
    metrics: ServingMetrics
    error: TableError
    filled: int
    energy_j: float | None = None


class Served(Protocol[P_contra]):
    """Serves a scenario, on a chip in the place of its own; its launches are timed in a mode and with a memory."""

    def __call__(self, parameters: P_contra, chip: Accelerator, mode: Mode, memory: MemoryFidelity) -> LiveRun: ...


@dataclass(frozen=True, kw_only=True)
class LiveAlgorithm(Entry[P]):
    """Something that is served over time.

    Parameters
    ----------
    served
        Serves it.
    """

    what: ClassVar[str] = "serves a scenario over time"
    takes: ClassVar[frozenset[Given]] = frozenset({"chip", "mapping", "memory", "timing_only"})
    keyed: ClassVar[frozenset[Given]] = frozenset({"chip", "mapping", "memory"})
    chip_parameter: ClassVar[str] = "scenario"

    served: Served[P]

    def implied(self, chosen: Mapping[str, Setting | None]) -> Mapping[str, Setting]:
        """The trace that the scenario names, where it is there: its content is part of the design."""
        name = str(chosen.get("scenario") or DEFAULT_SCENARIO)
        if chosen.get("trace"):
            return {}
        found = trace_of(name, read_scenario(name))
        return {} if found is None else {"trace": f"{found.parent}/{found.name}"}

    def chip_of(self, named: str) -> Accelerator | None:
        """The chip of a scenario."""
        deployment = read_scenario(named).deployment
        if deployment.system is not None:
            return chip_for_tokens(load_system(deployment.system))
        return None if deployment.chip is None else load_accelerator(deployment.chip)


OVERRIDES: Mapping[str, str] = {
    "requests": "arrivals.requests",
    "speed": "arrivals.speed",
    "rate": "arrivals.rate",
    "variation": "arrivals.variation",
    "clients": "arrivals.clients",
    "model": "model",
    "system": "deployment.system",
    "replicas": "deployment.replicas",
    "prefill": "deployment.prefill",
    "tp": "deployment.tp",
    "dp": "deployment.dp",
    "weights": "deployment.weights",
    "kv": "deployment.kv",
    "scheduler": "scheduler.kind",
    "most_sequences": "scheduler.most_sequences",
    "most_tokens": "scheduler.most_tokens",
    "blocks": "scheduler.blocks",
    "prefix_cache": "scheduler.prefix_cache",
    "seed": "seed",
}
"""Parameters that take the place of what a scenario says, and where it says so."""


@dataclass(frozen=True)
class ServeParameters:
    """A scenario, and what is changed about it: what is left at 0 or empty stays as the scenario says."""

    scenario: str = field(
        default=DEFAULT_SCENARIO, metadata={**knob("a scenario's name, or YAML file"), "content": True}
    )
    trace: str = field(
        default="", metadata={**knob("file of requests in the place of what the scenario names"), "content": True}
    )
    requests: int = field(default=0, metadata=knob("so many requests, from the beginning"))
    speed: float = field(default=0.0, metadata=knob("so many times as fast as the trace, or as the scenario says"))
    rate: float = field(default=0.0, metadata=knob("requests per second, where they are drawn"))
    variation: float = field(default=0.0, metadata=knob("spread of times between arrivals over their mean"))
    clients: int = field(default=0, metadata=knob("clients that wait for their answers"))
    model: str = field(default="", metadata=knob("another model"))
    system: str = field(default="", metadata=knob("another system"))
    replicas: int = field(default=0, metadata=knob("replicas of the model"))
    prefill: int = field(default=0, metadata=knob("replicas that compute prompts alone"))
    tp: int = field(default=0, metadata=knob("chips that share every layer"))
    dp: int = field(default=0, metadata=knob("groups of chips with sequences of their own that share experts"))
    weights: str = field(default="", metadata=knob("format of matrices"))
    kv: str = field(default="", metadata=knob("format of cached keys and values"))
    scheduler: str = field(default="", metadata=knob("who is in a step: a scheduler's name"))
    most_sequences: int = field(default=0, metadata=knob("sequences that run together"))
    most_tokens: int = field(default=0, metadata=knob("new tokens of a step"))
    blocks: int = field(default=0, metadata=knob("KV blocks of a replica"))
    prefix_cache: str = field(default="", metadata=knob("whether prompts that begin alike share blocks: true or false"))
    seed: int = field(default=0, metadata=knob("seed of whatever is drawn"))
    exact: bool = field(default=False, metadata=knob("compute every composition of a step instead of reading a table"))
    skip: bool = field(default=True, metadata=knob("stretches of like steps as one event; results are the same"))

    def changes(self) -> dict[str, str | int | float]:
        """Values at dotted paths of the scenario's file."""
        chosen = {path: getattr(self, name) for name, path in OVERRIDES.items() if getattr(self, name)}
        return chosen | ({"scheduler.exact": "true"} if self.exact else {})


def live_algorithm(name: str, parameters: type[P]) -> Callable[[Served[P]], Served[P]]:
    """Register the decorated function; the first line of its docstring is its summary.

    Raises
    ------
    InputError
        As `algorithms.registry.register_algorithm`.
    """

    def register(served: Served[P]) -> Served[P]:
        register_algorithm(name, parameters, served, partial(LiveAlgorithm[P], served=served, has_values=False))
        return served

    return register


def get_live_algorithm(name: str) -> LiveAlgorithm[Parameters]:
    """What is served under a name; raises InputError if there is none, with the nearest name."""
    return ALGORITHMS.get_kind(name, LiveAlgorithm, "scenario over time")


@live_algorithm("live.serve", ServeParameters)
def serve_requests(parameters: ServeParameters, chip: Accelerator, mode: Mode, memory: MemoryFidelity) -> LiveRun:
    """Requests arrive, wait, run in batches on replicas of a model, and leave: latencies, rates, memory."""
    own = None if parameters.system else chip
    scenario = load_scenario(parameters.scenario, parameters.changes(), parameters.trace or None, own)
    timed = replace(scenario.deployment, mode=mode, memory=memory)
    return serve_scenario(replace(scenario, deployment=timed), skip=parameters.skip)


def serve_scenario(scenario: Scenario, times: TableTimes | None = None, *, skip: bool = True) -> LiveRun:
    """Serve a scenario.

    Parameters
    ----------
    times
        A table of step times, filled as far as it is; a new one if none is given.
    skip
        Whether stretches of like steps are one event.

    Raises
    ------
    InputError
        Requests that are out of order.
    simulator.errors.CapacityError
        If no KV block fits beside the weights.
    """
    deployment = scenario.deployment
    table = times or deployment.times()
    durations = deployment.step_times(table)
    prompts = deployment.of_prompts.times() if deployment.of_prompts is not deployment else None
    run = serve(
        scenario.asked.requests,
        deployment.maker(),
        durations,
        replicas=deployment.groups,
        skip=skip,
        clients=scenario.clients,
        think_s=scenario.think_s,
        split=deployment.split(prompts),
    )
    apart = deployment.prefill * deployment.mapping.dp if prompts else 0
    judged = durations if isinstance(durations, StaggeredTimes) else table
    filled = (durations if isinstance(durations, DividedChip) else judged).filled + (prompts.filled if prompts else 0)
    error = TableError(0, 0.0, 0.0)
    if not deployment.exact:
        error = table_error(judged, _steps(run.logs[apart:]), deployment.compared)
        if prompts:
            error += table_error(prompts, _steps(run.logs[:apart]), deployment.compared)
    metrics = serving_metrics(run, scenario.level)
    return LiveRun(scenario, run, metrics, error, filled, _energy_j(deployment, run, metrics.seconds))


def _energy_j(deployment: Deployment, run: ServedRun, seconds: float) -> float | None:
    """What all chips draw while they wait, and what steps add on the chips of each group."""
    if deployment.attending is not None:
        return None
    apart = 0 if deployment.of_prompts is deployment else deployment.prefill * deployment.mapping.dp
    chips = deployment.mapping.chips / deployment.mapping.dp
    added = joules_of_steps(
        run.logs[apart:], deployment.joules(), deployment.speculation, deployment.joules_of_drafts()
    )
    if apart:
        added += joules_of_steps(run.logs[:apart], deployment.of_prompts.joules())
    return seconds * deployment.waiting_w + chips * added


def _steps(logs: Sequence[StepLog]) -> list[tuple[int, int, tuple[Part, ...]]]:
    """All steps of some replicas, each stretch by its first."""
    return [each for log in logs for each in zip(log.sequences, log.contexts, log.parts, strict=True)]
