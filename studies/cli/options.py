"""The options that describe one design, shared by all commands that build one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, get_type_hints

import typer

from hwmodels.reading.errors import InputError, Problem, did_you_mean

if TYPE_CHECKING:
    from algorithms.chip.plan.kernels import Kernel
    from algorithms.workload.shape import Workload
    from studies.points.find import AnyAlgorithm, Tensors
    from studies.points.point import ChipSetting, DesignPoint, Engine, Scalar

T = TypeVar("T")
_SETTING = "--set"
"""The option that sets what has no option of its own, which problems therefore name, too."""

AlgorithmName = Annotated[str, typer.Argument(metavar="ALGORITHM", help="For example sdpa.naive; see `attnflow list`.")]


@dataclass(frozen=True)
class DesignOptions:
    """A design as the command line describes it; None means that the workload or the algorithm decides."""

    workload: Annotated[
        str | None,
        typer.Option(help="Preset name or YAML file; one head of 512 x 512 tokens of width 64 if not given."),
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
    batch: Annotated[int | None, typer.Option(help="Sequences; 1 in the presets.")] = None
    causal: Annotated[
        bool | None,
        typer.Option("--causal/--full", help="Mask; that of the workload if not given.", show_default=False),
    ] = None
    dtype: Annotated[
        str | None, typer.Option(help="Storage format, e.g. bfloat16; that of the workload if not given.")
    ] = None
    seed: Annotated[int | None, typer.Option(help="Of the drawn tensors; 0 if not given.")] = None
    tensors: Annotated[str | None, typer.Option(help="NPZ file with q, k, v, or a shipped capture.")] = None
    granularity: Annotated[str | None, typer.Option(help="Token size: row or scalar; row if not given.")] = None
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any parameter, knob of the workload, or chip.PATH; repeatable."
        ),
    ] = None
    chip: Annotated[
        str | None, typer.Option(help="Preset name or YAML file, for algorithms that run on a chip; h100, for example.")
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
        design = DesignOptions(**{parameter.name: given.pop(parameter.name) for parameter in added})
        return command(design=design, **given)

    signature = inspect.signature(command, eval_str=True)
    own = [p.replace(kind=keyword) for p in signature.parameters.values() if p.name != "design"]
    wrapper.__signature__ = signature.replace(parameters=[*own, *added])
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *added]}
    return wrapper


def design_point(algorithm_name: str, design: DesignOptions) -> DesignPoint:
    """The design point that the options describe.

    Raises
    ------
    InputError
        With every problem of every option.
    """
    from studies.points.find import find_algorithm, has_values, kind_of, shaped_workload
    from studies.points.point import DesignPoint

    problems = _Problems()
    algorithm = problems.attempt("ALGORITHM", lambda: find_algorithm(algorithm_name))
    if algorithm is not None and kind_of(algorithm) == "tier":
        return _tier_point(algorithm, design, problems)
    base = _base_workload(design, algorithm, problems)
    tensors = _tensors(design, problems)
    engine = problems.attempt("--engine", partial(read_engine, design.engine))
    clock_hz = problems.attempt("--clock", partial(_clock, design.clock))
    given = _read_assignments(design, algorithm, problems)
    kernel = _kernel(design, problems)
    chip = _chip(design, algorithm, given.chip, kernel, problems)
    workload = None
    if base is not None and (tensors is not None or design.tensors is None):
        workload = problems.attempt(None, partial(shaped_workload, base, given.workload, tensors))
    parameters = None
    if algorithm is not None:
        parameters = _parameters(algorithm, given.parameters, workload, chip, kernel, problems)
    if problems.found or None in (algorithm, workload, parameters, engine, clock_hz):
        raise InputError(problems.found)
    return DesignPoint(
        algorithm=algorithm_name,
        workload=workload,
        parameters=parameters,
        engine=engine,
        timing_only=design.timing_only or not has_values(algorithm),
        skip=not design.no_skip,
        tensors=tensors.file if tensors else None,
        clock_hz=chip.accelerator.clock_hz if chip else clock_hz,
        chip=chip,
    )


def _tier_point(algorithm: AnyAlgorithm, design: DesignOptions, problems: _Problems) -> DesignPoint:
    """The point of a measurement of a memory tier: what its parameters do not say does not apply to it."""
    from studies.points.point import DesignPoint

    # that nothing is computed but time is true of it, whether said or not
    own = DesignOptions(set_=design.set_, timing_only=design.timing_only)
    unused = [f"--{each.name}" for each in fields(design) if getattr(design, each.name) != getattr(own, each.name)]
    given = _read_assignments(own, algorithm, problems)
    unused += [f"--set {owner}.{name}" for owner in ("workload", "chip") for name in getattr(given, owner)]
    message = f"does not apply to {algorithm.name}"
    problems.found += [Problem(message, field=name.replace("_", "-")) for name in unused]
    parameters = _parameters(algorithm, given.parameters, None, None, None, problems)
    if problems.found or parameters is None:
        raise InputError(problems.found)
    return DesignPoint(algorithm.name, None, parameters)


def _tensors(design: DesignOptions, problems: _Problems) -> Tensors | None:
    """Real tensors, if any are named."""
    from studies.points.find import find_tensors

    if design.tensors is None:
        return None
    return problems.attempt("--tensors", partial(find_tensors, design.tensors, Path()))


def _kernel(design: DesignOptions, problems: _Problems) -> Kernel | None:
    """The published kernel, if one is named."""
    from studies.points.chips import find_kernel

    if design.kernel is None:
        return None
    return problems.attempt("--kernel", partial(find_kernel, design.kernel, Path()))


def _parameters(
    algorithm: AnyAlgorithm,
    given: dict[str, Scalar],
    workload: Workload | None,
    chip: ChipSetting | None,
    kernel: Kernel | None,
    problems: _Problems,
) -> tuple[tuple[str, Scalar], ...] | None:
    """All parameters: what is given, over what the kernel has, over the defaults."""
    from studies.points.chips import kernel_parameters
    from studies.points.knobs import complete_parameters

    own: dict[str, Scalar] | None = {}
    if kernel is not None and workload is not None and chip is not None:
        own = problems.attempt(
            "--kernel", partial(kernel_parameters, kernel, algorithm.name, workload, chip.accelerator)
        )
    return problems.attempt(_SETTING, partial(complete_parameters, algorithm, (own or {}) | given))


def _base_workload(design: DesignOptions, algorithm: AnyAlgorithm | None, problems: _Problems) -> Workload | None:
    """The workload that is named, or one small head."""
    from studies.points.find import ONE_HEAD, ONE_HEAD_ON_CHIP, find_workload, runs_on_chip

    if design.workload is not None:
        return problems.attempt("--workload", partial(find_workload, design.workload, Path()))
    return ONE_HEAD_ON_CHIP if algorithm is not None and runs_on_chip(algorithm) else ONE_HEAD


def _chip(
    design: DesignOptions,
    algorithm: AnyAlgorithm | None,
    changes: dict[str, Scalar],
    kernel: Kernel | None,
    problems: _Problems,
) -> ChipSetting | None:
    """The chip with its changes, if the algorithm runs on one; options that do not go together are problems."""
    from studies.points.chips import chip_setting
    from studies.points.find import find_chip, runs_on_chip
    from studies.points.knobs import CHIP_KNOBS

    accelerator = None
    manner = {knob: getattr(design, knob) for knob in CHIP_KNOBS}
    if design.chip is not None:
        accelerator = problems.attempt("--chip", partial(find_chip, design.chip, Path()))
    if algorithm is not None and not runs_on_chip(algorithm):
        options = {"chip": design.chip, "kernel": design.kernel, **manner}
        used = [f"--{name}" for name, value in options.items() if value is not None]
        used += [f"--set chip.{path}" for path in changes]
        message = f"{algorithm.name} is a graph of FIFOs and runs on no chip"
        problems.found += [Problem(message, field=name) for name in used]
        return None
    if algorithm is not None:
        problems.found += _unfit_for_chip(algorithm, design)
    if accelerator is None:
        for knob, value in manner.items():  # right or wrong whatever the chip is
            if value is not None:
                problems.attempt(f"--{knob}", partial(CHIP_KNOBS[knob].read, value))
        return None
    try:
        return chip_setting(accelerator, changes, manner, kernel)
    except InputError as error:
        problems.found += [replace(problem, field=_option_of(problem.field)) for problem in error.problems]
        return None


def _unfit_for_chip(algorithm: AnyAlgorithm, design: DesignOptions) -> Iterator[Problem]:
    """What is given though a chip has its own, and a chip that is not named."""
    given = {"--clock": design.clock, "--engine": None if design.engine == "compiled" else design.engine}
    message = f"{algorithm.name} runs on a chip, which has its own"
    yield from (Problem(message, field=name) for name, value in given.items() if value is not None)
    if design.chip is None:
        hint = "for example --chip h100; see `attnflow list chips`"
        yield Problem(f"{algorithm.name} runs on a chip: name one", field="--chip", hint=hint)


def _option_of(path: str | None) -> str:
    """The option that set a field of the chip, or a knob of its use."""
    from studies.points.knobs import CHIP_KNOBS

    return f"--{path}" if path in CHIP_KNOBS else f"--set chip.{path}"


class _Problems:
    """Collects what is wrong, under the name of the option that caused it."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def attempt(self, option: str | None, action: Callable[[], T]) -> T | None:
        """Result of `action`, or None and its problems noted."""
        try:
            return action()
        except InputError as error:
            for problem in error.problems:
                if problem.file is None and option is not None:
                    named = option == _SETTING and problem.field is not None
                    problem = replace(problem, field=f"{option} {problem.field}" if named else option)
                elif problem.file is None and problem.field is not None:
                    problem = replace(problem, field=f"--{problem.field.replace('_', '-')}")
                self.found.append(problem)
            return None


