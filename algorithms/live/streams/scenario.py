"""Scenarios of streams: one file that says what a camera sends, who asks, which model watches, and what it keeps.

name: camera-orin
frames: {rate: 10, seconds: 60, tokens: 196, encode: "frame 1", overflow: queue}
questions: {every: 20 s, prompt: 32, answer: 24}
model: llava-onevision-0.5b
policy: streaming_vlm(vision_window=6272)
deployment: {chip: jetson_agx_orin_64g}
"""

from __future__ import annotations

from collections.abc import Mapping as NamedMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from algorithms.kv.text import parse_policy
from algorithms.live.scenario_text import Count, DeploymentText, Duration, Positive, Strict
from algorithms.live.times.model_steps import ModelSteps
from algorithms.models.mapping import Mapping
from algorithms.models.options import StepOptions
from algorithms.models.steps.algorithm import system_of
from algorithms.models.steps.batch import Batch, check_batch, parse_batch
from algorithms.models.text import load_model
from hwmodels.chips.accelerator import Accelerator, load_accelerator
from hwmodels.reading.cited import NO_TRUTH_VALUE
from hwmodels.reading.documents import Document, Value
from hwmodels.reading.errors import InputError, Problem
from hwmodels.reading.shipped import Shipped
from hwmodels.systems.system import System, single
from hwmodels.systems.text import load_system

_SHIPPED = Shipped("algorithms.live.streams", "scenarios", "stream")
Overflow = Literal["queue", "drop", "newest"]
"""What becomes of a frame that comes while another is worked on: it waits; it is lost; or it takes the place of those
that wait."""
MOST_FRAMES = 1_000_000


class FramesText(Strict):
    """Section ``frames``: what comes, and what it becomes."""

    rate: Positive
    seconds: Positive
    tokens: Count
    encode: str = "frame 1"
    overflow: Overflow = "queue"


class QuestionsText(Strict):
    """Section ``questions``: who asks how often, and for how long an answer."""

    every: Annotated[Duration, Field(gt=0)]
    prompt: Count = 32
    answer: Count = 32


class StreamText(Strict):
    """A scenario file."""

    name: str
    summary: str = ""
    frames: FramesText
    questions: QuestionsText | None = None
    instructions: Annotated[int, Field(ge=0), NO_TRUTH_VALUE] = 16
    model: str
    policy: str = "full"
    budget: Annotated[int, Field(ge=0), NO_TRUTH_VALUE] = 0
    deployment: DeploymentText


@dataclass(frozen=True)
class StreamScenario:
    """A stream, ready to run.

    Parameters
    ----------
    text
        The scenario as it is written.
    steps
        Where times of steps come from.
    encode
        Work of the encoder on a frame; None where frames come as tokens.
    """

    text: StreamText
    steps: ModelSteps
    encode: Batch | None

    @property
    def frames(self) -> int:
        """Frames that come in all."""
        return max(round(self.text.frames.rate * self.text.frames.seconds), 1)

    @property
    def questions(self) -> int:
        """Questions that are asked in all."""
        asked = self.text.questions
        return 0 if asked is None else int(self.text.frames.seconds / asked.every)


def stream_names() -> tuple[str, ...]:
    """Names of the shipped streams, sorted."""
    return _SHIPPED.names()


def read_stream(name_or_path: str | Path, changes: NamedMapping[str, Value] | None = None) -> StreamText:
    """What a scenario says, nothing loaded yet; raises as `load_stream`."""
    return _SHIPPED.open(name_or_path).with_values(changes or {}).validate(StreamText)


def load_stream(
    name_or_path: str | Path, changes: NamedMapping[str, Value] | None = None, chip: Accelerator | None = None
) -> StreamScenario:
    """A stream by name, or a file.

    Parameters
    ----------
    changes
        Other values at dotted paths of the file.
    chip
        Chip in the place of its own.

    Raises
    ------
    InputError
        Every problem of the file with its line.
    """
    document = _SHIPPED.open(name_or_path).with_values(changes or {})
    text = document.validate(StreamText)
    try:
        return _built(text, chip)
    except InputError as error:
        raise InputError([_placed(document, text, each) for each in error.problems]) from None


def _placed(document: Document, text: StreamText, problem: Problem) -> Problem:
    if problem.file:
        return problem
    field = problem.field or ""
    known = field.partition(".")[0] in StreamText.model_fields
    place = ("frames", "encode") if field == "batch" else (field.split(".") if known else ("deployment", field))
    return document.problem(tuple(place), problem.message, problem.hint)


def _built(text: StreamText, chip: Accelerator | None) -> StreamScenario:
    if text.frames.rate * text.frames.seconds > MOST_FRAMES:
        raise InputError(Problem(f"makes more than {MOST_FRAMES:,} frames", field="frames.seconds"))
    try:
        parse_policy(text.policy)
    except InputError as error:
        raise InputError([Problem(each.message, field="policy", hint=each.hint) for each in error.problems]) from None
    model, deployment = load_model(text.model), text.deployment
    for name in ("replicas", "dp"):
        if getattr(deployment, name) > 1:
            raise InputError(Problem("must be 1: one stream goes to one model", field=f"deployment.{name}"))
    encode = parse_batch(text.frames.encode) if text.frames.encode else None
    if encode is not None:
        check_batch(encode, model)
    options = StepOptions(
        weights=deployment.weights,
        kv=deployment.kv,
        launch=deployment.launch,
        exchange=deployment.exchange,
        workspace=deployment.workspace,
        usable=deployment.usable,
    )
    steps = ModelSteps(model, _system(deployment, chip), Mapping(tp=deployment.tp), options)
    return StreamScenario(text, steps, encode)


def _system(text: DeploymentText, chip: Accelerator | None) -> System:
    if text.system is not None:
        return load_system(text.system) if chip is None else system_of(text.system, chip)
    if text.chip is None and chip is None:
        raise InputError(Problem("needs a chip or a system", field="deployment"))
    return single(chip or load_accelerator(text.chip or ""))
