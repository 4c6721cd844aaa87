"""Scenarios: one file that says who asks for what and when, of which model, on what, and within which limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from algorithms.live.arrivals import Drawn
from algorithms.live.deployment import Deployment
from algorithms.live.metrics import ServiceLevel
from algorithms.live.requests import NANOSECONDS, Request
from algorithms.live.scenario_text import ScenarioText
from algorithms.live.traces import read_trace
from hwmodels.chips.accelerator import Accelerator
from hwmodels.reading.documents import Document, Value
from hwmodels.reading.errors import InputError
from hwmodels.reading.shipped import Shipped, is_file, is_path

_SHIPPED = Shipped("algorithms.live", "scenarios", "scenario")


@dataclass(frozen=True)
class Asked:
    """Requests of a scenario, and where they are from.

    Parameters
    ----------
    requests
        Requests in the order of their arrival.
    origin
        The trace that was read, or what they were drawn from.
    prefix_tokens
        Tokens per block of the hashes of prompts; 0 where nothing is known of what prompts have in common.
    """

    requests: tuple[Request, ...]
    origin: str
    prefix_tokens: int


@dataclass(frozen=True)
class Scenario:
    """A scenario, ready to run.

    Parameters
    ----------
    name, summary
        Name and one line for people.
    asked
        Who asks for what.
    deployment
        Who answers.
    level
        Within which limits.
    clients, think_s
        Clients that each wait for an answer, and then so long, before they ask again; None: whoever asks does not wait.
    """

    name: str
    summary: str
    asked: Asked
    deployment: Deployment
    level: ServiceLevel
    clients: int | None = None
    think_s: float = 0.0


def scenario_names() -> tuple[str, ...]:
    """Names of the shipped scenarios, sorted."""
    return _SHIPPED.names()


def open_scenario(name_or_path: str | Path, changes: Mapping[str, Value] | None = None) -> Document:
    """The document of a scenario by name or path, with other values at dotted paths; raises as `load_scenario`."""
    return _SHIPPED.open(name_or_path).with_values(changes or {})


def read_scenario(name_or_path: str | Path, changes: Mapping[str, Value] | None = None) -> ScenarioText:
    """What a scenario says, nothing loaded yet; raises as `load_scenario`."""
    return open_scenario(name_or_path, changes).validate(ScenarioText)


def trace_of(name_or_path: str | Path, text: ScenarioText) -> Path | None:
    """The trace that a scenario names, if that file is there: beside the scenario, where that is a file."""
    if text.arrivals.trace is None:
        return None
    folder = Path(name_or_path).parent if is_path(name_or_path) else Path()
    found = folder / text.arrivals.trace
    return found if is_file(found) else None


def load_scenario(
    name_or_path: str | Path,
    changes: Mapping[str, Value] | None = None,
    trace: Path | str | None = None,
    chip: Accelerator | None = None,
) -> Scenario:
    """A scenario by name, or a file.

    Parameters
    ----------
    changes
        Other values at dotted paths of the file.
    trace
        File of requests in the place of what it names.
    chip
        Chip in the place of its own.

    Raises
    ------
    InputError
        Every problem of the file with its line; a trace that cannot be read; a model, chip or system that is not
        known; neither a trace that is there nor anything to draw from.
    """
    document = open_scenario(name_or_path, changes)
    text = document.validate(ScenarioText)
    path = Path(trace) if trace else trace_of(name_or_path, text)
    asked = _read(path, text) if path else _drawn(document, text)
    try:
        deployment = text.built(chip)
    except InputError as error:
        problems = [
            problem if problem.file else document.problem(text.place(problem.field), problem.message, problem.hint)
            for problem in error.problems
        ]
        raise InputError(problems) from None
    block_tokens = text.scheduler.block_tokens or asked.prefix_tokens or deployment.block_tokens
    deployment = replace(deployment, block_tokens=block_tokens)
    if deployment.prefix_cache and asked.prefix_tokens % block_tokens:
        message = f"must divide the {asked.prefix_tokens} tokens of a hash of the requests (got {block_tokens})"
        raise InputError(document.problem(("scheduler", "block_tokens"), message))
    return Scenario(
        name=text.name,
        summary=text.summary,
        asked=replace(asked, requests=_split(asked, block_tokens)),
        deployment=deployment,
        level=text.service.level(),
        clients=text.arrivals.clients,
        think_s=text.arrivals.think,
    )


def _read(path: Path, text: ScenarioText) -> Asked:
    """Requests of a trace, faster or slower where another rate is asked for."""
    trace = read_trace(path, most_requests=text.arrivals.requests)
    requests, origin = trace.requests, f"read from {path.name} ({trace.format})"
    span_s = requests[-1].arrival_ns / NANOSECONDS
    if text.arrivals.speed is not None:
        requests = tuple(replace(each, arrival_ns=round(each.arrival_ns / text.arrivals.speed)) for each in requests)
        origin += f", {text.arrivals.speed:g} times as fast"
        span_s /= text.arrivals.speed
    rate = f", {len(requests) / span_s:.3g} requests/s" if span_s else ""
    return Asked(requests, f"{origin}: {len(requests):,} requests{rate}", trace.prefix_tokens)


def _drawn(document: Document, text: ScenarioText) -> Asked:
    """Requests drawn as the scenario says."""
    try:
        drawn: Drawn = text.drawn()
    except InputError as error:
        raise InputError(
            [document.problem(text.place(each.field), each.message, each.hint) for each in error.problems]
        ) from None
    origin = f"drawn with seed {text.seed}: {drawn.count:,} requests"
    if text.arrivals.trace is not None:
        origin += f", as {text.arrivals.trace} is not there"
    if text.arrivals.source:
        origin += f"; statistics: {text.arrivals.source}"
    return Asked(drawn.requests(text.seed), origin, drawn.prefixes.block_tokens if drawn.prefixes else 0)


def _split(asked: Asked, block_tokens: int) -> tuple[Request, ...]:
    """Requests whose hashes are of blocks of so many tokens."""
    parts = asked.prefix_tokens // block_tokens
    if parts <= 1:
        return asked.requests

    def split(request: Request) -> Request:
        needed = -(-request.prompt_tokens // block_tokens)
        finer = tuple(name * parts + part for name in request.prefix for part in range(parts))
        return replace(request, prefix=finer[:needed])

    return tuple(map(split, asked.requests))
