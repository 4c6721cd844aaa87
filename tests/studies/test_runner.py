import os
import signal
import time

import pytest

from algorithms.shape import Workload
from studies.runner import InlineExecutor, open_processes, run_points
from studies.space import DesignPoint
from studies.store import Outcome

HEAD = Workload(name="h", phase="prefill", heads=1, kv_heads=1, q_len=8, kv_len=8, head_dim=4)


def points(count):
    return [DesignPoint("any", HEAD.with_(seed=i), ()) for i in range(count)]


def square(point):
    return Outcome(point.key, "done", {"square": point.workload.seed**2, "process": os.getpid()}, {})


def die_on_seven(point):
    if point.workload.seed == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return square(point)


def raise_on_odd(point):
    if point.workload.seed % 2:
        raise RuntimeError("odd")
    return square(point)


def return_what_cannot_travel(point):
    return Outcome(point.key, "done", {"square": lambda: None}, {})


def collect(count, evaluate, **options):
    recorded = []
    run_points(points(count), evaluate, recorded.extend, **options)
    return {outcome.key: outcome for outcome in recorded}, recorded


@pytest.mark.parametrize("open_executor", [open_processes, lambda workers: InlineExecutor()])
def test_every_point_is_evaluated_once(open_executor):
    by_key, recorded = collect(40, square, workers=2, open_executor=open_executor)
    assert len(recorded) == 40
    for point in points(40):
        assert by_key[point.key].metrics["square"] == point.workload.seed**2


def test_processes_are_used_when_asked_for():
    _, recorded = collect(12, square, workers=2)
    assert os.getpid() not in {outcome.metrics["process"] for outcome in recorded}


def test_only_the_point_that_kills_its_worker_gets_the_blame():
    by_key, recorded = collect(20, die_on_seven, workers=2)
    assert len(recorded) == 20
    failed = [point.workload.seed for point in points(20) if by_key[point.key].status == "failed"]
    assert failed == [7]
    assert "worker process died" in by_key[points(20)[7].key].error


def test_an_evaluation_that_raises_after_all_is_still_an_outcome():
    by_key, _ = collect(6, raise_on_odd, workers=1, open_executor=lambda workers: InlineExecutor())
    errors = [by_key[point.key].error for point in points(6)]
    assert errors == [None, "RuntimeError: odd"] * 3


def test_a_result_that_cannot_travel_is_an_outcome_with_its_reason():
    _, recorded = collect(2, return_what_cannot_travel, workers=1)
    assert len(recorded) == 2
    assert all("pickle" in outcome.error for outcome in recorded)


def test_an_interrupt_stops_at_once_and_keeps_what_was_recorded():
    recorded = []

    def record(outcomes):
        recorded.extend(outcomes)
        if len(recorded) >= 3:
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_points(points(2000), square_slowly, record, workers=1)
    assert time.monotonic() - started < 10
    assert 3 <= len(recorded) < 2000


def square_slowly(point):
    time.sleep(0.05)
    return square(point)


def test_thread_settings_are_put_back(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    by_key, _ = collect(1, report_threads, workers=1)
    assert by_key[points(1)[0].key].metrics == {"omp": "1", "numba": "2"}
    assert "OMP_NUM_THREADS" not in os.environ


def report_threads(point):
    return Outcome(
        point.key,
        "done",
        {"omp": os.environ["OMP_NUM_THREADS"], "numba": os.environ["NUMBA_NUM_THREADS"]},
        {},
    )
