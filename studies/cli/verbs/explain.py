"""``attnflow explain``: what binds a design."""

from __future__ import annotations

import typer

from studies.cli.options import AlgorithmName, DesignOptions, design_point, with_design_options
from studies.cli.output import EXIT_DESIGN_FAILS, JsonFlag, QuietFlag, emit, table
from studies.cli.verb import verb

PATH_ROWS = 8


@verb("explain", order=50)
@with_design_options
def explain(
    algorithm: AlgorithmName, design: DesignOptions, as_json: JsonFlag = False, quiet: QuietFlag = False
) -> None:
    """Stalls and the critical path, or on a chip the bounds; what binds; and levers that were tried."""
    point = design_point(algorithm, design)
    from studies.families.graph.explain import explain as explain_point
    from studies.running.warm_up import announce_compilation, parts_for

    announce_compilation("compiled", quiet=quiet, parts=parts_for(point))
    if point.chip is not None:
        from studies.families.chip.explain import explain_on_chip
        from studies.families.chip.text import chip_explanation

        on_chip = explain_on_chip(point)
        emit(on_chip.describe(), lambda: chip_explanation(on_chip), as_json=as_json)
        return
    from studies.cli.verbs.run import subject

    explanation = explain_point(point)

    def text() -> str:
        stalls = [(row.unit, row.use, row.cycles, f"{100 * row.share:.1f}%") for row in explanation.stalls]
        parts = [subject(point), table(("unit", "cycles go to", "cycles", "share"), stalls)]
        path = explanation.path
        if path is not None:
            shares = [
                (share.kind, share.where, share.cycles, f"{100 * share.cycles / path.cycles:.1f}%")
                for share in path.shares[:PATH_ROWS]
            ]
            kind = "exact" if path.exact else path.note
            parts.append(f"critical path, {path.cycles:,} cycles ({kind}):")
            parts.append(table(("edge", "where", "cycles", "share"), shares))
        elif explanation.path_note:
            parts.append(f"critical path: {explanation.path_note}")
        return "\n\n".join([*parts, explanation.sentence])

    emit(explanation.describe(), text, as_json=as_json)
    if explanation.result.deadlock:
        raise typer.Exit(EXIT_DESIGN_FAILS)
