"""Sweeps over scenarios: killed and continued, or run by a cluster, they give the rows of one that ran in peace."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from studies.search.sweep import run_sweep
from studies.study.resolve import read_study
from tests.conftest import comparable_rows
from tests.studies.running.test_sweep_survives_kill import HANG_S, ROOT, stored

SCENARIO = """
name: small
arrivals: {requests: 30, rate: 30.0}
lengths: {prompt: {least: 100, most: 900}, output: {least: 5, most: 60}}
model: qwen3-0.6b
deployment: {chip: h100}
scheduler: {most_sequences: 8, most_tokens: 512, compared: 2}
service: {ttft: 200 ms}
"""
STUDY = """
name: load
algorithm: live.serve
parameters: {scenario: small.yaml}
objectives: [live.goodput, live.ttft_p99_s]
axes:
  rate: {from: 20, to: 80, step: 20}
  most_sequences: [4, 8]
  scheduler: [vllm, orca, prefix_groups]
"""
POINTS = 24


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("load")
    (folder / "small.yaml").write_text(SCENARIO)
    path = folder / "load.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def in_peace(study):
    """Rows of a sweep that nothing disturbed."""
    store = study.with_name("peace.sqlite")
    summary = run_sweep(read_study(study), store, workers=1, quiet=True)
    assert (summary.done, summary.failed) == (POINTS, 0)
    return comparable_rows(store)


def test_a_sweep_over_scenarios_that_is_killed_continues_with_the_same_rows(study, tmp_path, in_peace):
    store = tmp_path / "killed.sqlite"
    command = [sys.executable, "-m", "studies", "sweep", str(study), "--store", str(store), "--jobs", "2", "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    victim = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=environment,
        start_new_session=True,
    )
    deadline = time.monotonic() + HANG_S
    while stored(store) < 3 and victim.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert victim.poll() is None, "killed while it works"
    os.killpg(victim.pid, signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    survived = stored(store)
    assert 3 <= survived < POINTS

    second = subprocess.run(
        command, capture_output=True, text=True, timeout=HANG_S, cwd=ROOT, env=environment, check=False
    )
    summary = json.loads(second.stdout)
    assert (summary["done"], summary["skipped"], summary["evaluated"]) == (POINTS, survived, POINTS - survived)
    assert comparable_rows(store) == in_peace


def test_a_cluster_gives_the_rows_of_scenarios_that_local_processes_give(study, tmp_path, in_peace, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="needs the extra 'cluster'")
    from studies.running.cluster import dask_cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, silence_logs=50
        ) as made,
        dask_cluster(made.scheduler_address) as cluster,
    ):
        store = tmp_path / "dask.sqlite"
        summary = run_sweep(
            read_study(study), store, workers=cluster.workers, quiet=True, open_executor=cluster.open_executor
        )
    assert (summary.done, summary.failed) == (POINTS, 0)
    assert comparable_rows(store) == in_peace
