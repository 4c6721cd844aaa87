"""``attnflow advise``: what a design needs."""

from __future__ import annotations

import dataclasses

from studies.cli.options import AlgorithmName, DesignOptions, design_point, with_design_options
from studies.cli.output import JsonFlag, QuietFlag, emit, table
from studies.cli.verb import verb_group

advise = verb_group("advise", "What a design needs to run, and to run at full rate.", __name__, order=160)


@advise.command("depths")
@with_design_options
def depths(
    algorithm: AlgorithmName, design: DesignOptions, as_json: JsonFlag = False, quiet: QuietFlag = False
) -> None:
    """Smallest depth of every FIFO without deadlock, and for the cycle count of unbounded FIFOs."""
    # depths follow from timing alone, so no tensors are drawn
    point = design_point(algorithm, dataclasses.replace(design, timing_only=True))
    from simulator.explain.depths import advise_depths
    from studies.families.detail import plain
    from studies.families.family import family_of
    from studies.families.text import subject
    from studies.running.warm_up import announce_kernels

    announce_kernels(point, quiet=quiet, engine="compiled")
    advice = advise_depths(family_of(point).graph(point).freeze())
    told = {name: plain(value) for name, value in advice.to_dict().items()}
    document = {"key": point.key, "point": point.describe(), **told}

    def text() -> str:
        rows = [(c.name, c.min_depth, c.full_rate_depth, c.bytes) for c in advice.channels]
        return f"{subject(point)}\n\n" + table(("channel", "min depth", "full-rate depth", "bytes"), rows)

    emit(document, text, as_json=as_json)
