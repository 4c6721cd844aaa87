"""Benchmarks of the command line: how long people wait for it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from studies.benchmarks.register import Figures, benchmark

REPEATS = 3
ROOT = Path(__file__).parents[2]
WINDOW = "trace sdpa.memory_free --seq-len 1048576 --head-dim 128 --window 0:50000 -o trace.json.gz"


@benchmark("start", "the command line: --help, and a trace of a window of 1.1e12 scores", help_s=1, trace_s=2)
def start() -> Figures:
    """The best of several processes each, what is compiled in the cache."""
    return {"help_s": _best(["--help"]), "trace_s": _best(WINDOW.split())}


def _best(arguments: list[str]) -> float:
    """Shortest wall time of a command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    best = float("inf")
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(REPEATS):
            begin = time.perf_counter()
            command = [sys.executable, "-m", "studies", *arguments]
            subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
            best = min(best, time.perf_counter() - begin)
    return best
