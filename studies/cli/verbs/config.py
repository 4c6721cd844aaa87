"""``attnflow config``: check a study file, or show it resolved with the origin of every value."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli.output import JsonFlag, QuietFlag, emit, table
from studies.cli.verb import verb_group
from studies.cli.verbs.sweep import StudyFile

if TYPE_CHECKING:
    from studies.points.point import Json


class FileKind(StrEnum):
    """Files that have a schema."""

    STUDY = "study"
    CHIP = "chip"


config = verb_group("config", "Check a study file, or show what it resolves to.", __name__, order=180)


@config.command("check")
def check(study_file: StudyFile, as_json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Say whether a study file is sound; every problem is listed, and the exit code is 2, if it is not.

    Example: attnflow config check studies/configs/lanes.yaml
    """
    from studies.study.question import LARGEST_GRID
    from studies.study.resolve import read_study
    from studies.words import count

    del quiet
    study = read_study(study_file)
    size = study.space.size
    document: Json = {"study": study.name, "points": size, "ok": True}
    remark = "" if size <= LARGEST_GRID else "; too many for a sweep, but not for a search"
    emit(document, lambda: f"{study_file}: ok, {count(size, 'point')}{remark}", as_json=as_json)


@config.command("show")
def show(study_file: StudyFile, as_json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Show every resolved value of a study and where it comes from: a line, a preset, a default.

    Example: attnflow config show studies/configs/lanes.yaml
    """
    from studies.study.resolve import read_study
    from studies.words import count

    del quiet
    study = read_study(study_file)

    def text() -> str:
        rows = [
            (setting.name, json.dumps(setting.value, ensure_ascii=False), setting.origin) for setting in study.settings
        ]
        return f"{study.name}: {count(study.space.size, 'point')}\n\n{table(('name', 'value', 'origin'), rows)}"

    emit(study.describe(), text, as_json=as_json)


@config.command("schema")
def schema(
    kind: Annotated[FileKind, typer.Argument(help="Which files.")] = FileKind.STUDY,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Print the JSON schema of study or chip files, for editors that complete and check YAML.

    Example: attnflow config schema study
    """
    del as_json, quiet  # a schema has one form
    emit(schema_of(kind), str, as_json=True)


def schema_of(kind: FileKind) -> dict[str, Json]:
    """The JSON schema of a kind of file."""
    from hwmodels.chips.accelerator import accelerator_schema
    from studies.study.text import StudyText

    return dict(StudyText.model_json_schema() if kind is FileKind.STUDY else accelerator_schema())
