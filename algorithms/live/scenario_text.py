"""The text of a scenario: sections and fields of its file, and what they become."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from algorithms.live.arrivals import Drawn, Fixed, Lengths, LogNormal, Process, Quantiles, SharedPrefixes, Uniform
from algorithms.live.deployment import Deployment, TierChoice
from algorithms.live.metrics import ServiceLevel
from algorithms.live.pools import with_chip
from algorithms.live.schedulers.register import Limits, get_scheduler
from algorithms.live.times.speculation import Speculation
from algorithms.models.mapping import Mapping
from algorithms.models.options import StepOptions
from algorithms.models.text import load_model
from hwmodels.chips.accelerator import Accelerator, load_accelerator
from hwmodels.reading.cited import NO_TRUTH_VALUE
from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.quantity import Bytes, BytesPerSecond, Seconds
from hwmodels.systems.system import System, single
from hwmodels.systems.text import load_system

Count = Annotated[int, Field(ge=1), NO_TRUTH_VALUE]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), NO_TRUTH_VALUE]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), NO_TRUTH_VALUE]
Share = Annotated[float, Field(gt=0, le=1), NO_TRUTH_VALUE]
Duration = Annotated[Seconds, Field(ge=0)]


class Strict(BaseModel):
    """A section: no keys beside those that it knows, nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ArrivalsText(Strict):
    """Section ``arrivals``: a trace, a process, or clients that wait for their answers."""

    trace: str | None = None
    source: str = ""
    requests: Count | None = None
    speed: Positive | None = None
    rate: Positive | None = None
    variation: NotNegative = 1.0
    burst: Duration = 0.0
    pause: Duration = 0.0
    clients: Count | None = None
    think: Duration = 0.0


class LengthText(Strict):
    """Lengths of prompts or outputs: all alike, from least to most, log-normal, or of a published distribution."""

    value: Count | None = None
    least: Count | None = None
    most: Count | None = None
    mean: Positive | None = None
    median: Positive | None = None
    quantiles: tuple[tuple[float, float], ...] | None = None

    def lengths(self) -> Lengths:
        """What they become; raises InputError for fields that do not go together."""
        given = {name for name, value in self if value is not None}
        if given == {"value"}:
            return Fixed(self.value or 1)
        if given == {"least", "most"}:
            return Uniform(self.least or 1, self.most or 1)
        if given in ({"mean", "median"}, {"mean", "median", "most"}):
            most = {} if self.most is None else {"most": self.most}
            return LogNormal(self.mean or 1.0, self.median or 1.0, **most)
        if given == {"quantiles"}:
            return Quantiles(self.quantiles or ())
        raise InputError(Problem("must be a number, or have least and most, mean and median, or quantiles"))


def _plain_length(value: object) -> object:
    return {"value": value} if isinstance(value, int) and not isinstance(value, bool) else value


Length = Annotated[LengthText, BeforeValidator(_plain_length), PlainSerializer(lambda text: text.model_dump())]


class SharedText(Strict):
    """What prompts have in common."""

    share: NotNegative
    depth: Share = 0.9
    block_tokens: Count = 16


class LengthsText(Strict):
    """Section ``lengths``."""

    prompt: Length
    output: Length
    shared: SharedText | None = None


class TierText(Strict):
    """A tier below the memory of chips; what is not said is as the system's host has it."""

    name: str
    capacity: Annotated[Bytes, Field(gt=0)] | None = None
    rate: Annotated[BytesPerSecond, Field(gt=0)] | None = None
    latency: Duration = 0.0


