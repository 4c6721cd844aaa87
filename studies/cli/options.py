"""The options that describe one design, shared by all commands that build one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, get_type_hints

import typer

from hwmodels.errors import InputError, Problem, did_you_mean

if TYPE_CHECKING:
    from algorithms.registry import Algorithm
    from algorithms.shape import Workload
    from studies.parts import Tensors
    from studies.space import DesignPoint, Engine, Scalar

T = TypeVar("T")

AlgorithmName = Annotated[str, typer.Argument(metavar="ALGORITHM", help="For example sdpa.naive; see `attnflow list`.")]


@dataclass(frozen=True)
class DesignOptions:
    """A design as the command line describes it; None means that the workload or the algorithm decides."""

    workload: Annotated[str | None, typer.Option(help="Preset name or YAML file; one small head if not given.")] = None
    seq_len: Annotated[int | None, typer.Option(help="Tokens: KV length, and query length unless decoding.")] = None
    q_len: Annotated[int | None, typer.Option(help="New tokens per sequence.")] = None
    kv_len: Annotated[int | None, typer.Option(help="Attended tokens per sequence.")] = None
    head_dim: Annotated[int | None, typer.Option(help="Width of a head.")] = None
    heads: Annotated[int | None, typer.Option(help="Query heads.")] = None
    kv_heads: Annotated[int | None, typer.Option(help="KV heads.")] = None
    batch: Annotated[int | None, typer.Option(help="Sequences.")] = None
    causal: Annotated[bool | None, typer.Option("--causal/--full", help="Mask.", show_default=False)] = None
    dtype: Annotated[str | None, typer.Option(help="Storage format, e.g. bfloat16.")] = None
    seed: Annotated[int | None, typer.Option(help="Of the drawn tensors.")] = None
    tensors: Annotated[str | None, typer.Option(help="NPZ file with q, k, v, or a shipped capture.")] = None
    granularity: Annotated[str | None, typer.Option(help="Token size: row or scalar.")] = None
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any parameter of the algorithm; repeatable."),
    ] = None
    engine: Annotated[str, typer.Option(help="compiled, or simpy: slow, written to be read.")] = "compiled"
    clock: Annotated[str | None, typer.Option(help="For example 1.2 GHz; 1 GHz if not given.")] = None
    timing_only: Annotated[bool, typer.Option("--timing-only", help="No values, no errors.")] = False
    no_skip: Annotated[bool, typer.Option("--no-skip", help="Simulate repeating periods one by one.")] = False


def with_design_options(command: Callable[..., T]) -> Callable[..., T]:
    """Give `command` all fields of `DesignOptions` as options; it receives them as its argument `design`."""
    kinds = get_type_hints(DesignOptions, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(field.name, keyword, annotation=kinds[field.name], default=field.default)
        for field in fields(DesignOptions)
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
    from studies.parameters import complete_parameters
    from studies.parts import ONE_HEAD, find_algorithm, find_tensors, find_workload, shaped_workload
    from studies.space import DesignPoint

    problems = _Problems()
    algorithm = problems.attempt("ALGORITHM", lambda: find_algorithm(algorithm_name))
    base: Workload | None = ONE_HEAD
    if design.workload is not None:
        base = problems.attempt("--workload", partial(find_workload, design.workload, Path()))
    tensors: Tensors | None = None
    if design.tensors is not None:
        tensors = problems.attempt("--tensors", partial(find_tensors, design.tensors, Path()))
    engine = problems.attempt("--engine", partial(read_engine, design.engine))
    clock_hz = problems.attempt("--clock", partial(_clock, design.clock))
    changes, values = _read_assignments(design, algorithm, problems)
    parameters = workload = None
    if algorithm is not None:
        parameters = problems.attempt("--set", partial(complete_parameters, algorithm, values))
    if base is not None and (tensors is not None or design.tensors is None):
        workload = problems.attempt(None, partial(shaped_workload, base, changes, tensors))
    if (
        problems.found
        or algorithm is None
        or workload is None
        or parameters is None
        or engine is None
        or clock_hz is None
    ):
        raise InputError(problems.found)
    return DesignPoint(
        algorithm=algorithm.name,
        workload=workload,
        parameters=parameters,
        engine=engine,
        timing_only=design.timing_only,
        skip=not design.no_skip,
        tensors=tensors.file if tensors else None,
        clock_hz=clock_hz,
    )


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
                    problem = replace(problem, field=option)
                elif problem.file is None and problem.field is not None:
                    problem = replace(problem, field=f"--{problem.field.replace('_', '-')}")
                self.found.append(problem)
            return None


def _clock(text: str | None) -> float:
    from studies.parameters import RUN_KNOBS

    knob = RUN_KNOBS["clock"]
    return float(knob.read(knob.default if text is None else text) or 0)


def read_engine(name: str) -> Engine:
    """The engine called `name`; raises InputError with the nearest name."""
    from studies.space import ENGINES

    for engine in ENGINES:
        if engine == name:
            return engine
    raise InputError(Problem(f"unknown engine {name!r}", hint=did_you_mean(name, ENGINES)))


def _read_assignments(
    design: DesignOptions, algorithm: Algorithm | None, problems: _Problems
) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
    """Changes of the workload and values of parameters, read and checked one by one."""
    from studies.parameters import WORKLOAD_KNOBS, parameter_knobs, read_knob

    known = parameter_knobs(algorithm) if algorithm else {}
    changes: dict[str, Scalar] = {}
    values: dict[str, Scalar] = {}
    for option, owner, name, value in _assignments(design, problems):
        if owner in ("", "parameters") and name in known:
            knobs, into, what = known, values, ""
        elif owner in ("", "workload") and name in WORKLOAD_KNOBS:
            knobs, into, what = WORKLOAD_KNOBS, changes, ""
        elif algorithm is None:
            continue
        else:
            what = "knob of a workload" if owner == "workload" else f"parameter of {algorithm.name}"
            knobs, into = WORKLOAD_KNOBS if owner == "workload" else known, {}
        read = problems.attempt(option, partial(read_knob, knobs, name, value, what))
        if read is not None or value is None:
            into[name] = read
    return changes, values


def _assignments(design: DesignOptions, problems: _Problems) -> Iterator[tuple[str, str, str, Scalar]]:
    """(option, owner, knob, value) of every option that sets a knob; owner is empty or ``workload``."""
    from studies.parameters import scalar_of

    for knob in ("seq_len", "q_len", "kv_len", "head_dim", "heads", "kv_heads", "batch", "dtype", "seed"):
        value = getattr(design, knob)
        if value is not None:
            yield f"--{knob.replace('_', '-')}", "workload", knob, value
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
        yield f"--set {name.strip()}", owner, knob, scalar_of(value.strip())
