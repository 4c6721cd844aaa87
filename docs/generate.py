"""Writes the pages that are not typed by hand: verbs, metrics, YAML, names, Python, validation, gallery, tutorials."""

from __future__ import annotations

import base64
import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import typer
import yaml

import attnflow
from studies.cli.app import application
from studies.cli.verbs.config import FileKind, schema_of
from studies.cli.verbs.list import LISTED
from studies.families.family import FAMILIES
from studies.families.metrics import metrics

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
NOTEBOOKS = HERE / "notebooks"
STUDIES = ROOT / "studies" / "configs"
VALIDATION = ROOT / "studies" / "validate"
MOST_ROWS = 60
"""Rows of a validation table that are shown; the file has all."""


def write(folder: Path) -> None:
    """Write all pages into `folder`."""
    folder.mkdir(exist_ok=True)
    for name, made in PAGES.items():
        (folder / f"{name}.md").write_text("\n".join(made()).rstrip() + "\n", encoding="utf-8")
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        (folder / f"notebook-{path.stem}.md").write_text(notebook(path, folder), encoding="utf-8")


def cell(text: object) -> str:
    """Text inside a table of Markdown."""
    plain = " ".join(str(text if text is not None else "").split())
    return plain.replace("|", "\\|").replace("<", "&lt;")


def rows(header: Sequence[str], body: Iterable[Sequence[object]]) -> Iterator[str]:
    """A table."""
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    for line in body:
        yield "| " + " | ".join(map(cell, line)) + " |"
    yield ""


# --- verbs ------------------------------------------------------------------------------------------------


def verbs() -> Iterator[str]:
    """Every command with its arguments and options, as the program itself tells them."""
    yield "# Verbs\n"
    yield "Every verb takes `--json` (one document on stdout, nothing else there), `--quiet` and `--help`. Exit codes:"
    yield "0 fine, 1 a check failed, 2 bad input, 3 the design deadlocks or does not fit, 130 stopped by Ctrl-C."
    yield "`attnflow --install-completion` lets the shell complete verbs and names.\n"
    yield from _commands(typer.main.get_command(application(None)), ())


def _commands(command: object, path: tuple[str, ...]) -> Iterator[str]:
    children: Mapping[str, object] | None = getattr(command, "commands", None)
    if children is None:
        yield from _command(command, path)
        return
    for name, child in children.items():
        yield from _commands(child, (*path, name))


def _command(command: object, path: tuple[str, ...]) -> Iterator[str]:
    told, _, example = str(getattr(command, "help", "")).partition("Example:")
    yield f"## {' '.join(path)}\n"
    yield told.replace("\b", "").strip() + "\n"
    if example:
        yield f"    {example.strip()}\n"
    found = []
    for each in getattr(command, "params", ()):
        if each.name in ("as_json", "quiet", "help"):
            continue
        name = ", ".join(f"`{option}`" for option in each.opts) if each.opts[0].startswith("-") else f"`{each.name}`"
        found.append((name, getattr(each, "help", "") or ""))
    if found:
        yield from rows(("argument, option", "meaning"), found)


# --- what is registered -----------------------------------------------------------------------------------


def metric_pages() -> Iterator[str]:
    """Every metric by family."""
    yield "# Metrics\n"
    yield "The name is what studies, stores and files use; the title is what pages and tables show.\n"
    FAMILIES.discover()
    found = metrics()
    for family in dict.fromkeys(each.family for each in found):
        yield f"## {'Of every design' if family == 'any' else f'Of the family {family}'}\n"
        mine = [each for each in found if each.family == family]
        better = {"min": "less", "max": "more", None: ""}
        body = [(f"`{m.name}`", m.shown, m.unit, better[m.goal], m.meaning) for m in mine]
        yield from rows(("name", "title", "unit", "better", "meaning"), body)


def names() -> Iterator[str]:
    """Everything that has a name, as `attnflow list` tells it."""
    yield "# Names\n"
    yield "What `attnflow list` lists; `attnflow show` tells more of one, with the source of every number.\n"
    for kind, listing in LISTED.items():
        if str(kind) != "metrics":
            yield f"## {str(kind).capitalize()}\n"
            yield f"{listing.what}\n"
            yield from rows(("name", "what it is"), [(f"`{name}`", summary) for name, summary in listing.lines()])


def yaml_pages() -> Iterator[str]:
    """Fields of study and chip files, from their schemas."""
    yield "# YAML\n"
    yield "Fields of files, from the schemas that `attnflow config schema study` and `chip` print. An editor with a"
    yield "language server for YAML completes and checks them where a file begins with"
    yield "`# yaml-language-server: $schema=./study.schema.json`. `attnflow init` writes files to start from.\n"
    for kind in FileKind:
        schema = schema_of(kind)
        yield f"## {str(kind).capitalize()} files\n"
        yield from _fields(schema)
        for name, definition in sorted(schema.get("$defs", {}).items()):
            if definition.get("properties"):
                yield f"### {kind}: {name.removesuffix('Text')}\n"
                yield from _fields(definition)


def _fields(schema: Mapping[str, object]) -> Iterator[str]:
    told = str(schema.get("description", "")).split("\n\n")[0].strip()
    if told:
        yield told + "\n"
    needed = schema.get("required", ())
    properties = schema.get("properties", {})
    body = [
        (f"`{name}`" + (" *" if name in needed else ""), _kind(field), field.get("description", ""))
        for name, field in properties.items()
    ]
    if body:
        yield from rows(("field (* needed)", "kind", "meaning"), body)


