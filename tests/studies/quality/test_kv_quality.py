"""Quality of KV policies: the order the literature reports, the references, and what cannot be judged."""

import numpy as np
import pytest

from algorithms.kv.text import parse_policy
from hwmodels.reading.errors import InputError
from studies.quality.drift import drift_over_steps
from studies.quality.passkeys import passkey_table
from studies.quality.quality import REFERENCES, Statistic, ask, quality_table
from studies.quality.streams import StreamSize, passkey, stream_named, synthetic_streams, tensor_stream

SMALL = StreamSize(tokens=192, head_dim=32)


def by_policy(rows):
    return {row.policy: row for row in rows}


def test_the_heavy_hitter_stream_orders_policies_as_published():
    """Facts of the field: oracle < SnapKV < H2O < TOVA < StreamingLLM < random in output error."""
    ranking = ["oracle", "snapkv", "h2o", "tova", "streaming_llm", "random"]
    rows = by_policy(quality_table(ranking, stream_named("heavy_hitter"), 128, samples=24))
    errors = [rows[name].relative_error.mean for name in ranking]
    assert errors == sorted(errors)
    masses = [rows[name].mass_recall.mean for name in ranking]
    assert masses == sorted(masses, reverse=True)
    assert rows["oracle"].normalised == 1
    assert rows["random"].normalised == 0
    assert rows["oracle"].mass_recall.mean == pytest.approx(0.92, abs=0.04)
    assert rows["streaming_llm"].mass_recall.mean == pytest.approx(0.5, abs=0.1)


def test_the_drift_stream_favours_what_looks_at_the_present_query():
    names = ["quest", "snapkv", "h2o"]
    rows = by_policy(quality_table(names, stream_named("drift"), 128, samples=12))
    errors = [rows[name].relative_error.mean for name in ("oracle", *names, "random")]
    assert errors == sorted(errors)


def test_independent_data_cannot_rank_policies():
    """Any choice without scores errs by about sqrt(n / k - 1); only the oracle differs."""
    names = ["streaming_llm", "h2o", "tova", "snapkv", "window"]
    rows = by_policy(quality_table(names, stream_named("gaussian"), 128, samples=12))
    expected = np.sqrt(1024 / 128 - 1)
    for name in ("random", *names):
        assert rows[name].relative_error.mean == pytest.approx(expected, rel=0.15)
    assert rows["oracle"].relative_error.mean < 0.6 * expected


@pytest.mark.parametrize("name", list(synthetic_streams()))
def test_references_are_always_there_and_full_is_exact(name):
    rows = quality_table([], stream_named(name, SMALL), 24, samples=3)
    assert tuple(row.policy for row in rows) == REFERENCES
    full = rows[0]
    assert full.relative_error.mean < 1e-12
    assert full.mass_recall.mean == pytest.approx(1)
    assert full.top_recall.mean == 1
    assert rows[2].top_recall.mean == 1


def test_cells_that_cannot_be_judged_say_why():
    stream = stream_named("heavy_hitter", SMALL)
    names = ["knorm", "sirllm", "streaming_vlm", "sink(2) + lagkv", "streaming_llm(sink=40)", "linear_attention"]
    rows = by_policy(quality_table(names, stream, 24, samples=2))
    assert "not evaluable on synthetic streams" in rows["knorm"].note
    assert "not evaluable on synthetic streams" in rows["sink(tokens=2) + lagkv"].note
    assert "self-information" in rows["sirllm"].note
    assert "modalities" in rows["streaming_vlm"].note
    assert "fewer than the 41" in rows["streaming_llm(sink=40)"].note
    assert not any(rows[name].evaluable for name in ("knorm", "sirllm", "streaming_vlm"))
    state = rows["linear_attention"]
    assert state.evaluable
    assert state.mass_recall is None


def test_recorded_tensors_judge_what_synthetic_ones_cannot():
    rows = by_policy(
        quality_table(["knorm", "keydiff", "snapkv(window=8)", "window"], stream_named("minilm_l6_layer3"), 32)
    )
    assert all(row.evaluable for row in rows.values())
    assert rows["snapkv(window=8)"].normalised > rows["window"].normalised
    assert rows["full"].relative_error.mean < 1e-12
    assert rows["full"].samples == 16


