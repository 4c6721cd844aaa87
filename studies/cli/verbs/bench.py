"""``attnflow bench``: measure the project itself."""

from __future__ import annotations

from typing import Annotated

import typer

from studies.cli.output import JsonFlag, QuietFlag, emit, note, table
from studies.cli.verb import verb


@verb("bench", order=110)
def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Benchmarks; all if not given.")] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Measure the engines on this computer; compilation is done before and not counted."""
    from studies.benchmarks.register import benchmarks
    from studies.running.warm_up import compile_engine

    chosen = benchmarks(names or ())
    compile_engine(quiet=quiet)
    figures = {}
    for entry in chosen:
        note(f"{entry.name}: {entry.summary} ...", quiet=quiet)
        figures[entry.name] = entry.run()
    rows = [(name, figure, value) for name, values in figures.items() for figure, value in values.items()]
    emit(figures, lambda: table(("benchmark", "figure", "value"), rows), as_json=as_json)
