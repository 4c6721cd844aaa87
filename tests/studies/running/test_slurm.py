"""SLURM jobs as workers: with programs that stand for SLURM's, and with SLURM itself where there is one."""

import importlib.util
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from studies.cli import main
from studies.running import cluster
from studies.store.store import Store

HANG_S = 600
"""A test that takes longer hangs, whatever the machine."""
ROOT = Path(__file__).parents[3]
_found = importlib.util.spec_from_file_location("fake_slurm", Path(__file__).with_name("fake_slurm.py"))
fake_slurm = importlib.util.module_from_spec(_found)
_found.loader.exec_module(fake_slurm)
STUDY = """
name: depths
algorithm: sdpa.naive
workload: {seq_len: 12, head_dim: 4}
engine: simpy
timing_only: true
axes: {long_depth: {from: 10, to: 21, step: 1}}
"""
POINTS = 24
SLOW = STUDY.replace("seq_len: 12", "seq_len: 64").replace("from: 10, to: 21", f"from: 100, to: {99 + POINTS}")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a study and a configuration of jobs."""
    pytest.importorskip("dask_jobqueue", reason="needs the extra 'cluster'")
    import dask

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    Path("s.yaml").write_text(STUDY)
    Path("dask").mkdir()
    Path("dask/jobqueue.yaml").write_text("jobqueue: {slurm: {cores: 1, memory: 2 GiB}}\n")
    monkeypatch.setenv("DASK_CONFIG", str(tmp_path / "dask"))
    # a checkout that is edited while tests run is no other code to them: without git there is only a version
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").write_text("#!/bin/sh\nexit 1\n")
    (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    cluster._code.cache_clear()
    with dask.config.set({"jobqueue.slurm.cores": 1, "jobqueue.slurm.memory": "2 GiB"}):
        yield tmp_path
    cluster._code.cache_clear()


@pytest.fixture
def slurm(place, monkeypatch):
    """Programs that stand for SLURM's come first; gives the folder of their jobs."""
    programs, jobs = place / "bin", place / "jobs"
    jobs.mkdir()
    for name in ("sbatch", "squeue", "scancel"):
        file = programs / name
        command = shlex.join([sys.executable, "-I", fake_slurm.__file__, name])
        file.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        file.chmod(0o755)
    monkeypatch.setenv("FAKE_SLURM", str(jobs))
    monkeypatch.setattr(fake_slurm, "FOLDER", jobs)
    monkeypatch.setattr("studies.running.slurm.QUEUE_EVERY_S", 0.3)
    yield jobs
    assert ended(), "jobs outlive the sweep"


