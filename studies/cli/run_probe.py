"""``attnflow run tier.probe``: traffic on a memory tier, and what limits it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from algorithms.memory_probe import PROBE, probe
from algorithms.probe_parameters import ProbeParameters
from hwmodels.errors import InputError, Problem, did_you_mean
from studies.cli.options import DesignOptions
from studies.cli.output import EXIT_OK, emit, note, table
from studies.parameters import complete_parameters, parameter_knobs, read_knob, scalar_of

if TYPE_CHECKING:
    from algorithms.tier_report import TierReport
    from studies.space import Scalar


@dataclass(frozen=True)
class ProbeEntry:
    """What knobs are read from; a probe attends to nothing, so it is no algorithm."""

    name: str = PROBE
    parameters: type[ProbeParameters] = ProbeParameters


def run_probe(name: str, design: DesignOptions, *, as_json: bool, quiet: bool) -> int:
    """Probe the tier that the ``--set`` options describe and print its report; returns the exit code.

    Raises
    ------
    InputError
        Another name than `PROBE`, or whatever is wrong with the options.
    """
    if name != PROBE:
        raise InputError(
            Problem(f"no algorithm is called {name!r}", field="ALGORITHM", hint=did_you_mean(name, [PROBE]))
        )
    parameters = read_probe(design)
    if parameters.fidelity == "cycle":
        note("simulating (the first run may compile for a minute) ...", quiet=quiet)
    report = probe(parameters)
    emit(
        {"algorithm": PROBE, "parameters": vars(parameters), **report.to_dict()},
        lambda: _summary(parameters, report),
        as_json=as_json,
    )
    return EXIT_OK


def read_probe(design: DesignOptions) -> ProbeParameters:
    """The probe that the options describe.

    Raises
    ------
    InputError
        With every problem: options that a probe has no use for, unknown parameters, bad values.
    """
    entry = ProbeEntry()
    problems = [
        Problem(f"does not apply to {PROBE}", field=f"--{field.name.replace('_', '-')}")
        for field in fields(design)
        if field.name != "set_" and getattr(design, field.name) != field.default
    ]
    values: dict[str, Scalar] = {}
    for name, text in _assignments(design, problems):
        try:
            values[name] = read_knob(parameter_knobs(entry), name, scalar_of(text), f"parameter of {PROBE}")
        except InputError as error:
            problems += [replace(problem, field=f"--set {name}") for problem in error.problems]
    if problems:
        raise InputError(problems)
    return ProbeParameters(**dict(complete_parameters(entry, values)))


def _assignments(design: DesignOptions, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    """Names and texts of the ``--set`` options."""
    for text in design.set_ or ():
        name, equals, value = text.partition("=")
        if equals and name.strip():
            yield name.strip().removeprefix("parameters."), value.strip()
        else:
            problems.append(Problem(f"must be NAME=VALUE (got {text!r})", field="--set"))


def _summary(parameters: ProbeParameters, report: TierReport) -> str:
    """The report for people."""
    default = ProbeParameters()
    changed = [
        f"{field.name} = {getattr(parameters, field.name)}"
        for field in fields(parameters)
        if getattr(parameters, field.name) != getattr(default, field.name)
    ]
    title = f"{report.tier}, {report.channels} channels, {report.fidelity}: {', '.join(changed) or 'all at defaults'}"
    return "\n\n".join((title, table(("figure", "value", "remark"), report.rows())))
