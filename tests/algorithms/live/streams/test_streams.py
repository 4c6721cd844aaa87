"""Streams of frames in time: what a camera sends is taken in, waits or is dropped; policies see frames as frames."""

from __future__ import annotations

import math

import pytest

from algorithms.live.streams.metrics import Trend, stream_metrics
from algorithms.live.streams.run import watch
from algorithms.live.streams.scenario import load_stream, stream_names
from algorithms.live.streams.watching import Watcher
from algorithms.models.steps.batch import parse_batch
from algorithms.models.steps.step import model_step
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.costs.energy import energy_table
from hwmodels.reading.errors import InputError

SMALL = """
name: small
frames: {rate: 10, seconds: 3, tokens: 16}
questions: {every: 1 s, prompt: 8, answer: 4}
model: llava-onevision-0.5b
deployment: {chip: jetson_agx_orin_64g}
"""


@pytest.fixture
def stream(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return lambda **changes: load_stream(path, {name.replace("__", "."): value for name, value in changes.items()})


def test_every_frame_is_taken_in_dropped_or_left(stream):
    for overflow in ("queue", "drop", "newest"):
        for rate in (10, 60, 200):
            run = watch(stream(frames__overflow=overflow, frames__rate=rate))
            under_way = run.came - len(run.frames) - run.dropped - run.left
            assert under_way in (0, 1)
            assert run.came == 3 * rate
            assert all(a.ended_ns <= b.began_ns for a, b in zip(run.frames, run.frames[1:], strict=False))
            assert all(each.came_ns <= each.began_ns < each.ended_ns for each in run.frames)
            if overflow != "queue":
                assert run.most_waiting <= 1
            else:
                assert run.dropped == 0


def test_a_camera_faster_than_the_model_is_not_kept_up_with(stream):
    slow, fast = stream_metrics(watch(stream())), stream_metrics(watch(stream(frames__rate=200)))
    assert slow.keeps_up and slow.taken_in == 30
    assert not fast.keeps_up
    assert fast.busy_share == pytest.approx(1, abs=0.02)
    assert fast.frames_per_second == pytest.approx(1 / fast.work.mean_s, rel=0.1), "answers take the rest"
    assert slow.answer.count == 2, "the third question comes as the camera stops"


def test_a_window_holds_its_frames_and_then_nothing_changes(stream):
    window = "streaming_llm(sink=4,recent=60)"
    kept, full = watch(stream(policy=window)), watch(stream())
    assert full.frames[-1].near_bytes > 3 * kept.frames[-1].near_bytes
    assert full.frames[-1].kept_tokens == 16 + 30 * 16 + 2 * (8 + 3)
    metrics = stream_metrics(kept)
    assert metrics.work_trend.constant and metrics.memory_trend.constant
    assert stream_metrics(full).memory_trend.constant is False


def test_frames_are_vision_to_the_policy_and_answers_are_text(stream):
    policy = "streaming_vlm(vision_window=64,text_sink=8,text_window=8)"
    watcher = Watcher(stream(policy=policy))
    for _ in range(20):
        frame = watcher.frame()
    # sixteen tokens of instructions of which eight are sinks and eight the newest text, four frames, and the new one
    assert 64 <= frame.kept_tokens <= 8 + 8 + 64 + 16
    before = frame.kept_tokens
    watcher.question()
    for _ in range(30):
        token = watcher.token()
    assert token.kept_tokens <= before + 16, "text pushes out text, not frames"


def test_what_a_question_retrieves_is_fetched_before_its_first_token(stream):
    def asked(frames):
        watcher = Watcher(stream(policy=f"rekv(frame=16,frames={frames},local=64)", frames__seconds=6))
        for _ in range(50):
            frame = watcher.frame()
        return frame, watcher.question(), watcher.token(), watcher.token()

    few, many = asked(4), asked(40)
    assert few[0] == many[0], "while frames come, only the window is seen"
    question, instructions = 8, 16
    for frames, (_, first, second, third) in ((4, few), (40, many)):
        attended = frames * 16 + question + (50 * 16 + instructions) % 16
        assert [each.kept_tokens for each in (first, second, third)] == [attended, attended + 1, attended + 2]
    assert many[1].seconds > few[1].seconds, "more frames are fetched, and attended"


def test_encoding_and_policies_take_time(stream):
    with_encoder, without = Watcher(stream()), Watcher(stream(frames__encode=""))
    assert with_encoder.encoder_s > 0
    difference = with_encoder.frame().seconds - without.frame().seconds
    assert difference == pytest.approx(with_encoder.encoder_s)


def test_a_full_memory_ends_the_stream(stream):
    watcher = Watcher(stream(frames__tokens=196))
    capacity = watcher.chip.memory.capacity_bytes
    run = watch(stream(frames__tokens=196, deployment__usable=(watcher.fixed_bytes + 50e6) / capacity))
    assert run.full_ns is not None
    assert run.fixed_bytes + run.frames[-1].near_bytes > run.usable_bytes
    assert run.fixed_bytes + run.frames[-2].near_bytes <= run.usable_bytes
    assert not stream_metrics(run).keeps_up


def test_trends_are_those_of_straight_lines():
    assert Trend.of([5.0] * 40).constant
    rising = Trend.of([100.0 + each for each in range(40)])
    assert rising.per_frame == pytest.approx(1)
    assert rising.change == pytest.approx(20 / 129.5)
    assert math.isnan(Trend.of([1.0] * 10).change)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames__rate": -1}, "frames.rate: must be greater than 0"),
        ({"frames__overflow": "lose"}, "frames.overflow: must be 'queue', 'drop' or 'newest'"),
        ({"policy": "streaming_lm"}, "small.yaml:2: policy: unknown KV policy 'streaming_lm'"),
        ({"model": "llama3-8b"}, "frames.encode: llama3-8b has no encoder"),
        ({"deployment__chip": "h1000"}, "unknown chip 'h1000'"),
        ({"deployment__replicas": 2}, "deployment.replicas: must be 1"),
        ({"model": "gemma2-2b", "frames__encode": ""}, "attend in different ways"),
    ],
)
def test_bad_streams_are_named(stream, changes, message):
    with pytest.raises(InputError, match=message):
        watch(stream(**changes))


