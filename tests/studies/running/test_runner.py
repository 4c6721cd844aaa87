import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError
from studies.points.outcome import Outcome
from studies.points.point import DesignPoint
from studies.running import runner
from studies.running.limits import Limits, TimeLimitError
from studies.running.runner import ExecutorLostError, InlineExecutor, Runner, open_inline, open_processes, run_points

HANG_S = 600
"""A test that takes longer hangs, whatever the machine."""
LARGEST_TASK = 64
"""Most points that a worker is given at once."""
HEAD = Workload(name="h", phase="prefill", heads=1, kv_heads=1, q_len=8, kv_len=8, head_dim=4)


def points(count):
    return [DesignPoint("any", HEAD.with_(seed=i), ()) for i in range(count)]


def square(point):
    return Outcome(point.key, "done", {"square": point.workload.seed**2, "process": os.getpid()})


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
    return Outcome(point.key, "done", {"square": lambda: None})


def collect(count, evaluate, **options):
    recorded = []
    run_points(points(count), evaluate, recorded.extend, **options)
    return {outcome.key: outcome for outcome in recorded}, recorded


@pytest.mark.parametrize("open_executor", [open_processes, open_inline])
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
    by_key, _ = collect(6, raise_on_odd, workers=1, open_executor=open_inline)
    errors = [by_key[point.key].error for point in points(6)]
    assert errors == [None, "RuntimeError: odd"] * 3


def test_a_result_that_cannot_travel_is_an_outcome_with_its_reason():
    _, recorded = collect(2, return_what_cannot_travel, workers=1)
    assert len(recorded) == 2
    assert all("pickle" in outcome.error for outcome in recorded)


def test_an_interrupt_stops_at_once_and_keeps_what_was_recorded(tmp_path, monkeypatch):
    recorded = []

    def record(outcomes):
        recorded.extend(outcomes)
        if len(recorded) >= 3:
            raise KeyboardInterrupt

    monkeypatch.setenv("EVALUATIONS", str(tmp_path / "log"))
    with pytest.raises(KeyboardInterrupt):
        run_points(points(2000), square_and_count, record, workers=1)
    evaluated = (tmp_path / "log").read_text().count("\n")
    assert 3 <= len(recorded) <= evaluated <= len(recorded) + 3 * LARGEST_TASK < 2000, "only what was on its way"


def square_and_count(point):
    with Path(os.environ["EVALUATIONS"]).open("a") as log:
        log.write("one\n")
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
    )


def sleep_on_three(point):
    if point.workload.seed == 3:
        time.sleep(600)
    return square(point)


def loop_in_compiled_code_on_three(point):
    if point.workload.seed == 3:
        sum(range(10**13))  # holds the interpreter: no signal handler of Python runs before it ends
    return square(point)


@pytest.mark.parametrize("slow", [sleep_on_three, loop_in_compiled_code_on_three])
def test_a_point_that_takes_too_long_is_a_row_with_that_reason(slow):
    by_key, recorded = collect(8, slow, workers=2, limits=Limits(time_s=2.0))
    assert len(recorded) == 8
    errors = [by_key[point.key].error or "" for point in points(8)]
    assert ["took longer than its time limit of 2 s" in error for error in errors] == [i == 3 for i in range(8)]


def stop_on_three(point):
    """What a disk that is gone, or memory on a slow one, does to a process: it uses nothing, and hears nothing."""
    if point.workload.seed == 3:
        os.kill(os.getpid(), signal.SIGSTOP)
    return square(point)


def test_a_worker_that_uses_no_processor_time_is_ended_by_the_clock(monkeypatch):
    monkeypatch.setattr(runner, "_PATIENCE_S", 1.0)
    monkeypatch.setattr(runner, "_START_S", 30.0)
    by_key, recorded = collect(8, stop_on_three, workers=2, limits=Limits(time_s=1.0))
    assert len(recorded) == 8
    errors = [by_key[point.key].error or "" for point in points(8)]
    assert ["took longer than its time limit of 1 s" in error for error in errors] == [i == 3 for i in range(8)]


