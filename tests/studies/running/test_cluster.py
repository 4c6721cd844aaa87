"""A Dask cluster on loopback gives the rows that local processes give, whatever happens to its workers."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError
from studies.api import Study
from studies.cli import main
from studies.points.point import DesignPoint
from studies.search.sweep import run_sweep
from studies.store.store import Store
from studies.study.resolve import read_study

HANG_S = 600
"""A test that takes longer hangs, whatever the machine."""
FOLDER = Path(__file__).parent
HEAD = Workload(name="h", phase="prefill", heads=1, kv_heads=1, q_len=8, kv_len=8, head_dim=4)
STUDY = """
name: lanes
algorithm: sdpa.naive
workload: {seq_len: 32, head_dim: 8}
axes:
  exp_lanes: [1, 2]
  long_depth: {from: 28, to: 40, step: 1}
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(STUDY)
    return read_study(path)


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """Functions for workers, importable here and there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("DIE_ONCE", str(tmp_path_factory.mktemp("cluster") / "died"))
        import dask_workers

        yield dask_workers


@pytest.fixture(scope="module")
def scheduler(workers):
    """Address of a cluster of two workers."""
    distributed = pytest.importorskip("distributed", reason="needs the extra 'cluster'")
    dask = pytest.importorskip("dask")
    # a task that kills its worker is handed back at once: the default, to try three other workers, takes its time
    patience = {"distributed.scheduler.allowed-failures": 0}
    with (
        dask.config.set(patience),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
        ) as cluster,
    ):
        yield cluster.scheduler_address


def test_a_cluster_that_loses_a_worker_gives_the_rows_of_local_processes(study, scheduler, workers, rows, tmp_path):
    from studies.running.cluster import dask_cluster

    local = run_sweep(study, tmp_path / "local.sqlite", workers=2, quiet=True)
    assert (local.done, local.failed) == (26, 0)
    with dask_cluster(scheduler) as cluster:
        assert cluster.workers == 2
        summary = run_sweep(
            study,
            tmp_path / "dask.sqlite",
            workers=cluster.workers,
            quiet=True,
            evaluate=workers.attempt_and_die_once,
            open_executor=cluster.open_executor,
        )
    assert Path(os.environ["DIE_ONCE"]).exists()
    assert (summary.evaluated, summary.done, summary.failed) == (26, 26, 0)
    assert rows(tmp_path / "dask.sqlite") == rows(tmp_path / "local.sqlite")


def test_a_point_that_always_kills_its_worker_gets_the_blame_and_no_other(scheduler, workers, tmp_path):
    from studies.running.cluster import dask_cluster

    points = [DesignPoint("any", HEAD.with_(seed=seed), ()) for seed in range(8)]
    with dask_cluster(scheduler) as cluster:
        run_sweep(
            Study.of("die", points),
            tmp_path / "dask.sqlite",
            workers=cluster.workers,
            quiet=True,
            evaluate=workers.die_always,
            open_executor=cluster.open_executor,
        )
    with Store(tmp_path / "dask.sqlite") as store:
        outcomes = {row.point.workload.seed: row.outcome for row in store.rows()}
    assert {seed: outcome.metrics.get("square") for seed, outcome in outcomes.items()} == {
        seed: None if seed == 3 else seed**2 for seed in range(8)
    }
    assert "worker process died" in outcomes[3].error


def test_the_command_line_uses_a_cluster(scheduler, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(STUDY)
    assert main(["sweep", "s.yaml", "--scheduler", scheduler, "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 26


def test_a_scheduler_that_is_not_there_is_said_to_be_so(tmp_path, monkeypatch, capsys):
    pytest.importorskip("distributed", reason="needs the extra 'cluster'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("studies.running.cluster.CONNECT_S", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    Path("s.yaml").write_text(STUDY)
    assert main(["sweep", "s.yaml", "--scheduler", f"tcp://127.0.0.1:{port}", "-q"]) == 2
    assert f"--scheduler: no scheduler answers at 'tcp://127.0.0.1:{port}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "package"), [("--scheduler=tcp://127.0.0.1:1", "Dask"), ("--slurm=2", "dask-jobqueue")]
)
def test_without_the_extra_the_message_names_it(tmp_path, monkeypatch, capsys, option, package):
    monkeypatch.chdir(tmp_path)
    for name in ("distributed", "dask_jobqueue"):
        monkeypatch.setitem(sys.modules, name, None)
    Path("s.yaml").write_text(STUDY)
    assert main(["sweep", "s.yaml", option, "-q"]) == 2
    assert f"needs {package}: pip install 'attnflow[cluster]'" in capsys.readouterr().err


def test_one_place_at_a_time(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(STUDY)
    assert main(["sweep", "s.yaml", "--slurm", "2", "--jobs", "1", "-q"]) == 2
    assert "only one of --jobs and --slurm can be given" in capsys.readouterr().err
    assert main(["sweep", "s.yaml", "--time-limit", "2 GB", "--memory-limit", "0 B"]) == 2
    assert "--time-limit: must be a quantity in s" in (told := capsys.readouterr().err)
    assert "--memory-limit: must be above 0 (got '0 B')" in told


def test_a_scheduler_that_goes_away_ends_the_sweep_and_blames_no_point(workers, tmp_path):
    """In one line and at once; the next sweep, anywhere, goes on from there."""
    pytest.importorskip("distributed", reason="needs the extra 'cluster'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    study, store = tmp_path / "s.yaml", tmp_path / "s.sqlite"
    study.write_text(STUDY + "engine: simpy\ntiming_only: true\n")
    sweep = [sys.executable, "-m", "studies", "sweep", str(study), "--store", str(store), "-q"]
    host, port = address.rpartition("//")[2].split(":")
    with (
        subprocess.Popen([*dask, "scheduler", "--host", host, "--port", port, "--no-dashboard"], **quiet) as scheduler,
        subprocess.Popen([*dask, "worker", address, "--no-nanny", "--no-dashboard"], **quiet) as worker,
    ):
        try:
            with subprocess.Popen([*sweep, "--scheduler", address], stderr=subprocess.PIPE, text=True) as running:
                deadline = time.monotonic() + HANG_S
                while finished(store) < 2 and time.monotonic() < deadline:
                    time.sleep(0.02)
                scheduler.kill()
                _, told = running.communicate(timeout=HANG_S)
        finally:
            scheduler.kill()
            worker.kill()
    assert running.returncode == 2, told
    assert told.startswith(f"{address}: ") and told.count("\n") == 1
    assert "; points stored so far are safe: repeat the command" in told
    with Store(store) as left:
        outcomes = [row.outcome for row in left.rows()]
    assert [outcome.error for outcome in outcomes if outcome.status == "failed"] == []
    assert {outcome.status for outcome in outcomes} == {"done", "pending"}


def finished(store):
    """Points that are done, while somebody may be making the store."""
    try:
        with Store(store) as reader:
            return sum(row.outcome.status == "done" for row in reader.rows())
    except InputError:
        return 0