def _clock(text: str | None) -> float:
    from studies.points.knobs import RUN_KNOBS

    knob = RUN_KNOBS["clock"]
    return float(knob.read(knob.default if text is None else text) or 0)


def read_engine(name: str) -> Engine:
    """The engine called `name`; raises InputError with the nearest name."""
    from studies.points.point import ENGINES

    for engine in ENGINES:
        if engine == name:
            return engine
    raise InputError(Problem(f"unknown engine {name!r}", hint=did_you_mean(name, ENGINES)))


@dataclass
class _Given:
    """What options set: parameters of the algorithm, knobs of the workload, fields of the chip."""

    parameters: dict[str, Scalar] = field(default_factory=dict)
    workload: dict[str, Scalar] = field(default_factory=dict)
    chip: dict[str, Scalar] = field(default_factory=dict)


def _read_assignments(design: DesignOptions, algorithm: AnyAlgorithm | None, problems: _Problems) -> _Given:
    """Everything that options set, read and checked one by one; fields of a chip are left as they are written."""
    from studies.points.knobs import WORKLOAD_KNOBS, parameter_knobs, read_knob

    known = parameter_knobs(algorithm) if algorithm else {}
    given = _Given()
    for option, owner, name, value in _assignments(design, problems):
        if owner == "chip":
            given.chip[name] = value
            continue
        if owner in ("", "parameters") and name in known:
            knobs, into, what = known, given.parameters, ""
        elif owner in ("", "workload") and name in WORKLOAD_KNOBS:
            knobs, into, what = WORKLOAD_KNOBS, given.workload, ""
        elif algorithm is None:
            continue
        else:
            what = "knob of a workload" if owner == "workload" else f"parameter of {algorithm.name}"
            knobs, into = WORKLOAD_KNOBS if owner == "workload" else known, {}
        read = problems.attempt(option, partial(read_knob, knobs, name, value, what))
        if read is not None or value is None:
            into[name] = read
    return given


