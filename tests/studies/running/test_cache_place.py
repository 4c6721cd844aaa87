"""Compiled code is kept where this user alone can write, and a command runs where that is nowhere usual."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from studies.cli import main
from studies.running import cache_place
from studies.running.cache_place import VARIABLE, settle_cache

ROOT = Path(__file__).parents[3]


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A temporary folder of its own, and no choice made yet."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(cache_place.tempfile, "gettempdir", lambda: str(folder))
    monkeypatch.setattr(cache_place.tempfile, "tempdir", str(folder))
    monkeypatch.setenv(VARIABLE, "to be put back")
    monkeypatch.delenv(VARIABLE)
    return folder


def nowhere(tmp_path):
    """A folder that cannot be made, whoever tries: its parent is a file."""
    (tmp_path / "file").touch()
    return str(tmp_path / "file" / "folder")


def test_a_usual_place_that_works_is_left_alone(temporary, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    settle_cache()
    assert VARIABLE not in os.environ
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    settle_cache()
    assert os.environ[VARIABLE] == str(tmp_path / "mine")


def test_without_a_home_the_place_is_private_and_the_same_every_time(temporary, tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", nowhere(tmp_path))
    settle_cache()
    (folder,) = temporary.iterdir()
    assert os.environ.pop(VARIABLE) == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    settle_cache()
    assert os.environ[VARIABLE] == str(folder)


def test_a_folder_that_others_can_write_is_not_trusted(temporary, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", nowhere(tmp_path))
    planted = temporary / f"attnflow-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    settle_cache()
    assert os.environ[VARIABLE] != str(planted)
    assert Path(os.environ[VARIABLE]).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", VARIABLE])
def test_a_cache_that_others_could_have_filled_is_not_used_and_that_is_told(
    temporary, tmp_path, monkeypatch, capsys, variable
):
    planted = tmp_path / "cache" / "attnflow"
    planted.mkdir(parents=True)
    planted.chmod(0o777)
    monkeypatch.setenv(variable, str(planted.parent))
    settle_cache()
    assert Path(os.environ[VARIABLE]).parent == temporary
    told = capsys.readouterr().err
    assert f"{planted} is not this user's alone" in told
    assert told.count("\n") == 1


def test_a_place_that_was_asked_for_and_does_not_work_is_told(tmp_path):
    place = nowhere(tmp_path)
    command = [sys.executable, "-m", "studies", "list", "algorithms", "--json"]
    environment = os.environ | {VARIABLE: place, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"compiled code cannot be kept in {place} ({VARIABLE}); it goes to {tmp_path}")


def test_a_full_disk_is_one_line(monkeypatch, capsys):
    def full(arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("studies.cli.app.run_command_line", full)
    assert main(["list"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("No space left on device; make room and repeat the command") and told.count("\n") == 1