def _named_tier(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


Tiered = Annotated[TierText, BeforeValidator(_named_tier), PlainSerializer(lambda text: text.model_dump())]


class DeploymentText(Strict):
    """Section ``deployment``: chips, how a replica is spread over them, formats and launches."""

    chip: str | None = None
    system: str | None = None
    replicas: Count = 1
    prefill: Annotated[int, Field(ge=0), NO_TRUTH_VALUE] = 0
    tp: Count = 1
    dp: Count = 1
    ep: Annotated[int, Field(ge=0), NO_TRUTH_VALUE] = 1
    weights: str = "bfloat16"
    kv: str = "bfloat16"
    launch: Literal["graph", "eager"] = "graph"
    exchange: Literal["custom", "library"] = "custom"
    usable: Share = 0.9
    workspace: Bytes = 0.0
    tiers: tuple[Tiered, ...] = ()


class SpeculationText(Strict):
    """Section ``scheduler.speculation``: tokens that are drafted, and how many of them are accepted."""

    drafted: Count
    acceptance: Annotated[float, Field(ge=0, le=1), NO_TRUTH_VALUE]
    draft: str = ""


class SchedulerText(Strict):
    """Section ``scheduler``: who is in a step, and with what memory."""

    kind: str = "vllm"
    most_sequences: Count = 256
    most_tokens: Count = 2048
    block_tokens: Count | None = None
    blocks: Count | None = None
    prompts_share: Share = 1.0
    tokens_share: Share = 1.0
    adjusted: bool = True
    prefix_cache: bool = True
    overhead: Duration = 0.0
    exact: bool = False
    compared: Count = 32
    speculation: SpeculationText | None = None


class ServiceText(Strict):
    """Section ``service``: limits that a request must meet to count."""

    ttft: Duration | None = None
    tpot: Duration | None = None
    latency: Duration | None = None

    def level(self) -> ServiceLevel:
        """What it becomes."""
        return ServiceLevel(self.ttft, self.tpot, self.latency)


DEFAULT_BLOCK_TOKENS = 16
_SECTION = {
    "rate": "arrivals",
    "variation": "arrivals",
    "burst": "arrivals",
    "quantiles": "lengths",
    "most_sequences": "scheduler",
    "most_tokens": "scheduler",
    "overhead": "scheduler",
    "prompts_share": "scheduler",
    "tokens_share": "scheduler",
    "speculation": "scheduler",
    "share": "lengths.shared",
    "depth": "lengths.shared",
}
"""Sections of fields that problems name; all others stand in ``deployment``."""


class ScenarioText(Strict):
    """A scenario file."""

    name: str
    summary: str = ""
    arrivals: ArrivalsText
    lengths: LengthsText | None = None
    model: str
    deployment: DeploymentText
    scheduler: SchedulerText = SchedulerText()
    service: ServiceText = ServiceText()
    seed: Annotated[int, Field(ge=0), NO_TRUTH_VALUE] = 0

    def drawn(self) -> Drawn:
        """Requests that can be drawn from it.

        Raises
        ------
        InputError
            If it does not say how many, when, or how long; or numbers that cannot be.
        """
        arrivals = self.arrivals
        missing = [
            Problem(f"must be given: there is no trace {arrivals.trace or ''}".rstrip(), field=name)
            for name, value in (
                ("arrivals.requests", arrivals.requests),
                ("arrivals.rate", arrivals.rate or arrivals.clients),
                ("lengths", self.lengths),
            )
            if value is None
        ]
        if missing or self.lengths is None or arrivals.requests is None:
            raise InputError(missing)
        speed = arrivals.speed or 1.0
        process = Process(
            speed * (arrivals.rate or 1.0), arrivals.variation, arrivals.burst / speed, arrivals.pause / speed
        )
        prompt = _within("lengths.prompt", self.lengths.prompt)
        output = _within("lengths.output", self.lengths.output)
        shared = self.lengths.shared
        prefixes = SharedPrefixes(shared.share, shared.depth, shared.block_tokens) if shared else None
        return Drawn(arrivals.requests, process, prompt, output, prefixes)

    def system(self, chip: Accelerator | None = None) -> System:
        """What it runs on, with ``chip`` in the place of its own; raises InputError for names that are not known."""
        text = self.deployment
        if text.system is None:
            if text.chip is None and chip is None:
                raise InputError(Problem("needs a chip or a system", field="deployment"))
            return single(chip or load_accelerator(text.chip or ""))
        system = load_system(text.system)
        return system if chip is None else with_chip(system, chip)

    def built(self, chip: Accelerator | None = None) -> Deployment:
        """The deployment; raises InputError for what is not known or cannot be."""
        text, scheduler = self.deployment, self.scheduler
        get_scheduler(scheduler.kind)
        drafts = scheduler.speculation
        if drafts is not None and drafts.draft:
            _draft_model(drafts.draft)
        deployment = Deployment(
            model=load_model(self.model),
            system=self.system(chip),
            mapping=Mapping(tp=text.tp, dp=text.dp, ep=text.ep),
            options=StepOptions(
                weights=text.weights,
                kv=text.kv,
                launch=text.launch,
                exchange=text.exchange,
                workspace=text.workspace,
                usable=text.usable,
            ),
            replicas=text.replicas,
            prefill=text.prefill,
            scheduler=scheduler.kind,
            limits=self._limits(),
            block_tokens=scheduler.block_tokens or DEFAULT_BLOCK_TOKENS,
            blocks=scheduler.blocks,
            prefix_cache=scheduler.prefix_cache,
            overhead_s=scheduler.overhead,
            exact=scheduler.exact,
            compared=scheduler.compared,
            speculation=None if drafts is None else Speculation(drafts.drafted, drafts.acceptance, drafts.draft),
            tiers=tuple(TierChoice(each.name, each.capacity, each.rate, each.latency) for each in text.tiers),
        )
        if scheduler.blocks is not None:
            _refuse_more_blocks_than_fit(deployment, scheduler.blocks)
        _ = deployment.far_tiers  # refuses mappings that do not fit the model, and tiers of which too little is known
        return deployment

    def _limits(self) -> Limits:
        """Bounds of batches, and shares of phases; those follow the limits of the service unless it says otherwise."""
        scheduler, level = self.scheduler, self.service
        return Limits(
            scheduler.most_sequences,
            scheduler.most_tokens,
            prompts_pct=round(100 * scheduler.prompts_share),
            tokens_pct=round(100 * scheduler.tokens_share),
            ttft_s=level.ttft if scheduler.adjusted else None,
            tpot_s=level.tpot if scheduler.adjusted else None,
        )

    def place(self, field: str | None) -> tuple[str, ...]:
        """Where in the file a field of what was built stands."""
        if not field:
            return ()
        if field == "model" or "." in field or field in ScenarioText.model_fields:
            return (*(("scheduler", "kind") if field == "scheduler" else field.split(".")),)
        return (*_SECTION.get(field, "deployment").split("."), field)


def _refuse_more_blocks_than_fit(deployment: Deployment, blocks: int) -> None:
    fit = replace(deployment, blocks=None).pool_blocks
    if blocks > fit:
        message = f"must be at most {fit:,}, which is what fits beside the weights (got {blocks:,})"
        raise InputError(Problem(message, field="scheduler.blocks"))


def _draft_model(name: str) -> None:
    """Refuse a model that is not known, at its own place."""
    try:
        load_model(name)
    except InputError as error:
        raise InputError(
            [
                each if each.file else Problem(each.message, field="scheduler.speculation.draft", hint=each.hint)
                for each in error.problems
            ]
        ) from None


def _within(place: str, text: LengthText) -> Lengths:
    try:
        return text.lengths()
    except InputError as error:
        raise InputError(
            [
                Problem(each.message, field=f"{place}.{each.field}" if each.field else place, hint=each.hint)
                for each in error.problems
            ]
        ) from None
