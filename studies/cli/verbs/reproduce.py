"""``attnflow reproduce``: published systems beside ours, every claim with a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.output import EXIT_OK, JsonFlag, QuietFlag, emit, note, table
from studies.cli.verb import verb
from studies.words import number

if TYPE_CHECKING:
    from studies.points.point import Json
    from studies.reproductions.judging import JudgedSystem

Name = Annotated[
    str | None, typer.Argument(metavar="NAME", help="A system, or the YAML file of one; all if not given.")
]
StorePath = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="SQLite file of the designs that are run; out/reproductions.sqlite if not given.",
        show_default=False,
    ),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="HTML page to write, too.", show_default=False)]
Jobs = Annotated[
    int | None, typer.Option(help="Worker processes; all processors if not given, 0 for none.", show_default=False)
]


@verb("reproduce", order=90)
def reproduce(
    name: Name = None,
    store: StorePath = None,
    output: Output = None,
    jobs: Jobs = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Published systems beside this project's figures: reproduced, in band, missed or quoted, claim by claim.

    Example: attnflow reproduce relay-attention
    """
    from studies.reproductions.judging import judge_systems
    from studies.reproductions.running import DEFAULT_STORE, of_other_code
    from studies.reproductions.system import load_system, system_names
    from studies.reproductions.table import counts
    from studies.running.warm_up import announce_compilation

    if output is not None and output.suffix not in (".html", ".htm"):
        raise InputError(Problem("must end in .html", field="--output"))
    systems = [load_system(each) for each in ([name] if name else system_names())]
    announce_compilation("compiled", quiet=quiet)
    note(f"{len(systems)} systems ...", quiet=quiet)
    found = judge_systems(systems, store or DEFAULT_STORE, jobs=jobs, quiet=quiet)
    older = of_other_code(store or DEFAULT_STORE)
    if older:
        note(
            f"{older} designs are from the store and were evaluated by other code; another --store has all made anew",
            quiet=quiet,
        )
    if output is not None:
        from studies.reproductions.page import write_reproductions

        try:
            write_reproductions(found, output)
        except OSError as error:
            raise InputError(Problem(f"cannot be written: {error.strerror}", str(output))) from None
    listed: list[Json] = [each.describe() for each in found]
    document: dict[str, Json] = {"systems": listed, "counts": counts(found)}
    emit(document, lambda: _system(found[0]) if name else _all(found), as_json=as_json)
    return EXIT_OK


def _all(found: list[JudgedSystem]) -> str:
    """All systems by group."""
    from studies.reproductions.table import counts, tally, verdict_words

    parts = []
    for family in dict.fromkeys(each.system.family for each in found):
        lines = [
            (each.system.name, verdict_words(each), tally(each), f"{each.wall_s:.1f} s", each.system.title)
            for each in found
            if each.system.family == family
        ]
        parts.append(f"{family}\n" + table(("system", "verdict", "claims", "time", "what"), lines))
    parts.append(", ".join(f"{count} {verdict}" for verdict, count in counts(found).items()))
    return "\n\n".join(parts)


def _system(found: JudgedSystem) -> str:
    """Setting and claims of one system."""
    from studies.reproductions.table import claim_cells, tally, verdict_words

    system = found.system
    header = ("claim", "published", "ours", "unit", "error", "may be", "verdict", "made", "source")
    setting = [
        (name, f"{number(each.value)} {each.unit}".strip(), each.mark, each.source)
        for name, each in system.setting.items()
    ]
    notes = [f"{each.claim.text.metric}: {each.why}" for each in found.claims if each.why]
    parts = [
        f"{system.title} ({system.paper})",
        system.mechanism,
        table(("setting", "value", "mark", "source"), setting) if setting else "",
        table(header, [claim_cells(each) for each in found.claims]),
        "\n".join(notes),
        f"{verdict_words(found)}: {tally(found)}; {found.wall_s:.1f} s",
    ]
    return "\n\n".join(part for part in parts if part)
