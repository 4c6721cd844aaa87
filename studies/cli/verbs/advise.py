"""``attnflow advise``: what a design needs."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.options import AlgorithmName, DesignOptions, ScenarioName, design_point, with_design_options
from studies.cli.output import EXIT_CHECK_FAILED, EXIT_OK, JsonFlag, QuietFlag, emit, table
from studies.cli.verb import verb_group

advise = verb_group("advise", "What a design needs to run, and to run at full rate.", __name__, order=160)


@advise.command("depths")
@with_design_options
def depths(
    algorithm: AlgorithmName, design: DesignOptions, as_json: JsonFlag = False, quiet: QuietFlag = False
) -> None:
    """Smallest depth of every FIFO without deadlock, and for the cycle count of unbounded FIFOs.

    Example: attnflow advise depths sdpa.naive --seq-len 4096 --head-dim 128
    """
    # depths follow from timing alone, so no tensors are drawn
    point = design_point(algorithm, dataclasses.replace(design, timing_only=True))
    from simulator.explain.depths import advise_depths
    from studies.families.depth_guess import guessed_depths
    from studies.families.detail import plain
    from studies.families.family import family_of
    from studies.families.text import subject
    from studies.running.warm_up import announce_kernels

    announce_kernels(point, quiet=quiet, engine="compiled")
    family = family_of(point)
    advice = advise_depths(family.graph(point).freeze(), guessed_depths(point, family))
    told = {name: plain(value) for name, value in advice.to_dict().items()}
    document = {"key": point.key, "point": point.describe(), **told}

    def text() -> str:
        rows = [(c.name, c.min_depth, c.full_rate_depth, c.bytes) for c in advice.channels]
        return f"{subject(point)}\n\n" + table(("channel", "min depth", "full-rate depth", "bytes"), rows)

    emit(document, text, as_json=as_json)


@advise.command("capacity")
@with_design_options
def capacity(
    design: DesignOptions,
    served: ScenarioName = None,
    share: Annotated[float, typer.Option(help="Share of the requests that must meet the service level.")] = 0.99,
    most_chips: Annotated[
        int | None, typer.Option(help="Chips to try at most; those of the system, or 64.", show_default=False)
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Smallest number of chips, replicas and chips per replica with which a scenario holds its service level.

    Example: attnflow advise capacity azure-chat-h100 --share 0.95
    """
    if served is None and design.scenario is None:
        raise InputError(Problem("name a scenario: a shipped one, or a YAML file", field="SCENARIO"))
    point = design_point("live.serve", design.of_scenario(served))
    from studies.families.live.capacity import advise_capacity
    from studies.running.warm_up import announce_kernels

    announce_kernels(point, quiet=quiet, engine="compiled")
    found = advise_capacity(point, share, most_chips)
    emit(found.describe(), found.text, as_json=as_json)
    return EXIT_CHECK_FAILED if found.smallest is None else EXIT_OK
