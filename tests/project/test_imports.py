"""Who may import whom and what: the contracts hold, they can fail, and each package starts with its own needs alone."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TIMEOUT_S = 300
LINT = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"


def run_python(code, folder, **variables):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.fspath(folder), **variables},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


# --- contracts of import-linter ---------------------------------------------------------------------------------------


@pytest.fixture
def copy(root, packages, tmp_path):
    """The sources, free to be changed."""
    pytest.importorskip("importlinter", reason="import-linter is in the extra 'dev'")
    for package in packages:
        ignored = shutil.ignore_patterns("__pycache__", "*.npz", "*.html")
        shutil.copytree(root / package, tmp_path / package, ignore=ignored)
    for name in ("pyproject.toml", "attnflow.py"):
        shutil.copy(root / name, tmp_path)
    return tmp_path


def test_contracts_hold(copy):
    result = run_python(LINT, copy)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("simulator/errors.py", "import hwmodels.reading.errors"),
        ("simulator/errors.py", "import pydantic"),
        ("simulator/errors.py", "import algorithms.registry"),
        ("hwmodels/reading/errors.py", "import pandas"),
        ("hwmodels/reading/errors.py", "import simulator"),
        ("algorithms/registry.py", "import reference.truth.oracle"),
        ("algorithms/registry.py", "import studies.study.text"),
        ("reference/truth/oracle.py", "def late():\n    import algorithms"),
        ("studies/points/point.py", "def late():\n    import studies.families.family"),
        ("studies/store/store.py", "if TYPE_CHECKING:\n    from studies.report.points import Points"),
        ("studies/words.py", "import studies.points.point"),
        ("algorithms/kv/policy.py", "import algorithms.chip.algorithm"),
        ("studies/api.py", "import attnflow"),
    ],
)
def test_contracts_notice(copy, module, line):
    path = copy / module
    path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    result = run_python(LINT, copy)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout


# --- what each package needs ------------------------------------------------------------------------------------------

NEEDS = {
    "simulator": ("numpy", "numba", "simpy"),
    "hwmodels": ("numpy", "numba", "pydantic", "pyyaml"),
    "reference": ("numpy",),
    "algorithms": ("numpy", "numba", "simpy", "pydantic", "pyyaml"),
}
"""Distributions per package; `studies` may use all that a core installation brings."""

IMPORT_ALL = """
import importlib, importlib.abc, json, os, pkgutil, sys

absent = set(json.loads(os.environ["ABSENT"]))

class Absent(importlib.abc.MetaPathFinder):
    # as if they were not installed
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
package = importlib.import_module(os.environ["PACKAGE"])
modules = [package.__name__]
def fail(name):
    raise
for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".", onerror=fail):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
        modules.append(module.name)
print(json.dumps(modules))
"""


def modules_beyond(names):
    """Import names of all that is installed here except the distributions `names` and what they need."""
    closure, waiting = set(), [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in closure:
            continue
        closure.add(name)
        for text in importlib.metadata.requires(name) or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
    found = importlib.metadata.packages_distributions().items()
    return {module for module, owners in found if not closure & {canonicalize_name(owner) for owner in owners}}


@pytest.mark.parametrize("package", ["simulator", "hwmodels", "reference", "algorithms", "studies"])
def test_package_starts_with_only_what_it_needs(package, root, project, packages):
    core = [Requirement(text).name for text in project["project"]["dependencies"]]
    absent = {*modules_beyond(NEEDS.get(package, core)), "torch", "cupy"} - set(packages)
    assert {"pytest", "hypothesis"} <= absent
    result = run_python(IMPORT_ALL, root, ABSENT=json.dumps(sorted(absent)), PACKAGE=package)
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)) > 3