def ended():
    """Nothing is left of any job, a moment later at most."""
    deadline = time.monotonic() + HANG_S
    while any(process == 0 or fake_slurm.runs(process) for _, process in fake_slurm.jobs()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_jobs_give_the_rows_of_local_processes_and_leave_nothing_behind(slurm, rows, capsys):
    assert main(["sweep", "s.yaml", "--store", "local.sqlite", "--jobs", "0", "-q"]) == 0
    capsys.readouterr()
    assert main(["sweep", "s.yaml", "--store", "slurm.sqlite", "--slurm", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 12
    assert rows("slurm.sqlite") == rows("local.sqlite")
    assert sorted(path.suffix for path in Path("out/slurm").iterdir()) == [".err", ".err", ".out", ".out"]


def test_what_slurm_refuses_is_told_at_once_in_its_words(slurm, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_SLURM_REFUSES", "invalid partition specified: nosuch")
    assert main(["sweep", "s.yaml", "--slurm", "2"]) == 2
    told = "--slurm: sbatch refuses: invalid partition specified: nosuch; Batch job submission failed\n"
    assert capsys.readouterr().err == told


def test_a_job_that_ends_before_its_worker_joined_shows_the_end_of_its_log(slurm, capsys):
    import dask

    with dask.config.set({"jobqueue.slurm.python": "/no/such/python"}):
        assert main(["sweep", "s.yaml", "--slurm", "1"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("--slurm: SLURM job 100 ended before its worker joined: ")
    assert "/no/such/python: No such file or directory" in told
    assert told.endswith("out/slurm/attnflow-100.err); no other job is left\n")


def test_a_queue_that_never_starts_says_why_and_is_left_in_the_end(slurm, monkeypatch, capsys):
    monkeypatch.setenv("FAKE_SLURM_WAITS", "PartitionDown")
    monkeypatch.setattr("studies.running.slurm.PATIENCE_S", 3.0)
    assert main(["sweep", "s.yaml", "--slurm", "2"]) == 2
    first, last = capsys.readouterr().err.splitlines()
    assert first == "2 of 2 SLURM jobs wait in the queue (PartitionDown)"
    assert last.startswith("--slurm: no worker has joined within ") and last.endswith(f": {first}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_sweep_that_is_stopped_takes_its_jobs_out_of_the_queue(slurm, monkeypatch, number):
    monkeypatch.setenv("FAKE_SLURM_WAITS", "Priority")
    command = [sys.executable, "-m", "studies", "sweep", "s.yaml", "--slurm", "3"]
    # a test run in the background, or under nohup, inherits that the signal is ignored
    usual = [sys.executable, "-c", f"import os, signal, sys; signal.signal({int(number)}, signal.SIG_DFL);"]
    usual[-1] += "os.execv(sys.argv[1], sys.argv[1:])"
    with subprocess.Popen([*usual, *command], stderr=subprocess.PIPE, text=True) as sweep, ExitStack() as ending:
        ending.callback(sweep.kill)  # a sweep that does not stop fails the test, it does not hold it up
        deadline = time.monotonic() + HANG_S
        while len(fake_slurm.jobs()) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        sweep.send_signal(number)
        time.sleep(0.01)
        sweep.send_signal(number)  # an impatient user
        _, told = sweep.communicate(timeout=HANG_S)
    assert sweep.returncode == 130
    assert told.endswith("stopped; finished points are in out/depths.sqlite, the same command continues\n")
    assert fake_slurm.jobs() == []


def test_without_slurm_the_message_says_where_to_start(place, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(place))
    assert main(["sweep", "s.yaml", "--slurm", "1"]) == 2
    assert "sbatch does not start: No such file or directory; start this where SLURM is" in capsys.readouterr().err


def test_a_job_that_is_not_described_says_what_to_write(place, capsys):
    import dask

    with dask.config.set({"jobqueue.slurm.cores": None}):
        assert main(["sweep", "s.yaml", "--slurm", "1"]) == 2
    assert "how many cores a job gets is not configured; write for example 'jobqueue: {" in capsys.readouterr().err


def test_a_job_that_goes_away_is_replaced_and_the_next_sweep_continues(slurm):
    Path("s.yaml").write_text(SLOW)
    lose_jobs_of_a_sweep(lambda: [number for number, _ in fake_slurm.jobs()])


# --- with SLURM itself --------------------------------------------------------------------------------


def in_queue():
    """Numbers of this user's jobs, or None where no SLURM answers."""
    if shutil.which("squeue") is None:
        return None
    command = ["squeue", "--noheader", f"--user={os.getuid()}", "--format=%A"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    return answer.stdout.split() if answer.returncode == 0 else None


@pytest.fixture
def real_slurm(place):
    """SLURM of this machine; its queue has to be as before when the test is over."""
    before = in_queue()
    if before is None:
        pytest.skip("no SLURM answers here (`sinfo`); a computer with slurmctld, slurmd and munge runs this test")
    yield
    deadline = time.monotonic() + HANG_S
    while set(in_queue() or ()) - set(before) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert set(in_queue() or ()) <= set(before)


@pytest.mark.slow
def test_slurm_gives_the_rows_of_local_processes_though_a_job_is_cancelled(real_slurm, rows):
    Path("s.yaml").write_text(SLOW)
    assert main(["sweep", "s.yaml", "--store", "local.sqlite", "-q"]) == 0
    lose_jobs_of_a_sweep(in_queue)
    assert rows("slurm.sqlite") == rows("local.sqlite")


@pytest.mark.slow
def test_slurm_refuses_a_partition_that_is_not_there(real_slurm, capsys):
    import dask

    with dask.config.set({"jobqueue.slurm.queue": "no-such-partition"}):
        assert main(["sweep", "s.yaml", "--slurm", "1"]) == 2
    assert "--slurm: sbatch refuses: invalid partition specified: no-such-partition" in capsys.readouterr().err


def lose_jobs_of_a_sweep(jobs):
    """Cancel the job of a sweep half way, then kill the sweep itself; the next one ends with nothing lost."""
    command = [sys.executable, "-m", "studies", "sweep", "s.yaml", "--store", "slurm.sqlite", "--slurm", "1"]
    others = set(jobs())
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as sweep:
        wait_for_rows(2)
        (first,) = set(jobs()) - others
        subprocess.run(["scancel", first], check=True, timeout=HANG_S)
        before = finished()
        wait_for_rows(before + 3)
        (second,) = set(jobs()) - others - {first}
        sweep.kill()
        _, told = sweep.communicate(timeout=HANG_S)
    assert f"SLURM job {first} has ended and is replaced; its log: " in told
    subprocess.run(["scancel", second], check=True, timeout=HANG_S)
    kept = finished()
    assert 5 <= kept < POINTS
    result = subprocess.run([*command, "--json", "-q"], capture_output=True, text=True, timeout=HANG_S, check=False)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["done"], summary["skipped"], summary["evaluated"]) == (POINTS, kept, POINTS - kept)


def finished():
    if not Path("slurm.sqlite").exists():
        return 0
    try:
        with Store("slurm.sqlite") as store:
            return sum(status != "pending" for status in store.statuses("depths").values())
    except ValueError:
        return 0  # the store is being made


def wait_for_rows(count):
    deadline = time.monotonic() + HANG_S
    while finished() < count:
        assert time.monotonic() < deadline, f"only {finished()} points so far"
        time.sleep(0.1)