def test_a_users_tensors_are_read(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "mine.npz"
    np.savez(
        path, q=rng.standard_normal((4, 64, 8)), k=rng.standard_normal((2, 64, 8)), v=rng.standard_normal((2, 64, 8))
    )
    rows = quality_table(["h2o"], stream_named(str(path)), 16, samples=4)
    assert rows[-1].stream == "mine"
    assert rows[-1].mean_attended == 17
    short = tmp_path / "short.npz"
    np.savez(short, q=np.ones((1, 8, 4)), k=np.ones((1, 8, 4)), v=np.ones((1, 8, 4)))
    with pytest.raises(InputError, match="too few"):
        tensor_stream(short)
    with pytest.raises(InputError, match="no such file"):
        stream_named(str(tmp_path / "absent.npz"))
    with pytest.raises(InputError, match=r"unknown stream 'heavy_hiter'; did you mean 'heavy_hitter'\?"):
        stream_named("heavy_hiter")


def test_passkeys_are_kept_when_the_question_is_known_and_lost_when_not():
    rows = passkey_table(["snapkv", "h2o", "quest"], 128, depths=(0.2, 0.6), samples=6)
    aware = {row.policy: row.mean for row in rows if row.query_aware}
    agnostic = {row.policy: row.mean for row in rows if not row.query_aware}
    assert aware["full"] == aware["oracle"] == agnostic["full"] == agnostic["oracle"] == 1
    assert aware["snapkv"] == 1
    assert agnostic["snapkv"] < 0.5
    assert agnostic["h2o"] < 0.2
    # retrieval by the question itself does not care when it is asked
    assert min(aware["quest"], agnostic["quest"]) > 0.4
    assert max(aware["random"], agnostic["random"]) < 0.4


def test_the_needle_is_where_it_should_be():
    key = passkey(3, 0.5, size=SMALL)
    assert key.needle == int(0.5 * (SMALL.tokens - 1))
    assert np.array_equal(key.sample.v[0, key.needle], key.codes[key.code])
    assert np.linalg.norm(key.sample.k[0, key.needle]) == pytest.approx(8)
    full = ask(parse_policy("full"), key.sample, 24)
    assert (key.answer(full.output[:, -1]) == key.code).all()
    gram = key.codes @ key.codes.T
    assert np.abs(gram - np.diag(np.diag(gram))).max() < gram[0, 0]


def test_quality_is_followed_over_the_steps():
    rows = {
        name: drift_over_steps(name, stream_named("drift", SMALL), 24, samples=3, intervals=4)
        for name in ("oracle", "h2o", "random", "full")
    }
    assert rows["h2o"].steps == (24, 48, 72, 96)
    for best, middle, worst in zip(*(rows[name].relative_error for name in ("oracle", "h2o", "random")), strict=True):
        assert best < middle < worst
    assert max(rows["full"].relative_error) < 1e-12
    # what was evicted early cannot be seen later; the oracle chooses from everything
    assert (np.subtract(rows["oracle"].mass_recall, rows["h2o"].mass_recall) > 0.05).all()
    assert drift_over_steps("knorm", stream_named("drift", SMALL), 24).note


def test_policies_of_frames_get_frames():
    rows = by_policy(
        quality_table(
            ["moviechat_like(frame=8,short=1)", "rekv(frame=8,frames=none,local=64)"],
            stream_named("drift", SMALL),
            48,
            samples=3,
        )
    )
    assert rows["moviechat_like(frame=8,short=1)"].mean_attended <= 48 + 8
    assert all(row.evaluable for row in rows.values())


def test_statistics_are_over_seeds():
    statistic = Statistic.of([np.array([1.0, 3.0]), np.array([5.0, 7.0])])
    assert statistic.mean == 4
    assert statistic.standard_error == pytest.approx(np.std([2, 6], ddof=1) / np.sqrt(2))
    assert statistic.p95 == pytest.approx(np.percentile([1, 3, 5, 7], 95))
    assert Statistic.of([np.array([1.0])]).standard_error is None


def test_streams_are_fixed_by_their_seed():
    for stream in synthetic_streams(SMALL).values():
        one, again, other = stream.draw(1), stream.draw(1), stream.draw(2)
        assert np.array_equal(one.k, again.k)
        assert not np.array_equal(one.k, other.k)
    grouped = synthetic_streams(StreamSize(64, 2, 3, 8))["heavy_hitter"].draw(0)
    assert grouped.q.shape == (6, 64, 8)
