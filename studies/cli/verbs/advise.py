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
    from studies.cli.verbs.run import subject
    from studies.families.graph.evaluate import build_graph
    from studies.running.warm_up import announce_compilation, parts_for

    announce_compilation("compiled", quiet=quiet, parts=parts_for(point))
    advice = advise_depths(build_graph(point).freeze())
    document = {"key": point.key, "point": point.describe(), **advice.to_dict()}

    def text() -> str:
        rows = [(c.name, c.min_depth, c.full_rate_depth, c.bytes) for c in advice.channels]
        return f"{subject(point)}\n\n" + table(("channel", "min depth", "full-rate depth", "bytes"), rows)

    emit(document, text, as_json=as_json)
