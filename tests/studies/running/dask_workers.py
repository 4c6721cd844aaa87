"""Evaluations for workers of a cluster; one of them dies once, in the middle of its work."""

import os
import signal
from pathlib import Path

from studies.points.outcome import Outcome


def attempt_and_die_once(point):
    from studies.families.attempt import attempt

    marker = Path(os.environ["DIE_ONCE"])
    if dict(point.parameters)["long_depth"] == 34 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return attempt(point)


def die_always(point):
    if point.workload.seed == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome(point.key, "done", {"square": point.workload.seed**2})