def test_a_worker_that_hears_nothing_is_not_waited_for_when_all_is_done(monkeypatch):
    monkeypatch.setattr(runner, "_PATIENCE_S", 1.0)
    pool = Runner(square, workers=2)
    recorded = []
    pool.run(points(8), recorded.extend)
    assert len(recorded) == 8
    stopped = runner._processes_of(pool._executor)[0]
    os.kill(stopped.pid, signal.SIGSTOP)
    closing = threading.Thread(target=pool.__exit__, args=(None, None, None), daemon=True)
    closing.start()
    closing.join(HANG_S / 10)
    ended = not closing.is_alive()
    if not ended:
        stopped.kill()
    assert ended


ORPHANS = """
import os, sys, time
from studies.running.runner import open_processes

def busy():
    sum(range(10**13))  # holds the interpreter

if __name__ == "__main__":
    pool = open_processes(2)
    waiting = pool.submit(os.getpid)
    pool.submit(busy)
    waiting.result()
    print(*pool._processes, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system ends workers on Linux only")
def test_no_worker_outlives_a_parent_that_is_killed(tmp_path):
    (tmp_path / "orphans.py").write_text(ORPHANS)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, str(tmp_path / "orphans.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        workers = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + HANG_S
    while time.monotonic() < deadline and any(map(is_running, workers)):
        time.sleep(0.05)
    assert not any(map(is_running, workers))


def is_running(process):
    """Whether a process is there and is no zombie, which waits for whoever adopts it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def take_memory_on_three(point):
    if point.workload.seed == 3:
        return Outcome(point.key, "done", {"sum": float(np.ones(1 << 28).sum())})
    return Outcome(point.key, "done", {"sum": float(np.ones(1 << 20).sum())})


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is limited on Linux only")
def test_a_point_that_takes_too_much_memory_is_a_row_with_that_reason():
    by_key, _ = collect(5, take_memory_on_three, workers=1, limits=Limits(memory_bytes=64 << 20))
    outcomes = [by_key[point.key] for point in points(5)]
    assert [outcome.status for outcome in outcomes] == ["done"] * 3 + ["failed", "done"]
    assert outcomes[3].error == "needs more memory than its limit of 64 MiB"


@pytest.mark.parametrize(
    ("limit", "design"),
    [
        (["--memory-limit", "16 MB"], "algorithm: sdpa.naive\nengine: simpy\nworkload: {seq_len: 8, head_dim: 4}\n"),
        (["--time-limit", "COLD"], "algorithm: flash.q_outer\nchip: h100\nworkload: {seq_len: 64, head_dim: 64}\n"),
    ],
)
def test_what_a_worker_loads_does_not_count_against_its_first_point(tmp_path, limit, design):
    study = tmp_path / "s.yaml"
    study.write_text(f"name: s\n{design}axes: {{workload.seed: [1, 2]}}\n")
    if limit[-1] == "COLD":  # half of what one point takes with all that a process loads before, here and now
        started = time.monotonic()
        once = ["run", "flash.q_outer", "--chip", "h100", "--seq-len", "64", "--head-dim", "64"]
        subprocess.run([sys.executable, "-m", "studies", *once], capture_output=True, timeout=HANG_S, check=True)
        limit = ["--time-limit", f"{(time.monotonic() - started) / 2} s"]
    command = [sys.executable, "-m", "studies", "sweep", str(study), "--store", str(tmp_path / "s.sqlite"), "--json"]
    command += ["--jobs", "2", *limit]
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert json.loads(result.stdout)["done"] == 2


def test_limits_also_hold_in_threads():
    def nap():
        with pytest.raises(TimeLimitError, match=r"limit of 0\.1 s"), Limits(time_s=0.1).hold():
            while True:
                time.sleep(0.01)
        return True

    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(nap).result(timeout=HANG_S)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is limited on Linux only")