def _kind(field: Mapping[str, object]) -> str:
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_kind(each) for each in field["anyOf"]))
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2].removesuffix("Text")
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    return str(field.get("const") or field.get("type") or "any")


def python() -> Iterator[str]:
    """What `attnflow` hands out, from its docstrings."""
    yield "# Python\n"
    yield "`import attnflow` gives some thirty names and costs nothing until one is used; what it hands out shows"
    yield "itself in notebooks.\n"
    for name in sorted(attnflow._HOMES):
        module, attribute = attnflow._HOMES[name].split(":")
        found = getattr(attnflow, name)
        yield f"## attnflow.{name}\n"
        if name == "operators":
            yield "The units that graphs are made of: functions of the module `simulator.operators`.\n"
            continue
        directive = "autoclass" if isinstance(found, type) else "autofunction"
        members = "\n   :members:" if isinstance(found, type) else ""
        yield f"```{{eval-rst}}\n.. {directive}:: {module}.{attribute}{members}\n```\n"


# --- what was measured ------------------------------------------------------------------------------------


def validation() -> Iterator[str]:
    """Tables of errors that are kept with the project."""
    yield "# Validation tables\n"
    yield "What models are off, on points that nothing was fitted to; `attnflow validate` makes them anew.\n"
    for path in sorted(VALIDATION.rglob("error_table*.csv")):
        yield f"## {path.relative_to(VALIDATION).as_posix()}\n"
        lines = path.read_text(encoding="utf-8").splitlines()
        remarks = [line.lstrip("# ") for line in lines if line.startswith("#")]
        yield from (f"{remark}\n" for remark in remarks[:6])
        table = list(csv.reader(line for line in lines if line and not line.startswith("#")))
        yield from rows(table[0], table[1 : MOST_ROWS + 1])
        if len(table) - 1 > MOST_ROWS:
            yield f"The file has {len(table) - 1 - MOST_ROWS:,} more rows.\n"


def gallery() -> Iterator[str]:
    """Shipped studies: the question of each, its picture, and the command."""
    yield "# Gallery of studies\n"
    for path in sorted(STUDIES.glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        asked = " ".join(line.lstrip("# ") for line in text.partition("\nname:")[0].splitlines())
        yield f"## {yaml.safe_load(text).get('title', path.stem)}\n"
        yield f"{cell(asked)}\n"
        picture = HERE / "pictures" / "studies" / f"{path.stem}.png"
        if picture.is_file():
            told = f":alt: Trade-off of {path.stem}\n:width: 560px"
            yield f"```{{image}} ../pictures/studies/{path.stem}.png\n{told}\n```\n"
        yield f"    attnflow sweep studies/configs/{path.name}\n"


def tutorials() -> Iterator[str]:
    """Index of notebooks with thumbnails."""
    yield "# Tutorials\n"
    yield "Notebooks, executed. Their sources are scripts in `studies/notebooks` that Jupyter opens with jupytext; with"
    yield "their pictures they are in `docs/notebooks`.\n"
    entries = []
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        heading = "".join(cells[0]["source"]).splitlines()[0].lstrip("# ")
        entries.append(path.stem)
        yield f"## {heading}\n"
        yield f"```{{image}} ../notebooks/{path.stem}.png\n:alt: {heading}\n:target: notebook-{path.stem}.html\n```\n"
        yield f"[{heading}](notebook-{path.stem}.md)\n"
    yield "```{toctree}\n:hidden:\n"
    yield from (f"notebook-{name}" for name in entries)
    yield "```"


def notebook(path: Path, folder: Path) -> str:
    """An executed notebook as a page; its pictures are written beside it."""
    parts: list[str] = []
    for i, entry in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        source = "".join(entry["source"])
        if entry["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for j, output in enumerate(entry.get("outputs", [])):
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{path.stem}-{i}-{j}.png"
                (folder / name).write_bytes(base64.b64decode("".join(data["image/png"])))
                parts.append(f"```{{image}} {name}\n:alt: Figure of cell {i}\n```")
            elif "text/html" in data:
                markup = re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.DOTALL)
                parts.append(f'```{{raw}} html\n<div class="table-wrapper">{markup}</div>\n```')
            else:
                parts.append("```text\n" + "".join(data.get("text/plain", output.get("text", ""))).rstrip() + "\n```")
    return "\n\n".join(parts) + "\n"


def architecture() -> Iterator[str]:
    """The page for contributors, its links to files as names of files."""
    yield unlinked((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def published_systems() -> Iterator[str]:
    """What the README says of published systems."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    yield "# Published systems\n"
    yield unlinked(text.partition("<!-- published systems -->")[2].partition("<!-- end of published systems -->")[0])


def unlinked(text: str) -> str:
    """Text whose links to files of the project are names of files."""
    return re.sub(r"\[([^\]]+)\]\((?!https?:)([^)]+)\)", r"\1 (`\2`)", text)


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "verbs": verbs,
    "metrics": metric_pages,
    "names": names,
    "yaml": yaml_pages,
    "python": python,
    "validation": validation,
    "gallery": gallery,
    "tutorials": tutorials,
    "architecture": architecture,
    "published-systems": published_systems,
}
