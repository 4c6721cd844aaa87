"""The options that describe one design, shared by all commands that build one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, get_type_hints

import typer

from hwmodels.reading.errors import InputError, Problem, did_you_mean
from hwmodels.reading.made import made
from studies.cli import completing

if TYPE_CHECKING:
    from algorithms.registry import Given
    from studies.points.point import DesignPoint, Engine, Scalar
    from studies.points.vocabulary import Target, Vocabulary

T = TypeVar("T")

ScenarioName = Annotated[
    str | None,
    typer.Argument(
        metavar="[SCENARIO]", help="Of what is served over time: a scenario's name or file.", show_default=False
    ),
]
AlgorithmName = Annotated[
    str,
    typer.Argument(
        metavar="ALGORITHM", help="For example sdpa.naive; see `attnflow list`.", autocompletion=completing.algorithms
    ),
]


@dataclass(frozen=True)
class DesignOptions:
    """A design as the command line describes it; None means that the workload or the algorithm decides.

    A field is an input of its name, a knob of the workload, or else a parameter of the algorithm.
    """

    workload: Annotated[
        str | None,
        typer.Option(
            help="Preset name or YAML file; one head of 512 x 512 tokens of width 64 if not given.",
            autocompletion=completing.workloads,
        ),
    ] = None
    seq_len: Annotated[int | None, typer.Option(help="Tokens: KV length, and query length unless decoding.")] = None
    q_len: Annotated[int | None, typer.Option(help="New tokens per sequence.")] = None
    kv_len: Annotated[int | None, typer.Option(help="Attended tokens per sequence.")] = None
    context: Annotated[int | None, typer.Option(help="Decode: tokens attended, with one new query per sequence.")] = (
        None
    )
    head_dim: Annotated[int | None, typer.Option(help="Width of a head.")] = None
    heads: Annotated[int | None, typer.Option(help="Query heads.")] = None
    kv_heads: Annotated[int | None, typer.Option(help="KV heads.")] = None
    batch: Annotated[
        str | None,
        typer.Option(help="Sequences; or the parts of a model's step: 'prefill 2048 x1, decode 1 of 8192 x32'."),
    ] = None
    model: Annotated[
        str | None, typer.Option(help="Of a model's step: name, YAML file, or Hugging Face config.json.")
    ] = None
    system: Annotated[
        str | None,
        typer.Option(help="Of a model's step: chips and links, by name or YAML file, --chip left out."),
    ] = None
    scenario: Annotated[
        str | None, typer.Option(help="Of what is served over time: a scenario's name, or YAML file.")
    ] = None
    causal: Annotated[
        bool | None,
        typer.Option("--causal/--full", help="Mask; that of the workload if not given.", show_default=False),
    ] = None
    dtype: Annotated[
        str | None, typer.Option(help="Storage format, e.g. bfloat16; that of the workload if not given.")
    ] = None
    seed: Annotated[int | None, typer.Option(help="Seed of the drawn tensors; 0 if not given.")] = None
    tensors: Annotated[str | None, typer.Option(help="NPZ file with q, k, v, or a shipped capture.")] = None
    granularity: Annotated[str | None, typer.Option(help="Token size: row or scalar; row if not given.")] = None
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any parameter, knob of the workload, or chip.PATH; repeatable."
        ),
    ] = None
    chip: Annotated[
        str | None,
        typer.Option(
            help="Preset name or YAML file, for algorithms that run on a chip; h100, for example.",
            autocompletion=completing.chips,
        ),
    ] = None
    mapping: Annotated[
        str | None,
        typer.Option(
            help="On a chip: symmetric (a few cores stand for all; if not given), or exact.", show_default=False
        ),
    ] = None
    memory: Annotated[
        str | None,
        typer.Option(
            help="What a chip's memory sustains: peak (if not given), analytic (closed forms), or cycle (its banks).",
            show_default=False,
        ),
    ] = None
    kernel: Annotated[
        str | None,
        typer.Option(
            help="On a chip: tiles and overheads of a published kernel, by name or YAML file.", show_default=False
        ),
    ] = None
    engine: Annotated[str, typer.Option(help="compiled, or simpy: slow, written to be read.")] = "compiled"
    clock: Annotated[str | None, typer.Option(help="For example 1.2 GHz; 1 GHz if not given.")] = None
    timing_only: Annotated[
        bool, typer.Option("--timing-only", help="Time alone: no values, hence no errors of them.")
    ] = False
    no_skip: Annotated[
        bool, typer.Option("--no-skip", help="Simulate repeating periods one by one instead of skipping them exactly.")
    ] = False

    def of_scenario(self, named: str | None) -> DesignOptions:
        """The same with a scenario that is named beside the algorithm."""
        if named is not None and self.scenario is not None:
            raise InputError(Problem("is named twice", field="--scenario"))
        return self if named is None else replace(self, scenario=named)


def with_design_options(command: Callable[..., T]) -> Callable[..., T]:
    """Give `command` all fields of `DesignOptions` as options; it receives them as its argument `design`."""
    kinds = get_type_hints(DesignOptions, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(option.name, keyword, annotation=kinds[option.name], default=option.default)
        for option in fields(DesignOptions)
    ]

    @wraps(command)
    def wrapper(**given: object) -> T:
        design = made(DesignOptions, {parameter.name: given.pop(parameter.name) for parameter in added})
        return command(design=design, **given)

    signature = inspect.signature(command, eval_str=True)
    own = [p.replace(kind=keyword) for p in signature.parameters.values() if p.name != "design"]
    vars(wrapper)["__signature__"] = signature.replace(parameters=[*own, *added])
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *added]}
    return wrapper


def design_point(algorithm_name: str, design: DesignOptions) -> DesignPoint:
    """The design point that the options describe.

    Raises
    ------
    InputError
        With every problem of every option.
    """
    return _Reader(algorithm_name, design).point()


class _Reader:
    """Reads the options of one design; collects what is wrong under the name of the option that caused it."""

    def __init__(self, algorithm_name: str, design: DesignOptions) -> None:
        self.algorithm_name = algorithm_name
        self.design = design
        self.problems: list[Problem] = []
        self.said: dict[str, str] = {}

    def point(self) -> DesignPoint:
        """The point of everything that is read, or every problem raised."""
        from studies.points import find
        from studies.points.build import Inputs, PointBuilder
        from studies.points.vocabulary import Vocabulary

        design = self.design
        algorithm = self._attempt("ALGORITHM", partial(find.find_algorithm, self.algorithm_name))
        words = Vocabulary((algorithm,) if algorithm else ())
        workload = self._find(words, "workload", find.find_workload)
        tensors = self._find(words, "tensors", find.find_tensors)
        use = {**self._use(words, "engine"), **self._use(words, "clock")}
        knobs, self.said = self._settings(words)
        builder = PointBuilder(Path(), tensors, self._find(words, "kernel", find.find_kernel))
        self._refuse_unfit(words, self.said)
        chip = self._find(words, "chip", find.find_chip)
        if algorithm and design.chip is None and words.has("chip"):
            chip = self._attempt(None, partial(builder.brought_chip, algorithm, knobs["parameter"]))
        knobs["use"] = {**use, **self._use(words, "mapping"), **self._use(words, "memory")}
        setting = self._attempt(None, partial(builder.chip, chip, knobs["field"], knobs["use"])) if chip else None
        if algorithm and not design.workload:
            workload = algorithm.default_workload
        shaped = None
        if workload and (tensors or design.tensors is None):
            shaped = self._attempt(None, partial(builder.workload, workload, knobs["knob"]))
        if algorithm:
            self._attempt(None, partial(builder.parameters, algorithm, knobs["parameter"], shaped, setting))
        if algorithm is None or self.problems:
            raise InputError(list(dict.fromkeys(self.problems)))
        inputs = Inputs(algorithm, workload, chip, knobs, timing_only=design.timing_only, skip=not design.no_skip)
        return builder.point(inputs)

    def _attempt(self, option: str | None, action: Callable[[], T]) -> T | None:
        """Result of `action`, or None and its problems noted: at an option, or at those that they are about."""
        try:
            return action()
        except InputError as error:
            for problem in error.problems:
                if problem.file is None:
                    place = option or self.said.get(problem.field or "") or _option_of(problem.field)
                    problem = replace(problem, field=place)
                self.problems.append(problem)
            return None

    def _find(self, words: Vocabulary, given: Given, finder: Callable[[str, Path], T]) -> T | None:
        """What an option names, if it is given and applies."""
        named: str | None = getattr(self.design, given)
        if named is None or not words.has(given):
            return None
        return self._attempt(f"--{given}", partial(finder, named, Path()))

    def _use(self, words: Vocabulary, name: Given) -> dict[str, Scalar]:
        """How the design is run, as far as an option says it and it applies."""
        value: str | None = getattr(self.design, name)
        if value is None or not words.has(name):
            return {}
        reader = partial(read_engine, value) if name == "engine" else partial(words.read, "use", name, value)
        read: Scalar = self._attempt(f"--{name}", reader)
        return {} if read is None else {name: read}

    def _settings(self, words: Vocabulary) -> tuple[dict[Target, dict[str, Scalar]], dict[str, str]]:
        """Knobs that options set, by what they change, and the options by knob; bad values are left out."""
        from studies.points.vocabulary import path_of

        knobs: dict[Target, dict[str, Scalar]] = {"use": {}, "parameter": {}, "knob": {}, "field": {}}
        options: dict[str, str] = {}
        for option, name, value in self._assignments(words):
            target, knob = words.meaning(name) or words.blamed(name)
            options[path_of(target, knob)] = option
            if target == "field":  # the chip reads it
                knobs[target][knob] = value
            elif words.applies(target):
                count = len(self.problems)
                read = self._attempt(option, partial(words.read, target, knob, value))
                if len(self.problems) == count:
                    knobs[target][knob] = read
        return knobs, options

    def _assignments(self, words: Vocabulary) -> Iterator[tuple[str, str, Scalar]]:
        """(option, name, value) of every option that sets a knob; options of other names set parameters."""
        from studies.points.knobs import WORKLOAD_KNOBS, scalar_of

        design = self.design
        for each in fields(design):
            value = getattr(design, each.name)
            option = f"--{each.name.replace('_', '-')}"
            if value is None or each.name in _INPUTS:
                continue
            if each.name == "context":
                yield option, "workload.phase", "decode"
                yield option, "workload.kv_len", value
                if design.q_len is None:
                    yield option, "workload.q_len", 1
            elif each.name == "causal":
                yield option, "workload.mask", "causal" if value else "full"
            elif each.name == "set_":
                yield from self._set(value, scalar_of)
            else:
                own = each.name not in WORKLOAD_KNOBS
                if each.name == "batch":  # a number of sequences (also as one, from Python), or the parts of a step
                    own, value = "batch" in words.knobs["parameter"], scalar_of(str(value))
                yield option, f"{'parameters' if own else 'workload'}.{each.name}", value

    def _set(self, texts: Iterable[str], read: Callable[[str], Scalar]) -> Iterator[tuple[str, str, Scalar]]:
        """The same of ``--set``."""
        for text in texts:
            name, equals, value = (part.strip() for part in text.partition("="))
            if equals and name:
                yield f"--set {name}", name, read(value)
            else:
                self.problems.append(Problem(f"must be NAME=VALUE (got {text!r})", field="--set"))

    def _refuse_unfit(self, words: Vocabulary, options: Mapping[str, str]) -> None:
        """Note what does not apply to the algorithm, and what it needs besides."""
        usual = DesignOptions()
        given = {
            path: f"--{name.replace('_', '-')}"
            for name, path in _INPUTS.items()
            if getattr(self.design, name) != getattr(usual, name)
        }
        said = {**given, **options}
        for problem in words.unfit(said):
            missing = problem.field not in said
            hint = "for example --chip h100; see `attnflow list chips`" if missing and problem.field == "chip" else None
            self.problems.append(replace(problem, field=said.get(problem.field or "", f"--{problem.field}"), hint=hint))


_INPUTS = {name: name for name in ("workload", "tensors", "chip", "mapping", "memory", "kernel", "engine", "clock")} | {
    "timing_only": "timing_only",
    "no_skip": "skip",
}
"""Options that give an input, and which; all others set knobs."""


def _option_of(path: str | None) -> str | None:
    """The option for a place in a study file; a workload as a whole has none.

    >>> _option_of("workload.kv_len"), _option_of("parameters.depth"), _option_of("chip.cores"), _option_of("mapping")
    ('--kv-len', '--set depth', '--set chip.cores', '--mapping')
    """
    section, _, knob = (path or "").partition(".")
    if section == "workload":
        return f"--{knob.replace('_', '-')}" if knob else None
    if section == "parameters":
        return f"--set {knob}".rstrip()
    return f"--set {path}" if knob else f"--{path}"


def read_engine(name: str) -> Engine:
    """The engine called `name`; raises InputError with the nearest name."""
    from studies.points.point import ENGINES

    for engine in ENGINES:
        if engine == name:
            return engine
    raise InputError(Problem(f"unknown engine {name!r}", hint=did_you_mean(name, ENGINES)))
