"""``attnflow bench``: measure the project itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli.output import EXIT_CHECK_FAILED, EXIT_OK, JsonFlag, QuietFlag, emit, note, table
from studies.cli.verb import verb

if TYPE_CHECKING:
    from studies.points.point import Json, Scalar


@verb("bench", order=110)
def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Benchmarks; all if not given.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 if a figure is beyond its limit.")] = False,
    compare: Annotated[
        Path | None,
        typer.Option("--compare", metavar="FILE", help="What `bench --json` printed before; figures as ratios to it."),
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Measure the engines on this computer; compilation is done before and not counted.

    Example: attnflow bench --check
    """
    from simulator.engines.progress import report
    from studies.benchmarks.register import benchmarks
    from studies.benchmarks.saved import read_figures
    from studies.running.warm_up import compile_engine

    chosen = benchmarks(names or ())
    before = read_figures(compare) if compare else {}
    compile_engine(quiet=quiet)
    figures: dict[str, Mapping[str, float]] = {}
    rows: list[tuple[Scalar, ...]] = []
    beyond: list[str] = []
    for number, entry in enumerate(chosen):
        report("benchmarks", number, len(chosen))
        note(f"{entry.name}: {entry.summary} ...", quiet=quiet)
        values = entry.run()
        figures[entry.name] = values
        for figure, value in values.items():
            old = before.get(entry.name, {}).get(figure)
            compared = (old, value / old if old else None) if compare else ()
            rows.append((entry.name, figure, value, entry.limits.get(figure), *compared))
        beyond += [
            f"{entry.name}: {name} is {values[name]:.4g}, over {entry.limits[name]:g}" for name in entry.beyond(values)
        ]
    columns = ("benchmark", "figure", "value", "limit", *(("before", "ratio") if compare else ()))
    document = {**figures, "ratios": _ratios(figures, before)} if compare else figures
    emit(document, lambda: table(columns, rows), as_json=as_json)
    for line in beyond:
        note(line, quiet=quiet)
    return EXIT_CHECK_FAILED if check and beyond else EXIT_OK


def _ratios(now: Mapping[str, Mapping[str, float]], before: Mapping[str, Mapping[str, float]]) -> Json:
    """Figures over those of a saved run, where both have them."""
    return {
        name: {figure: value / before[name][figure] for figure, value in figures.items() if before[name].get(figure)}
        for name, figures in now.items()
        if name in before
    }
