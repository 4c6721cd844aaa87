"""The commands of the Makefile, as far as they can be tried without installing anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
TIMEOUT_S = 600


def make(folder, *arguments):
    # a make that runs these tests hands its own flags down, which must not reach the one under test
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    environment = {name: value for name, value in environment.items() if name not in ("PYTHON", "PYTEST", "WORKERS")}
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture
def clone(root, tmp_path):
    """A folder, with a space in its name, that has what installing reads."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(root / name, folder)
    return folder


@pytest.fixture
def fake_python(tmp_path):
    """A Python that is new enough, makes environments without pip, and writes down what it is asked to do."""
    script = tmp_path / "python"
    log = tmp_path / "log"
    script.write_text(
        f"""#!/bin/sh
echo "$@" >> "{log}"
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "--version") echo Python 3.99 ;;
esac
"""
    )
    script.chmod(0o755)
    return script, log


@pytest.mark.parametrize("target", ["demo", "test", "quick", "lint", "bench", "docs", "test-reference"])
def test_target_starts_by_installing_with_the_constraints(clone, target):
    result = make(clone, "--dry-run", target)
    assert result.returncode == 0, result.stderr
    (extras,) = re.findall(r"-m pip .*?install -c constraints\.txt [^']*--editable '\.(.*?)'", result.stdout)
    expected = {"demo": "", "bench": "", "docs": "[docs]", "test-reference": "[torch,nvrtc,dev]"}
    assert extras == expected.get(target, "[dev]")


def test_no_python_that_is_new_enough_is_said_plainly(clone):
    result = make(clone, "demo", "PYTHON=false no-such-python")
    assert result.returncode != 0
    assert "attnflow needs Python 3.11 or newer; none of these is: false no-such-python" in result.stderr
    assert not (clone / ".venv").exists()


def test_the_first_python_that_is_new_enough_is_taken(clone, fake_python):
    script, log = fake_python
    result = make(clone, ".venv/bin/python", f"PYTHON=false {script} no-such-python")
    assert result.returncode == 0, result.stderr
    assert "making .venv with Python 3.99" in result.stdout
    assert "-m venv .venv" in log.read_text()


def test_making_an_environment_says_every_few_seconds_that_it_works(clone, fake_python):
    script, _ = fake_python
    script.write_text(script.read_text().replace('"-m venv "*) ', '"-m venv "*) sleep 7; '))
    result = make(clone, ".venv/bin/python", f"PYTHON={script}")
    assert result.returncode == 0, result.stderr
    assert "making .venv with Python 3.99\n..\n" in result.stdout


def test_an_environment_that_fails_is_taken_away_and_ends_the_call(clone, fake_python):
    script, _ = fake_python
    script.write_text(script.read_text().replace('"-m venv "*) ', '"-m venv "*) mkdir "$3"; exit 3; '))
    result = make(clone, ".venv/installed-core", f"PYTHON={script}")
    assert result.returncode == 2
    assert not (clone / ".venv").exists()


def test_installs_once_and_again_when_the_pins_change(clone, fake_python):
    script, log = fake_python
    for expected in (True, False):
        log.unlink(missing_ok=True)
        result = make(clone, ".venv/installed-dev", f"PYTHON={script}")
        assert result.returncode == 0, result.stderr
        assert (log.exists() and "--editable .[dev]" in log.read_text()) == expected
    assert make(clone, "--question", ".venv/installed-core").returncode == 0, "the extras bring the core"
    later = (clone / ".venv" / "installed-dev").stat().st_mtime + 5
    os.utime(clone / "constraints.txt", (later, later))
    assert make(clone, "--question", ".venv/installed-dev").returncode == 1


def test_clean_leaves_what_it_did_not_make(clone):
    kept = clone / "studies" / "configs"
    kept.mkdir(parents=True)
    for made in (".venv/bin", "out", "studies/__pycache__"):
        (clone / made).mkdir(parents=True)
    assert make(clone, "clean").returncode == 0
    assert sorted(path.name for path in clone.iterdir()) == ["Makefile", "constraints.txt", "pyproject.toml", "studies"]
    assert [path.name for path in kept.parent.iterdir()] == ["configs"]


@pytest.fixture
def changed_tests(root):
    """The program that `make quick` asks what to run."""
    loader = SourceFileLoader("changed_tests", os.fspath(root / ".ci" / "changed_tests"))
    module = module_from_spec(spec_from_loader("changed_tests", loader))
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("studies/store/store.py", "tests/studies/store/test_store.py"),
        ("studies/report/sections/area.py", "tests/studies/report/test_report_page.py"),
        ("studies/api.py", "tests/studies/test_python_interface.py"),
        ("tests/project/test_wheel.py", "tests/project/test_wheel.py"),
        ("README.md", "tests/project/test_readme.py"),
    ],
)
def test_quick_runs_the_tests_of_what_changed(changed_tests, root, path, expected):
    tests = changed_tests.chosen([path])
    assert expected in tests
    assert tests[:2] == ["tests/conformance", "tests/project/test_rooms.py"]
    assert all((root / test).exists() for test in tests) and len(tests) < 20


@pytest.mark.parametrize("path", ["LICENSE", "studies/py.typed", "tests/studies/test_that_is_gone.py"])
def test_quick_runs_nothing_more_for_what_has_no_tests(changed_tests, path):
    assert len(changed_tests.chosen([path])) == 2


def test_quick_sees_files_that_git_does_not_know_yet(changed_tests, tmp_path, monkeypatch):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    for arguments in (["init", "-q", "-b", "main"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        identity = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", "-C", os.fspath(tmp_path), *identity, *arguments], check=True, timeout=TIMEOUT_S)
    (tmp_path / "new.py").touch()
    monkeypatch.setattr(changed_tests, "ROOT", tmp_path)
    assert changed_tests.changed() == ["new.py"]
