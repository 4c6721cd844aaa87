"""The night goes on after a failure, says at its end what failed, and its exit code tells of it."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

STUB = '#!/bin/sh\necho "$0" "$@" "$HOSTILE_SEED" >> "$LOG"\ncase "$*" in *"$FAILS"*) exit 3 ;; esac\n'


@pytest.fixture
def night(root, tmp_path):
    """Function that runs the night with steps that do nothing, and fail where their words have some text."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    (tmp_path / ".ci").mkdir()
    shutil.copy(root / ".ci" / "nightly", tmp_path / ".ci")
    for place in ("bin/make", ".venv/bin/python", ".venv-audit/bin/pip-audit"):
        program = tmp_path / place
        program.parent.mkdir(parents=True)
        program.write_text(STUB)
        program.chmod(0o755)

    def run(fails):
        known = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "LOG": str(tmp_path / "log")}
        done = subprocess.run(
            ["bash", str(tmp_path / ".ci" / "nightly")],
            env=os.environ | known | {"FAILS": fails, "NIGHT": "334"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return done, (tmp_path / "log").read_text().splitlines()

    return run


def test_every_room_of_mutants_has_its_turn_with_the_seed_of_the_night(night, root):
    done, ran = night("nothing of this kind")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("night 334: all of it held")
    assert ran[0].endswith("make test PYTEST=-m slow 334")
    rooms = [line.split("--room ")[1].split()[0] for line in ran if "--room" in line]
    listed = (root / ".ci" / "mutate").read_text(encoding="utf-8")
    assert len(rooms) >= 6 and all(f'    "{room}": Room(' in listed for room in rooms)
    assert listed.count(": Room(") == len(rooms)
    assert all("--seed 334" in line for line in ran if "--room" in line)
    assert "pip-audit" in ran[-1]


@pytest.mark.parametrize(("fails", "named"), [("PYTEST", "slow tests"), ("dram", "mutants of dram"), ("audit", "")])
def test_what_failed_is_named_at_the_end_and_the_rest_ran(night, fails, named):
    done, ran = night("--requirement" if fails == "audit" else fails)
    assert done.returncode == 1
    told = done.stdout.split("night 334 failed after ")[1].splitlines()[1:]
    assert told == [f"  {named or 'known holes of what is installed'}"]
    assert "pip-audit" in ran[-1]
