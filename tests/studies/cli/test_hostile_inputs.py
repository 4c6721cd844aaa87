"""Whatever is handed to the command line, it ends with a promised exit code, a word, and no file elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HANG_S = 3600
"""A batch that takes longer hangs, whatever the machine: each of its inputs is ended by its processor time before."""
BATCH = 100


def run_batch(seed, first, folder):
    """A batch of inputs in a process of its own; its output."""
    homes = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(ROOT)}
    for name in ("home", "tmp"):
        (folder / name).mkdir(parents=True)
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    words = [sys.executable, str(Path(__file__).with_name("hostile.py")), seed, first, first + BATCH, folder / "root"]
    return subprocess.run(
        list(map(str, words)),
        env=os.environ | homes | {"XDG_CACHE_HOME": cache, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=HANG_S,
        check=False,
    )


def judge(done):
    """Fail with the inputs that ended badly, the last one if it took the process with it."""
    lines = done.stdout.splitlines()
    wrong = done.stdout[done.stdout.index("WRONG ") :] if "WRONG " in done.stdout else ""
    assert lines and lines[-1].startswith("END "), f"exit code {done.returncode} in {lines[-1:]}: {done.stderr[-3000:]}"
    assert not wrong, wrong
    numbered = [line for line in lines if re.match(r"\d+ \[", line)]  # tables have lines with numbers, too
    assert len(numbered) == BATCH


@pytest.mark.parametrize("first", range(0, 500, BATCH))
def test_five_hundred_hostile_inputs(tmp_path, first):
    judge(run_batch(1, first, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 5000, BATCH))
def test_five_thousand_hostile_inputs(tmp_path, first):
    judge(run_batch(os.environ.get("HOSTILE_SEED", "2"), first, tmp_path))
