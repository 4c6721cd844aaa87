"""Verbs are found: those of the project, each in a file of its own, and those of other distributions."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys

import pytest

import studies.cli.verbs
from studies.cli.verb import ENTRY_POINT_GROUP, PACKAGE, all_verbs, verbs_for

TIMEOUT_S = 600
SHOWN = [
    "run",
    "sweep",
    "search",
    "report",
    "explain",
    "trace",
    "draw",
    "compare",
    "reproduce",
    "policies",
    "bench",
    "measure",
    "list",
    "show",
    "doctor",
    "advise",
    "validate",
    "config",
]
HEAVY = ("numpy", "numba", "pydantic", "pandas", "plotly", "yaml", "optuna", "simulator")


def python(code, *paths):
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*map(str, paths), *sys.path])},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def attnflow(folder, *arguments):
    return python(f"import sys; from studies.cli import main; sys.exit(main({list(arguments)!r}))", folder)


@pytest.fixture
def distribution(tmp_path):
    """A function that makes an installed distribution with one module, whose entry point names it."""

    def make(name, text):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{name} = {name}\n", encoding="utf-8")
        return tmp_path

    return make


def verb_called(name):
    return f'''
from typing import Annotated
import typer
from studies.cli.output import JsonFlag, emit
from studies.cli.verb import verb

@verb({name!r})
def command(number: Annotated[int, typer.Argument()], as_json: JsonFlag = False) -> int:
    """Double a number."""
    emit({{"double": 2 * number}}, lambda: f"it is {{2 * number}}", as_json=as_json)
    return 1 if number > 9 else 0
'''


def test_every_module_of_verbs_registers_one_that_is_called_like_it():
    modules = {module.name for module in pkgutil.iter_modules(studies.cli.verbs.__path__)}
    assert len(modules) >= 18
    ours = {entry.name: entry.source for entry in all_verbs() if entry.source.startswith(f"{PACKAGE}.")}
    assert ours == {name: f"{PACKAGE}.{name}" for name in modules}


@pytest.mark.parametrize("asked", ["--help", "-h"])
def test_the_help_shows_them_in_their_order(tmp_path, asked):
    result = attnflow(tmp_path, asked)
    words = [line.strip("│ ").split(" ")[0] for line in result.stdout.splitlines() if line.startswith("│ ")]
    assert [word for word in words if word in SHOWN] == SHOWN


@pytest.mark.parametrize("first", [*SHOWN, "--bogus"])
def test_a_verb_that_is_typed_is_the_only_one_that_is_added(first):
    assert [entry.name for entry in verbs_for(first)] == [first] * (first in SHOWN)


@pytest.mark.parametrize("first", [None, "--help", "rn", "os.path", ""])
def test_all_are_there_where_no_verb_is_typed(first):
    assert {entry.name for entry in verbs_for(first)} >= set(SHOWN)


def test_a_verb_imports_nothing_of_the_others_and_help_imports_nothing_heavy():
    code = """
import sys
from studies.cli.verb import verbs_for
verbs_for("doctor")
assert [name for name in sys.modules if name.startswith("studies.cli.verbs.")] == ["studies.cli.verbs.doctor"]
assert "importlib.metadata" not in sys.modules, "entry points are looked up"
verbs_for("--help")
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
    result = python(code)
    assert result.returncode == 0, result.stderr
    imported = result.stdout.split()
    assert "typer" in imported
    assert [name for name in HEAVY if name in imported] == []


def test_a_verb_of_another_distribution_is_found(distribution):
    folder = distribution("doubling", verb_called("double"))
    assert "Double a number." in attnflow(folder, "--help").stdout
    for number, code in ((4, 0), (10, 1)):
        result = attnflow(folder, "double", str(number), "--json")
        assert (result.returncode, result.stdout) == (code, f'{{\n  "double": {2 * number}\n}}\n'), result.stderr
    wrong = attnflow(folder, "doubel", "4")
    assert (wrong.returncode, wrong.stderr) == (2, "No such command 'doubel'. Did you mean 'double'?; see --help\n")


def test_one_that_takes_the_name_of_another_is_left_out_by_both_names(distribution):
    result = attnflow(distribution("doubling", verb_called("sweep")), "--help")
    assert result.returncode == 0
    assert result.stderr == (
        "plug-in doubling (doubling) does not load and is left out: "
        "verb 'sweep' is registered by both studies.cli.verbs.sweep and doubling\n"
    )


def test_one_that_does_not_load_is_named_and_stops_no_other_verb(distribution):
    folder = distribution("broken", "import no_such_module")
    result = attnflow(folder, "--help")
    assert result.returncode == 0
    assert result.stderr == "plug-in broken (broken) does not load and is left out: No module named 'no_such_module'\n"
    assert attnflow(folder, "report", "--help").returncode == 0
