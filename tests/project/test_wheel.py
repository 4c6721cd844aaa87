"""The wheel holds every file of the packages, and what is installed from it runs far from a checkout."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
import zipfile

import pytest

TIMEOUT_S = 300


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    pytest.importorskip("hatchling", reason="hatchling, which builds wheels, is in the extra 'dev'")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", os.fspath(folder)]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_holds_every_file_of_the_packages(wheel, packages, tracked_files):
    expected = {path.as_posix() for path in tracked_files if path.parts[0] in (*packages, "attnflow.py")}
    assert {name.rsplit(".", 1)[-1] for name in expected} >= {"py", "yaml", "npz", "cu", "typed"}
    assert "attnflow.py" in expected
    assert sorted(expected - set(wheel.namelist())) == []


@pytest.mark.parametrize(
    "folder",
    [
        "algorithms/chip/plan/served_profiles",
        "algorithms/chip/layers/served_products",
        "algorithms/state/served_states",
        "studies/validate/measured",
    ],
)
def test_holds_the_data_of_measured_kernels(wheel, root, folder):
    files = {path.relative_to(root).as_posix() for path in (root / folder).glob("*.yaml")}
    assert files
    assert sorted(files - set(wheel.namelist())) == []


def test_holds_nothing_else(wheel, packages):
    tops = {name.split("/")[0] for name in wheel.namelist()}
    (info,) = tops - {*packages, "attnflow.py"}
    assert info.startswith("attnflow-") and info.endswith(".dist-info")
    assert not [name for name in wheel.namelist() if name.endswith((".pyc", ".nbi", ".nbc", ".sqlite"))]
    assert f"{info}/licenses/LICENSE" in wheel.namelist()


def test_has_the_command(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    points = configparser.ConfigParser()
    points.read_string(wheel.read(name).decode())
    assert dict(points["console_scripts"]) == {"attnflow": "studies.cli:entry"}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel, unpacked as an installation would."""
    folder = tmp_path_factory.mktemp("site")
    wheel.extractall(folder)
    return folder


def run_command(installed, *arguments):
    """JSON that a command of the unpacked wheel prints, from a folder that has nothing of a checkout."""
    code = (
        "import os, sys, simulator, studies.cli;"
        "assert simulator.__file__.startswith(os.environ['PYTHONPATH']);"
        "sys.exit(studies.cli.main(sys.argv[1:]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--json"],
        cwd=installed.parent,
        env=os.environ | {"PYTHONPATH": os.fspath(installed)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("kind", "folder"),
    [
        ("workloads", "algorithms/workload/presets"),
        ("chips", "hwmodels/chips/presets"),
        ("tiers", "hwmodels/tiers/presets"),
        ("standards", "hwmodels/standards"),
        ("kernels", "algorithms/chip/plan/profiles"),
    ],
)
def test_finds_its_own_presets(installed, root, kind, folder):
    presets = {path.stem for path in (root / folder).glob("*.yaml")}
    assert {row["name"] for row in run_command(installed, "list", kind)[kind]} == presets


def test_finds_its_own_captures(installed, root):
    captures = {path.stem for path in (root / "reference" / "captures").glob("*.npz")}
    assert {row["name"] for row in run_command(installed, "list", "captures")["captures"]} == captures


def test_simulates(installed):
    small = ("--seq-len", "8", "--head-dim", "4", "--engine", "simpy")  # the other engine would compile first
    document = run_command(installed, "run", "sdpa.memory_free", *small)
    assert document["deadlock"] is None
    assert document["error"]["rel_l2"] <= 1e-12
