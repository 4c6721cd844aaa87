"""A sweep of many quick points in worker processes, for a test to kill: STORE LOG POINTS.

Every evaluation adds its seed to the log, so that the test can count how often each point was evaluated. While there is
a file LOG.hold, the last tenth of the points waits: a sweep is not over before a slow machine has killed it.
"""

import os
import sys
import time
from pathlib import Path

from algorithms.workload.shape import Workload
from studies.api import Study
from studies.points.outcome import Outcome
from studies.points.point import DesignPoint
from studies.search.sweep import run_sweep

HEAD = Workload(name="h", phase="prefill", heads=1, kv_heads=1, q_len=8, kv_len=8, head_dim=4)


def evaluate(point):
    log = Path(os.environ["SWEEP_LOG"])
    while log.with_suffix(".hold").exists() and point.workload.seed >= int(os.environ["SWEEP_HELD"]):
        time.sleep(0.01)
    time.sleep(0.004)
    with log.open("a") as lines:
        lines.write(f"{point.workload.seed}\n")
    if point.workload.seed % 100 == 50:
        return Outcome(point.key, "failed", {}, None, "fifty is not supported")
    return Outcome(point.key, "done", {"square": point.workload.seed**2})


def main(store, log, count):
    os.environ["SWEEP_LOG"], os.environ["SWEEP_HELD"] = log, str(int(count) * 9 // 10)
    points = tuple(DesignPoint("any", HEAD.with_(seed=i), ()) for i in range(int(count)))
    summary = run_sweep(Study.of("kill", points), store, workers=2, quiet=True, evaluate=evaluate)
    sys.stdout.write(f"{summary.evaluated} {summary.skipped} {summary.done} {summary.failed}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
