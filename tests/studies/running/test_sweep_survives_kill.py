import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from studies.cli import main
from studies.store.store import Store

HANG_S = 600
"""A test that takes longer hangs, whatever the machine."""
SCRIPT = Path(__file__).with_name("sweep_to_kill.py")
ROOT = Path(__file__).parents[3]
POINTS = 600


def start(store, log):
    command = [sys.executable, str(SCRIPT), str(store), str(log), str(POINTS)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment, start_new_session=True
    )


def stored(store):
    """Finished points, read as any tool would, while the sweep is writing."""
    if not store.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
            return database.execute("SELECT count(*) FROM points WHERE status != 'pending'").fetchone()[0]
    except sqlite3.OperationalError:
        return 0  # the schema is being written


def test_a_sweep_killed_half_way_continues_without_losing_or_repeating_a_point(tmp_path):
    store, log = tmp_path / "s.sqlite", tmp_path / "log"
    hold = log.with_suffix(".hold")
    hold.touch()
    victim = start(store, log)
    deadline = time.monotonic() + HANG_S
    while stored(store) < POINTS // 2 and time.monotonic() < deadline:
        assert victim.poll() is None
        time.sleep(0.01)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    hold.unlink()
    survived = stored(store)
    assert POINTS // 2 <= survived < POINTS

    output, _ = start(store, log).communicate(timeout=HANG_S)
    assert output.split() == [str(POINTS - survived), str(survived), "594", "6"]
    with Store(store) as finished:
        rows = list(finished.rows())
    assert len(rows) == POINTS
    assert all(row.attempt == 1 for row in rows)
    for row in rows:
        seed = row.point.workload.seed
        if seed % 100 == 50:
            assert (row.outcome.status, row.outcome.error) == ("failed", "fifty is not supported")
        else:
            assert (row.outcome.status, row.outcome.metrics) == ("done", {"square": seed**2})

    # evaluated twice are at most those that were on their way when the kill came: none of them was stored
    evaluations = Counter(log.read_text().split())
    assert len(evaluations) == POINTS
    repeated = sum(count - 1 for count in evaluations.values())
    assert repeated <= 2 * 2 * round(0.1 / 0.004)  # workers, tasks of each, points of a task of 0.1 s

    output, _ = start(store, log).communicate(timeout=HANG_S)
    assert output.split() == ["0", str(POINTS), "594", "6"]


def running(group):
    """Processes of a group that still run; those that wait to be reaped do not."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, process_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if int(process_group) == group and state != "Z":
            found.append(folder.name)
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_no_worker_outlives_a_killed_sweep(tmp_path):
    (tmp_path / "log.hold").touch()
    victim = start(tmp_path / "s.sqlite", tmp_path / "log")
    deadline = time.monotonic() + HANG_S
    while stored(tmp_path / "s.sqlite") < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(running(victim.pid)) > 1
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    while running(victim.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running(victim.pid) == []


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs limits of file sizes")
def test_a_sweep_that_runs_out_of_disk_says_so_and_continues_when_there_is_room(tmp_path):
    """A limit on the size of files is met like a full disk, and needs no other disk."""
    study, store = tmp_path / "s.yaml", tmp_path / "s.sqlite"
    study.write_text(
        "name: s\nalgorithm: sdpa.naive\nworkload: {seq_len: 8, head_dim: 4}\ntiming_only: true\n"
        "axes: {exp_cycles: {from: 1, to: 60, step: 1}}\n"
    )
    sweep = [sys.executable, "-m", "studies", "sweep", str(study), "--store", str(store), "--jobs", "0", "-q"]
    limited = [
        sys.executable,
        "-c",
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
        "os.execv(sys.argv[1], sys.argv[1:])",
        *sweep,
    ]
    first = subprocess.run(limited, capture_output=True, text=True, timeout=HANG_S, cwd=ROOT, check=False)
    assert first.returncode == 2, first.stderr
    assert "points stored so far are safe: make room and repeat the command" in first.stderr
    assert "Traceback" not in first.stderr
    assert 0 < (survived := stored(store)) < 60
    second = subprocess.run([*sweep, "--json"], capture_output=True, text=True, timeout=HANG_S, cwd=ROOT, check=False)
    summary = json.loads(second.stdout)
    assert (summary["done"], summary["skipped"], summary["evaluated"]) == (60, survived, 60 - survived)


def test_a_folder_for_stores_that_cannot_be_made_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(
        "algorithm: sdpa.naive\nworkload: {seq_len: 8, head_dim: 4}\naxes: {exp_cycles: [1, 2]}\n"
    )
    Path("out").touch()
    assert main(["sweep", "s.yaml"]) == 2
    assert capsys.readouterr().err == "out: the folder cannot be made (File exists); name another place with --store\n"


SCARCE = """
name: scarce
algorithm: sdpa.memory_free
workload: {head_dim: 4}
axes: {seq_len: [16, 12288, 32]}
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are kept on Linux only")
def test_a_worker_that_gets_no_more_memory_fails_its_point_alone(tmp_path):
    (tmp_path / "scarce.yaml").write_text(SCARCE)
    command = [sys.executable, "-m", "studies", "sweep", "scarce.yaml", "--store", "s.sqlite", "--jobs", "2", "-q"]
    limit = 1_400_000_000  # more than all that is imported, less than that and a gigabyte of scores
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2 of 3 points done, 1 failed" in done.stdout
    with Store(tmp_path / "s.sqlite") as store:
        errors = {row.point.attending.kv_len: row.outcome.error for row in store.rows("scarce")}
    assert errors[16] is errors[32] is None
    assert "memory" in errors[12288].lower() and "Traceback" not in errors[12288]
