"""Values that overflow: one point says why it has no result, all others have theirs."""

import numpy as np
import pytest

from studies.cli import main
from studies.store.store import Store

STUDY = """
name: hot
workload: {seq_len: 8, head_dim: 16}
tensors: hot.npz
axes: {algorithm: [sdpa.memory_free, sdpa.naive, sdpa.reordered], exp_latency: {from: 1, to: 3, step: 1}}
"""


@pytest.fixture
def hot(tmp_path, monkeypatch):
    """Finite tensors whose scores overflow exp where nothing is subtracted from them."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0).standard_normal
    np.savez("hot.npz", q=200 * draw((1, 2, 8, 16)), k=200 * draw((1, 1, 8, 16)), v=draw((1, 1, 8, 16)))
    (tmp_path / "hot.yaml").write_text(STUDY)
    return tmp_path


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_points_whose_values_overflow_fail_with_a_sentence_and_all_others_are_done(hot, capsys):
    for _ in range(2):
        assert main(["sweep", "hot.yaml", "--store", "hot.sqlite", "--jobs", "0"]) == 0
    assert "6 of 9 points done, 3 failed" in capsys.readouterr().out
    with Store("hot.sqlite") as store:
        for row in store.rows("hot"):
            if row.point.algorithm == "sdpa.naive":
                assert row.outcome.status == "failed"
                assert "not finite" in row.outcome.error
                assert "without a row maximum" in row.outcome.error
            else:
                assert row.outcome.status == "done"
    assert main(["report", "hot.sqlite", "-o", "hot.html"]) == 0
    assert main(["report", "hot.sqlite", "-o", "hot.csv"]) == 0


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_one_run_says_the_same_in_one_line(hot, capsys, form):
    assert main(["run", "sdpa.naive", "--tensors", "hot.npz", *form]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert len(found.err.splitlines()) == 1
    assert "elements of the output are not finite" in found.err


def test_values_whose_squares_overflow_have_a_distance(hot, json_of):
    draw = np.random.default_rng(1).standard_normal
    np.savez("large.npz", q=draw((1, 2, 8, 16)), k=draw((1, 1, 8, 16)), v=1e300 * draw((1, 1, 8, 16)))
    document = json_of("run", "sdpa.memory_free", "--tensors", "large.npz")
    assert 0 < document["error"]["rel_l2"] < 1e-12
