"""``attnflow bench``: measure the project itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli.output import EXIT_CHECK_FAILED, EXIT_OK, JsonFlag, QuietFlag, emit, note, table
from studies.cli.verb import verb

if TYPE_CHECKING:
    from studies.points.point import Json


@verb("bench", order=110)
def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Benchmarks; all if not given.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 if a figure is beyond its limit.")] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Measure the engines on this computer; compilation is done before and not counted."""
    from simulator.engines.progress import report
    from studies.benchmarks.register import benchmarks
    from studies.running.warm_up import compile_engine

    chosen = benchmarks(names or ())
    compile_engine(quiet=quiet)
    figures: dict[str, Json] = {}
    rows, beyond = [], []
    for number, entry in enumerate(chosen):
        report("benchmarks", number, len(chosen))
        note(f"{entry.name}: {entry.summary} ...", quiet=quiet)
        values = entry.run()
        figures[entry.name] = values
        rows += [(entry.name, figure, value, entry.limits.get(figure)) for figure, value in values.items()]
        beyond += [
            f"{entry.name}: {name} is {values[name]:.4g}, over {entry.limits[name]:g}" for name in entry.beyond(values)
        ]
    emit(figures, lambda: table(("benchmark", "figure", "value", "limit"), rows), as_json=as_json)
    for line in beyond:
        note(line, quiet=quiet)
    return EXIT_CHECK_FAILED if check and beyond else EXIT_OK
