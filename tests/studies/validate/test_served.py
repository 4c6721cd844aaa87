"""Logged runs replayed: a log of the simulator itself is met exactly, others are told apart, bad logs are named."""

import csv
import json
from pathlib import Path

import pytest

from algorithms.live.requests import NANOSECONDS, Request
from algorithms.live.serve import serve
from hwmodels.reading.errors import InputError
from studies.cli.app import run_command_line
from studies.validate.served.error_table import error_rows
from studies.validate.served.replay import deployment_of, replay, replay_all
from studies.validate.served.runs import read_runs

TABLES = Path(__file__).parents[4] / "shared" / "data" / "measured" / "end_to_end"
RUN = "RTX4090/small"
META = {
    RUN: {
        "model": "Qwen/Qwen3-0.6B",
        "vllm_version": "0.19.0",
        "engine_kwargs": {"max_num_seqs": 16, "max_num_batched_tokens": 1024, "max_model_len": None},
        "kv_cache": {"num_gpu_blocks": 400, "block_size": 16},
    }
}
COLUMNS = "run,request,input_tokens,output_tokens,arrival_s,queued_s,scheduled_s,first_token_s,last_token_s,split"


@pytest.fixture
def log(tmp_path):
    """Files of a run that the simulator logged itself."""
    requests, meta = tmp_path / "requests.csv", tmp_path / "meta.json"
    meta.write_text(json.dumps(META))
    requests.write_text(f"{COLUMNS}\n{RUN},a,10,5,0,0,0,1,2,unheard-of\n")
    deployment = deployment_of(read_runs(requests, meta)[0])
    asked = [Request(i, 20_000_000 * i, 50 + 90 * i % 700, 20 + 7 * i % 50) for i in range(40)]
    found = serve(asked, deployment.maker(), deployment.times())
    with requests.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS.split(","))
        for each in found.requests:
            times = (each.request.arrival_ns, each.scheduled_ns, each.first_token_ns, each.last_token_ns)
            queued, scheduled, first, last = (time / NANOSECONDS for time in times)
            tokens = each.request.prompt_tokens, each.request.output_tokens
            writer.writerow([RUN, each.request.number, *tokens, queued, queued, scheduled, first, last, "x"])
    return requests, meta


def test_a_log_of_the_simulator_is_met_exactly(log):
    found = replay(read_runs(*log)[0])
    assert found.passed and found.blocks == 400
    for what in ("ttft_s", "tpot_s", "latency_s"):
        for figure in ("mean", "median", "p99"):
            assert found.error_pct(what, figure) == pytest.approx(0, abs=1e-6)


def test_a_slower_log_fails_and_says_by_how_much(log, capsys):
    requests, meta = log
    rows = list(csv.DictReader(requests.open()))
    with requests.open("w") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for row in rows:
            queued, times = float(row["queued_s"]), ("first_token_s", "last_token_s")
            late = {name: queued + 2 * (float(row[name]) - queued) for name in times}
            writer.writerow(row | late)
    code = run_command_line(
        ["validate", "served", "--requests", str(requests), "--meta", str(meta), "--json", "--quiet"]
    )
    found = json.loads(capsys.readouterr().out)
    assert code == 1
    assert (found["passed"], found["failed"], found["unsupported"]) == (0, 1, 0)
    (run,) = found["runs"]
    assert run["requests"] == 40
    assert run["error_pct"]["latency_s"]["mean"] == pytest.approx(-50, abs=0.01)
    assert run["measured"]["ttft_s"]["mean"] == pytest.approx(2 * run["simulated"]["ttft_s"]["mean"])


def test_runs_on_unknown_chips_and_models_are_unsupported(log):
    requests, meta = log
    meta.write_text(json.dumps({RUN: META[RUN] | {"model": "nobody/nothing-1B"}}))
    report = replay_all(read_runs(requests, meta))
    assert not report.ok
    assert "unknown model" in report.to_json()["runs"][0]["why"]
    assert list(error_rows(report))[1:] == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"{RUN},a,0,5,0,0,0,1,2,x", r"requests.csv:2: input_tokens: must be a whole number of at least 1 \(got '0'\)"),
        (f"{RUN},a,10,5,0,-1,0,1,2,x", r"requests.csv:2: queued_s: must be a number of seconds, not negative"),
        (f"{RUN},a,10,5,0,0,0,3,2,x", r"requests.csv:2: last_token_s: must not be before first_token_s"),
        ("other,a,10,5,0,0,0,1,2,x", r"meta.json: does not describe the run 'other'"),
        (f"{RUN},a", r"requests.csv:2: input_tokens: must be a whole number of at least 1 \(got None\)"),
    ],
)
def test_bad_logs_are_named(log, row, message):
    requests, meta = log
    requests.write_text(f"{COLUMNS}\n{row}\n")
    with pytest.raises(InputError, match=message):
        read_runs(requests, meta)


@pytest.mark.skipif(not TABLES.is_dir(), reason="the tables of measured requests are not beside the repository")
def test_published_runs_are_read_and_what_they_ran_on_is_known():
    runs = read_runs(TABLES / "vllm_requests.csv", TABLES / "vllm_requests_meta.json")
    assert [len(run.requests) for run in runs] == [300] * len(runs)
    known = {run.name: deployment_of(run) for run in runs}
    first = known["RTX4090/Llama-3.1-8B"]
    assert (first.pool_blocks, first.limits.most_sequences, first.model.name) == (2588, 256, "llama3-8b")
    assert first.system.chip.name == "rtx_4090"
