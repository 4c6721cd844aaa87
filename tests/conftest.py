"""What all tests share: rows as a store yields them, made up, so that reports are tested without simulating."""

from __future__ import annotations

import dataclasses
import json
import signal

import pytest
from hypothesis import HealthCheck, settings

from algorithms.workload.shape import Workload
from studies.cli import waiting
from studies.families.graph.evaluation import GraphDetail
from studies.points.outcome import Outcome, Row
from studies.points.point import DesignPoint
from studies.store.store import Store

# what a shell runs in the background inherits that Ctrl-C is ignored: tests of it, and what they start, are to see it
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

HEAD = Workload(name="head", phase="prefill", heads=1, kv_heads=1, q_len=8, kv_len=8, head_dim=4, mask="full")
# how long a command has been running is said of slow ones alone: what tests compare is not to depend on that
waiting.SILENT_S = waiting.LINE_EVERY_S = 1e9
# no example fails because a machine is slow
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
PROVENANCE = {
    "commit": "0123456789abcdef",
    "dirty_sha256": None,
    "configuration": {"name": "made-up", "title": "A made-up study"},
    "versions": {"attnflow": "0.1.0", "numpy": "2.1.0"},
    "python": "3.11.7",
    "host": "host",
    "platform": "Linux",
    "cpus": 2,
    "time_utc": "2026-01-02T03:04:05+00:00",
}


def detail_of(point, cycles, depth, *, unit="qk", fifo="qk->exp", lints=(), deadlock=False):
    """Two units and the FIFO between them; with a deadlock both wait for each other."""
    stalled = cycles // 4
    idle = min(2, cycles - stalled)
    wait = {"unit": unit, "waits_for": "exp", "channel": fifo, "reason": "space", "occupancy": depth, "depth": depth}
    back = {"unit": "exp", "waits_for": unit, "channel": fifo, "reason": "data", "occupancy": 0, "depth": depth}
    told = {
        "graph": "made up",
        "engine": "compiled",
        "cycles": cycles,
        "clock_hz": 1e9,
        "firings": 2,
        "wall_s": 0.1,
        "compile_s": 0.0,
        "schedule_digest": "00",
        "skipped": {"jumps": 0, "firings": 0, "note": "skipping is off"},
        "servers": [],
        "error": None,
        "memory_bounds": None,
        "units": [
            {"name": unit, "kind": "zip", "firings": 1, "busy_cycles": cycles, "stalled_cycles": {}, "idle_cycles": 0},
            {
                "name": "exp",
                "kind": "map",
                "firings": 1,
                "busy_cycles": cycles - stalled - idle,
                "stalled_cycles": {f"input {fifo}": stalled},
                "idle_cycles": idle,
            },
        ],
        "channels": [
            {
                "name": fifo,
                "producer": unit,
                "consumer": "exp",
                "depth": depth,
                "peak_occupancy": depth - 1,
                "tokens": 64,
                "bytes": 512,
                "capacity_bytes": 8 * depth,
            }
        ],
        "deadlock": {
            "cycle": 5,
            "waits": [wait, back],
            "blocked": [unit, "exp"],
            "smallest_depth": {fifo: depth + 1},
        }
        if deadlock
        else None,
        "lints": list(lints),
    }
    return GraphDetail.from_json(point, told)


def stored_row(
    position=0,
    *,
    cycles=1000,
    depth=4,
    parameters=(),
    workload=HEAD,
    algorithm="sdpa.naive",
    status="done",
    deadlock=False,
    error=None,
    rel_l2=1e-16,
    study="made-up",
    names=None,
):
    """One row; `names` go to the units, FIFOs and lints of its detail."""
    point = DesignPoint(algorithm, workload, tuple(sorted({"fifo_depth": depth, **dict(parameters)}.items())))
    metrics = {
        "cycles": cycles,
        "seconds": cycles / 1e9,
        "deadlock": deadlock,
        "fifo.capacity_bytes": 8 * depth,
        "error.rel_l2": None if deadlock else rel_l2,
        "schedule_digest": "00",
    }
    done = status == "done"
    outcome = Outcome(
        key=point.key,
        status=status,
        metrics=metrics if done else {},
        detail=detail_of(point, cycles, depth, deadlock=deadlock, **(names or {})) if done else None,
        error=error,
        wall_s=0.5 if done else 0.0,
    )
    time_utc = None if status == "pending" else "2026-01-02T03:04:05.000+00:00"
    return Row(study, position, point, outcome, 1, time_utc, PROVENANCE if time_utc else {})


@pytest.fixture(scope="session")
def make_row():
    """Function that makes up one row of a store."""
    return stored_row


def comparable_rows(path):
    """Everything that is stored about points, but for times and where they were computed."""
    with Store(path) as store:
        found = list(store.rows())
    plain = []
    for row in found:
        detail = row.outcome.detail
        outcome = dataclasses.asdict(dataclasses.replace(row.outcome, detail=None))
        outcome["detail"] = detail.to_json() if detail else {}
        for part in (outcome, outcome["metrics"], outcome["detail"], outcome["detail"].get("metrics") or {}):
            for name in ("wall_s", "compile_s"):
                part.pop(name, None)
        plain.append(json.dumps([row.study, row.position, row.point.canonical, outcome, row.attempt], sort_keys=True))
    return plain


@pytest.fixture(scope="session")
def rows():
    """Function that reads a store as texts that are equal when two runs came to the same."""
    return comparable_rows