def _assignments(design: DesignOptions, problems: _Problems) -> Iterator[tuple[str, str, str, Scalar]]:
    """(option, owner, knob, value) of every option that sets something; owner is empty, ``workload`` or ``chip``."""
    from studies.points.knobs import scalar_of

    for knob in ("seq_len", "q_len", "kv_len", "head_dim", "heads", "kv_heads", "batch", "dtype", "seed"):
        value = getattr(design, knob)
        if value is not None:
            yield f"--{knob.replace('_', '-')}", "workload", knob, value
    if design.context is not None:
        yield "--context", "workload", "phase", "decode"
        yield "--context", "workload", "kv_len", design.context
        if design.q_len is None:
            yield "--context", "workload", "q_len", 1
    if design.causal is not None:
        yield "--causal", "workload", "mask", "causal" if design.causal else "full"
    if design.granularity is not None:
        yield "--granularity", "parameters", "granularity", design.granularity
    for text in design.set_ or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            problems.found.append(Problem(f"must be NAME=VALUE (got {text!r})", field="--set"))
            continue
        owner, _, knob = name.strip().rpartition(".")
        if owner.split(".")[0] == "chip":
            owner, _, knob = name.strip().partition(".")
        yield f"--set {name.strip()}", owner, knob, scalar_of(value.strip())