def test_threads_of_a_worker_do_not_mix_up_their_limits():
    """Memory is limited for a process: what one thread may use is not taken away, or left behind, by another."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    by_key, _ = collect(
        12, take_turns_with_memory, workers=4, open_executor=ThreadPoolExecutor, limits=Limits(memory_bytes=64 << 20)
    )
    failed = [i for i, point in enumerate(points(12)) if by_key[point.key].status == "failed"]
    assert failed == [3]
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def take_turns_with_memory(point):
    """Hold 40 MiB for a while: two at once are more than the limit of either."""
    if point.workload.seed != 3:
        held = np.ones(5 << 20)
        time.sleep(0.02)
        return Outcome(point.key, "done", {"sum": float(held.sum())})
    return take_memory_on_three(point)


@pytest.mark.parametrize("limits", [None, Limits(time_s=60.0)])
def test_points_are_made_as_they_are_needed_and_while_others_are_evaluated(monkeypatch, limits):
    largest = 16
    monkeypatch.setattr(runner, "_LARGEST_TASK", largest)
    monkeypatch.setattr(runner, "_LARGEST_LIMITED_TASK", largest // 4)
    count, made, recorded, ahead, tasks = 40 * largest, 0, 0, [], []

    def produced():
        nonlocal made
        for point in points(count):
            made += 1
            yield point

    def record(outcomes):
        nonlocal recorded
        recorded += len(outcomes)
        tasks.append(len(outcomes))
        ahead.append(made - recorded)

    run_points(produced(), square, record, workers=2, open_executor=open_inline, limits=limits)
    assert recorded == made == count
    most = runner._IN_FLIGHT_PER_WORKER * 2 * largest
    assert most / 2 < max(ahead) <= 2 * most, "points in flight, and as many that wait"
    assert max(tasks) <= most


def test_a_runner_goes_on_after_its_workers_died():
    recorded = []
    with Runner(die_on_seven, workers=2) as runner:
        runner.run(points(10), recorded.extend)
        runner.run(points(20)[10:], recorded.extend)
    assert sorted(outcome.status for outcome in recorded) == ["done"] * 19 + ["failed"]


def test_a_lost_executor_ends_the_run_and_blames_no_point():
    class Lost(InlineExecutor):
        left = 5

        def submit(self, fn, /, *args, **kwargs):
            self.left -= 1
            if self.left >= 0:
                return super().submit(fn, *args, **kwargs)
            future = Future()
            future.set_exception(ExecutorLostError("the cluster is gone"))
            return future

    recorded = []
    with pytest.raises(InputError, match="the cluster is gone"):
        run_points(points(2000), square, recorded.extend, workers=1, open_executor=lambda workers: Lost())
    assert recorded and {outcome.status for outcome in recorded} == {"done"}


def test_no_worker_is_refused():
    with pytest.raises(InputError, match="workers: must be at least 1"):
        Runner(square, workers=0)


def test_quick_points_travel_together():
    executors = []

    class Counting(InlineExecutor):
        tasks = 0

        def submit(self, fn, /, *args, **kwargs):
            self.tasks += 1
            return super().submit(fn, *args, **kwargs)

    def open_counting(workers):
        executors.append(Counting())
        return executors[-1]

    _, recorded = collect(1000, square, workers=1, open_executor=open_counting)
    assert sorted(outcome.metrics["square"] for outcome in recorded) == [i * i for i in range(1000)]
    assert 1000 / 256 <= executors[0].tasks < 100


def test_a_script_needs_no_guard_against_being_run_again(tmp_path):
    """Processes that are spawned import the main module, unless it is kept from them."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "print('run', flush=True)\n"
        "from studies import Study\n"
        "study = Study.from_yaml(sys.argv[1])\n"
        "print(study.sweep(sys.argv[2], jobs=2).summary['done'], __file__ == sys.argv[0])\n"
    )
    study = tmp_path / "s.yaml"
    study.write_text(
        "algorithm: sdpa.naive\nworkload: {seq_len: 8, head_dim: 4}\ntiming_only: true\naxes: {exp_cycles: [1, 2, 3]}\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, str(script), str(study), str(tmp_path / "s.sqlite")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, env=environment, check=False)
    assert (result.returncode, result.stdout.split()) == (0, ["run", "3", "True"]), result.stderr


class Together:
    """An evaluation that does better with several points at a time: says how many it was given."""

    def __call__(self, point):
        return Outcome(point.key, "done", {"together": 1})

    def many(self, several):
        for point in several:
            yield Outcome(point.key, "done", {"together": len(several)}, wall_s=1e-6)


def test_whole_tasks_go_to_an_evaluation_that_takes_several_points():
    by_key, _ = collect(200, Together(), workers=1, open_executor=open_inline)
    assert len(by_key) == 200
    assert max(outcome.metrics["together"] for outcome in by_key.values()) > 8


def test_with_limits_every_point_is_evaluated_by_itself():
    by_key, _ = collect(50, Together(), workers=1, open_executor=open_inline, limits=Limits(time_s=60.0))
    assert {outcome.metrics["together"] for outcome in by_key.values()} == {1}