def test_shipped_streams_can_be_read():
    assert "camera-orin" in stream_names()
    for name in stream_names():
        assert load_stream(name).text.name == name


MINE = """
base: abstract_streaming_dataflow
name: mine
cores: 256
tiers:
  ideal: {capacity_bytes: 16 GB, bytes_per_second: 204.8 GB/s, latency_s: 100 ns}
"""


def test_a_chip_of_ones_own_takes_the_place_of_the_shipped_one(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(MINE)
    seconds = {"frames.seconds": 3}
    shipped = stream_metrics(watch(load_stream("camera-dataflow", seconds)))
    mine = stream_metrics(watch(load_stream("camera-dataflow", seconds, load_accelerator(str(path)))))
    assert mine.keeps_up and not shipped.keeps_up
    assert shipped.dropped > 20, "one unit per operator is too slow for a camera"


def test_energy_is_that_of_the_work_and_of_waiting(stream):
    run = watch(stream(questions=None))
    watcher = Watcher(stream())
    steps = [watcher.frame() for _ in range(30)]
    assert run.work_j == pytest.approx(sum(step.joules for step in steps))
    waiting_w = energy_table(watcher.chip).waiting_w
    metrics = stream_metrics(run)
    assert metrics.taken_in == 30
    assert metrics.energy_j == pytest.approx(run.work_j + 3 * waiting_w)
    whole = model_step(watcher.steps.model, parse_batch("frame 1 x1"), watcher.steps.system)
    first = steps[0].joules + steps[0].seconds * waiting_w
    assert first > whole.energy_j > 0, "a frame is encoded, and then taken in"
    assert steps[-1].joules > steps[0].joules, "more is read"
