"""The module `attnflow`: one name for people, free until it is used; it names the folders that hide the packages."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys

import pytest

import attnflow
from hwmodels.reading.errors import InputError
from studies.cli import main

TIMEOUT_S = 600
NAMES = [name for name in dir(attnflow) if name != "__version__"]


def python(code, folder, *paths):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_importing_it_imports_nothing_else(root, tmp_path):
    code = (
        "import sys; before = set(sys.modules); import attnflow; dir(attnflow);"
        "print(*sorted(set(sys.modules) - before - {'attnflow'}))"
    )
    result = python(code, tmp_path, root)
    assert result.returncode == 0, result.stderr
    imported = result.stdout.split()
    assert len(imported) <= 12, imported
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


def test_no_package_imports_it(root, packages):
    importing = re.compile(r"^\s*(?:from|import) attnflow\b", re.MULTILINE)
    assert importing.search("import attnflow\n")
    sources = [path for package in packages for path in (root / package).rglob("*.py") if "notebooks" not in path.parts]
    assert len(sources) > 400
    assert [path for path in sources if importing.search(path.read_text(encoding="utf-8"))] == []


def test_has_about_twenty_five_names():
    assert 20 <= len(NAMES) <= 35
    assert {"run", "Study", "simulate", "Graph", "load_chip", "chips", "policies", "kv_policy", "metric"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_has_a_docstring(name):
    found = getattr(attnflow, name)
    assert (found.__doc__ or "").strip()
    assert getattr(attnflow, name) is found


def test_editors_are_told_the_same_as_python(root):
    tree = ast.parse((root / "attnflow.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    renamed = {node.targets[0].id: node.value.id for node in block.body if isinstance(node, ast.Assign)}
    told = {
        *((name, *home) for name, home in imported.items() if name not in renamed.values()),
        *((name, *imported[own]) for name, own in renamed.items()),
    }
    homes = {(name, *home.split(":")) for name, home in attnflow._HOMES.items()}
    assert told == homes


def test_an_unknown_name_comes_with_the_nearest():
    with pytest.raises(AttributeError, match=r"^attnflow has no 'laod_chip'; did you mean 'load_chip'\?$"):
        attnflow.laod_chip  # noqa: B018 - asking for it is what is tested
    with pytest.raises(AttributeError, match=r"^attnflow has no 'xyzzy'$"):
        attnflow.xyzzy  # noqa: B018


def test_has_the_version_of_the_distribution(project):
    assert attnflow.__version__ == project["project"]["version"]


# --- designs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "typed"),
    [
        (
            {"algorithm": "sdpa.naive", "seq_len": 16, "head_dim": 4, "exp_cycles": 2, "causal": True},
            "sdpa.naive --seq-len 16 --head-dim 4 --set exp_cycles=2 --causal",
        ),
        (
            {"algorithm": "flash.q_outer", "chip": "h100", "workload": "llama3-8b", "seq_len": 256}
            | {"timing_only": True, "chip.hbm.bytes_per_second": "4.8 TB/s"},
            "flash.q_outer --chip h100 --workload llama3-8b --set seq_len=256 --timing-only "
            "--set chip.hbm.bytes_per_second='4.8 TB/s'",
        ),
        (
            {"algorithm": "decode.policy", "policy": "window(tokens=64)", "chip": "a100", "workload": "llama3-8b"}
            | {"context": 256, "timing_only": True},
            "decode.policy --set policy=window(tokens=64) --chip a100 --workload llama3-8b --context 256 --timing-only",
        ),
    ],
)
def test_a_design_is_the_one_of_the_command_line(capsys, given, typed):
    rest = {name: value for name, value in given.items() if name != "algorithm"}
    point = attnflow.design(given["algorithm"], **rest)
    assert main(["run", *shlex.split(typed), "--json", "--quiet"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["key"] == point.key
    found = attnflow.run(given["algorithm"], **rest)
    assert found.point == point
    assert found._repr_html_().startswith(f"<pre>{point.algorithm} on ")


def test_arguments_that_are_wrong_are_all_named_as_arguments():
    with pytest.raises(InputError) as caught:
        attnflow.run("sdpa.naive", seq_len=0, exp_cylces=2, head_dim=4)
    assert str(caught.value).splitlines() == [
        "seq_len: must be at least 1 (got 0)",
        "exp_cylces: unknown parameter of sdpa.naive; did you mean 'exp_cycles'?",
    ]
    assert attnflow.InputError is InputError


# --- folders that hide the packages -----------------------------------------------------------------------------------

USE = "import attnflow; print(len(attnflow.workloads()) > 3)"


@pytest.fixture
def beside(tmp_path):
    """A folder beside which somebody's script or notebook lies, with something of theirs in it."""

    def make(name, text=""):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("theirs", "package", "named"),
    [
        ("algorithms/__init__.py", "algorithms", "algorithms"),
        ("simulator.py", "simulator", "simulator.py"),
        ("studies/__init__.py", "studies", "studies"),
    ],
)
def test_a_folder_that_hides_a_package_is_named_with_what_to_do(root, beside, theirs, package, named):
    folder = beside(theirs, "raise SystemExit('theirs is not to be run')")
    result = python(USE, folder, folder, root)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"ImportError: {folder / named} hides the package {package!r} of attnflow: "
        "rename it, or start Python in another folder"
    )


def test_folders_that_hide_nothing_are_left_alone(root, beside):
    folder = beside("algorithms/notes.txt")  # no __init__.py: Python prefers the package
    result = python(USE, folder, folder, root)
    assert (result.returncode, result.stdout) == (0, "True\n"), result.stderr


def test_an_installation_without_a_package_says_so(root, tmp_path):
    (tmp_path / "attnflow.py").write_bytes((root / "attnflow.py").read_bytes())
    without_site = [sys.executable, "-S", "-c", USE]
    result = subprocess.run(
        without_site, cwd=tmp_path, env={}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert result.stderr.splitlines()[-1] == (
        f"ImportError: attnflow is not complete: {tmp_path} has no 'simulator'; install it again"
    )
