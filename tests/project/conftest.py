"""The project as a whole: what a clone, an installation and a reader get."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GIT_TIMEOUT_S = 600


@pytest.fixture(scope="session")
def root():
    """Top folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def project():
    """`pyproject.toml`."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def packages(project):
    """Names of the packages that are shipped."""
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    return tuple(name for name in shipped if not name.endswith(".py"))


@pytest.fixture(scope="session")
def tracked_files():
    """Files under version control, as paths relative to the top."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to the project is unknown")
    command = ["git", "-C", os.fspath(ROOT), "ls-files", "-z"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=True).stdout
    # a file that is deleted and not yet committed is no part of the project any more
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]
