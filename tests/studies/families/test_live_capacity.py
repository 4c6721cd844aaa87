"""The smallest deployment that holds a service level: every candidate is run, one fewer does not hold it."""

import json

import pytest

from studies.cli.app import run_command_line

BUSY = """
name: busy
arrivals: {requests: 60, rate: 400.0}
lengths: {prompt: {least: 200, most: 900}, output: {least: 20, most: 60}}
model: qwen3-0.6b
deployment: {chip: h100}
scheduler: {kind: vllm, most_sequences: 4, most_tokens: 512}
service: {ttft: 20 ms}
"""


@pytest.fixture
def advise(tmp_path, capsys):
    path = tmp_path / "busy.yaml"
    path.write_text(BUSY)

    def run(*words, text=None):
        if text is not None:
            path.write_text(text)
        code = run_command_line(["advise", "capacity", str(path), *words, "--json", "--quiet"])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else None, printed.err

    return run


def test_one_replica_fewer_than_the_smallest_does_not_hold_the_level(advise, tmp_path, capsys):
    code, found, _ = advise("--share", "0.95")
    assert code == 0
    smallest, tried = found["smallest"], {(each["tp"], each["replicas"]): each for each in found["tried"]}
    assert smallest["replicas"] > 2, "the load is one that needs several"
    assert smallest["share"] >= 0.95 > tried[1, smallest["replicas"] - 1]["share"]
    assert tried[1, smallest["replicas"]] == smallest
    assert f"{smallest['replicas']} replicas with tp = 1 hold TTFT 20 ms" in found["sentence"]
    # the candidate is the run that anybody gets who sets the same
    words = ["run", "live.serve", str(tmp_path / "busy.yaml"), "--set", f"replicas={smallest['replicas']}"]
    assert run_command_line([*words, "--set", "tp=1", "--json", "--quiet"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert metrics["live.ttft_p99_s"] == smallest["ttft_p99_s"]
    assert metrics["live.goodput"] / metrics["live.requests_per_second"] == pytest.approx(smallest["share"])


def test_more_chips_per_replica_are_tried_where_links_join_them(advise):
    code, found, _ = advise("--set", "system=dgx_h100", "--share", "0.95")
    assert code == 0
    assert {each["tp"] for each in found["tried"]} >= {1, 2}
    assert all(each["chips"] == each["tp"] * each["replicas"] <= 8 for each in found["tried"])
    holding = [each["chips"] for each in found["tried"] if each["share"] >= 0.95]
    assert found["smallest"]["chips"] == min(holding)


def test_what_no_deployment_holds_is_said_with_what_comes_nearest(advise):
    code, found, _ = advise("--most-chips", "2")
    assert code == 1
    assert found["smallest"] is None
    assert [each["replicas"] for each in found["tried"]] == [1, 2]
    assert found["sentence"].startswith("nothing up to 2 chips (h100_sxm5_80g) holds TTFT 20 ms")
    code, found, _ = advise("--most-chips", "2", "--set", "model=llama3-70b")
    assert code == 1
    assert "leave no room for keys and values" in found["sentence"]


@pytest.mark.parametrize(
    ("words", "text", "message"),
    [
        (["--share", "0"], None, "--share: must be above 0 and at most 1 (got 0)"),
        (["--most-chips", "0"], None, "--most-chips: must be at least 1 (got 0)"),
        ([], BUSY.replace("service: {ttft: 20 ms}", ""), "service: says no limit that requests must meet"),
    ],
)
def test_questions_that_have_no_answer_are_refused(advise, words, text, message):
    code, found, err = advise(*words, text=text)
    assert (code, found) == (2, None)
    assert message in err
