"""``attnflow init``: write a file to start from, with comments, that is valid as it is."""

from __future__ import annotations

import re
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.output import JsonFlag, QuietFlag, emit
from studies.cli.verb import verb

if TYPE_CHECKING:
    from studies.points.point import Json


class Start(StrEnum):
    """Files that can be started from."""

    STUDY = "study"
    CHIP = "chip"
    MODEL = "model"
    SCENARIO = "scenario"
    POLICY = "policy"
    NOTEBOOK = "notebook"


_ENDINGS = {Start.MODEL: ".json", Start.POLICY: ".py", Start.NOTEBOOK: ".py"}
_NEXT = {
    Start.STUDY: "attnflow sweep {file}",
    Start.CHIP: "attnflow run flash.q_outer --chip {file} --workload llama3-8b --set seq_len=1024 --timing-only",
    Start.MODEL: 'attnflow run model.step --model {file} --chip h100 --batch "decode 1 of 4096 x8"',
    Start.SCENARIO: "attnflow run live.serve {file}",
    Start.POLICY: "python {file}",
    Start.NOTEBOOK: "python {file}",
}
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@verb("init", order=5)
def init(
    kind: Annotated[Start, typer.Argument(help="What to start.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; my_KIND with its ending if not given.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Write a commented file to start from: a study, chip, model, scenario, KV policy or notebook of your own.

    Example: attnflow init study -o memory.yaml
    """
    del quiet
    path = output or Path(f"my_{kind}{_ENDINGS.get(kind, '.yaml')}")
    name = path.stem
    if not _PLAIN.fullmatch(name):
        raise InputError(Problem("the name must be a letter and letters, digits or _", str(path), field="--output"))
    ending = _ENDINGS.get(kind, ".yaml")
    if path.suffix != ending:
        raise InputError(Problem(f"a {kind} is a file that ends in {ending}", str(path), field="--output"))
    shipped = f"{kind}{ending}.txt" if ending == ".py" else f"{kind}{ending}"  # no module of this package
    template = resources.files("studies.cli") / "templates" / shipped
    text = template.read_text(encoding="utf-8").replace("{name}", name).replace("{file}", str(path))
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(Problem("is there already; --force replaces it", str(path))) from None
    except OSError as error:
        raise InputError(Problem(f"cannot be written: {error.strerror}", str(path))) from None
    follow = _NEXT[kind].format(file=path)
    document: Json = {"file": str(path), "kind": str(kind), "next": follow}
    emit(document, lambda: f"{path} written; next: {follow}", as_json=as_json)
