"""``attnflow show``: one thing that has a name, and what it is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.output import JsonFlag, QuietFlag, emit, table
from studies.cli.verb import verb

if TYPE_CHECKING:
    from studies.points.point import Json


class ShownKind(StrEnum):
    """Things that can be shown one by one."""

    ALGORITHM = "algorithm"
    WORKLOAD = "workload"
    CHIP = "chip"
    TIER = "tier"
    MODEL = "model"
    SYSTEM = "system"


@verb("show", order=140)
def show(
    kind: Annotated[ShownKind, typer.Argument(help="What it is.")],
    name: Annotated[str, typer.Argument(help="Its name, or a YAML file of one's own; of a model also a config.json.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of a chip or tier; repeatable."),
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show one algorithm with its parameters, or one workload, chip, memory tier, model or system with all sources.

    Example: attnflow show chip h100
    """
    if kind is ShownKind.CHIP:
        from studies.cli.show_chip import show_chip

        show_chip(name, set_ or [], as_json)
        return
    if kind is ShownKind.TIER:
        from studies.cli.show_tier import show_tier

        show_tier(name, set_ or [], as_json, quiet=quiet)
        return
    if set_:
        raise InputError(Problem(f"only chips and tiers have fields to change (this is a {kind})", "--set"))
    _SHOWN[kind](name, as_json)


def _show_algorithm(name: str, as_json: bool) -> None:
    from studies.families.family import family_of
    from studies.points.find import find_algorithm
    from studies.points.knobs import parameter_knobs

    algorithm = find_algorithm(name)
    knobs = parameter_knobs(algorithm).values()
    document: Json = {
        "name": algorithm.name,
        "summary": algorithm.summary,
        "kind": family_of(algorithm).name,
        "runs_on_chip": "chip" in algorithm.takes,
        "parameters": [
            {"name": k.name, "type": k.type_text, "default": k.default, "unit": k.unit, "help": k.help} for k in knobs
        ],
    }
    rows = [(k.name, k.type_text, "auto" if k.automatic else k.default, k.unit, k.help) for k in knobs]

    def text() -> str:
        header = ("parameter", "type", "default", "unit", "meaning")
        return f"{algorithm.name}: {algorithm.summary}\n\n{table(header, rows)}"

    emit(document, text, as_json=as_json)


def _show_workload(name: str, as_json: bool) -> None:
    from studies.points.find import find_workload

    workload = find_workload(name, Path())
    cited = dict(workload.citations)
    values = dataclasses.asdict(workload)
    del values["citations"]
    derived = {
        each: getattr(workload, each) for each in ("attention_flops", "exponentials", "compulsory_bytes", "cache_bytes")
    }
    document: Json = {**values, "citations": cited, "derived": derived}
    rows = [(each, value, cited.get(each)) for each, value in values.items() if value not in (None, "")]
    rows += [(each, value, "derived") for each, value in derived.items()]
    emit(document, lambda: table(("field", "value", "source"), rows), as_json=as_json)


def _show_model(name: str, as_json: bool) -> None:
    from studies.cli.show_model import show_model

    show_model(name, as_json)


def _show_system(name: str, as_json: bool) -> None:
    from studies.cli.show_model import show_system

    show_system(name, as_json)


_SHOWN: dict[ShownKind, Callable[[str, bool], None]] = {
    ShownKind.MODEL: _show_model,
    ShownKind.SYSTEM: _show_system,
    ShownKind.ALGORITHM: _show_algorithm,
    ShownKind.WORKLOAD: _show_workload,
}
"""How each kind is shown; ``--set`` is for chips and tiers alone."""
