"""``attnflow run decode.policy`` and ``stream.frames``: bytes, cycles, joules and error; mistakes in one line."""

import json

import pytest

from algorithms.kv.registry import policy_names
from studies.cli import main

RUN = ["run", "decode.policy", "--chip", "h100", "--workload", "llama3-8b", "--timing-only", "--quiet"]


def test_one_run_gives_bytes_cycles_joules_and_error(capsys):
    policy = "policy=streaming_llm(sink=4,recent=252)"
    shape = ["--workload", "llama3-8b", "--context", "1024", "--heads", "4", "--kv-heads", "2", "--head-dim", "32"]
    assert main(["run", "decode.policy", "--set", policy, "--chip", "h100", *shape, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["cycles"] > 0
    assert document["layers"] == 32
    assert document["error"]["rel_l2"] > 0.1
    assert sum(document["energy_j"].values()) > 0
    assert document["tier_bytes"]["hbm"] > 0
    assert document["details"]["attended"] == 257
    assert 0 < document["details"]["attention_recall"] < 1
    assert document["details"]["attention_error"] > 0.01
    assert document["details"]["kept_bytes.hbm"] == 256 * 32 * 2 * 2 * 32 * 2
    assert document["metrics"]["tokens_per_second"] == pytest.approx(1 / document["seconds"])


def test_the_command_of_a_long_context(capsys):
    policy = "policy=streaming_llm(sink=4,recent=1020)"
    assert main([*RUN, "--set", policy, "--context", "131072", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["details"]["resident"] == 1024
    assert document["point"]["workload"]["q_len"] == 1


def test_people_read_what_is_kept(capsys):
    assert main([*RUN, "--set", "policy=quest", "--set", "budget=512", "--context", "8192"]) == 0
    text = capsys.readouterr().out
    assert "all of 32 layers" in text
    assert "attended" in text
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert lines["kept_bytes.hbm"].endswith("iB")
    assert "on a synthetic stream" in lines["attention_recall"]
    assert "before: group" in text


def test_a_frame_of_a_stream(capsys):
    frame = ["--context", "4096", "--set", "frame_tokens=64", "--set", "budget=1024"]
    command = ["run", "stream.frames", "--chip", "sn40l", "--workload", "llama3-8b", "--timing-only", *frame]
    assert main([*command, "--dtype", "bfloat16", "--set", "policy=infinipot_v(frame=64)", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["metrics"]["tokens_per_second"] == pytest.approx(64 / document["seconds"])


def test_frames_as_long_as_the_context_are_told_how_much_it_takes(capsys):
    assert main(["run", "stream.frames", "--chip", "orin", "--timing-only"]) == 2
    assert capsys.readouterr().err == (
        "kv_len: a context of 512 tokens leaves none before 2 steps of 512: take at least 1,025\n"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["policy=streamin_llm"], "--set policy: unknown KV policy 'streamin_llm'; did you mean 'streaming_llm'"),
        (["policy=streaming_lm"], "--set policy: unknown KV policy 'streaming_lm'; did you mean 'streaming_llm' or '"),
        (["policy=streaming_llm(snk=4)"], "unknown parameter 'snk' of streaming_llm; did you mean 'sink'"),
        (["policy=streaming_llm("], "policy"),
        (["policy=h2o"], "h2o needs a budget"),
        (["policy=h2o", "budget=9000"], "9000 tokens are more than the context of 8192"),
        (["policy=streaming_llm(sink=64)", "budget=32"], "32 tokens are fewer than the 65 that"),
        (["policy=streaming_llm(sink=4,recent=9000)"], "9004 tokens are more than the context of 8192"),
        (["policy=quest", "budget=512", "placement=hbm,flash"], "h100_sxm5_80g has no memory tier 'flash'"),
        (["budgt=5"], "budget"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(capsys, settings, message):
    options = [part for setting in settings for part in ("--set", setting)]
    assert main([*RUN, "--context", "8192", *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert "Traceback" not in printed.err


def test_policies_are_listed_with_parameters(capsys):
    assert main(["list", "policies", "--json"]) == 0
    rows = {row["name"]: row["summary"] for row in json.loads(capsys.readouterr().out)["policies"]}
    assert set(rows) == set(policy_names())
    assert rows["streaming_llm"].startswith("(sink=4, recent")
