"""Calculations: anchors that bytes alone give, and mechanisms against what they must obey."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.reading.errors import InputError
from studies.reproductions.calculation import calculation, get_calculation
from studies.reproductions.calculations.allocation import _Buddies, shared_memory
from studies.reproductions.calculations.devices import attention_offload
from studies.reproductions.calculations.experts import expert_memory
from studies.reproductions.calculations.kv import kv_step, kv_stream
from studies.reproductions.calculations.lookups import ternary_groups
from studies.reproductions.calculations.states import state_size
from studies.reproductions.calculations.training import backward_memory


def test_names_are_unique_and_near_ones_are_suggested():
    with pytest.raises(InputError, match=r"kv_step.*both"):
        calculation("kv_step")(lambda: {})
    with pytest.raises(InputError, match="kv_step"):
        get_calculation("kv_stp")


def test_a_full_cache_keeps_and_reads_every_token_once():
    found = kv_step(policy="full", model="llama3-8b", context_tokens=4096)
    assert found["token_bytes"] == 2 * 8 * 128 * 2 * 32
    assert found["near_bytes"] == 4098 * found["token_bytes"]
    assert found["attended"] == 4098


def test_fewer_bits_are_fewer_bytes():
    half = kv_step(model="llama3-8b", context_tokens=1024, element_bytes=0.5)
    assert half["near_bytes"] * 4 == kv_step(model="llama3-8b", context_tokens=1024)["near_bytes"]


def test_a_stream_of_frames_fills_a_window_and_stays():
    window = kv_stream(policy="streaming_llm(sink=4,recent=60)", frames=16, frame_tokens=16, layers=2)
    full = kv_stream(policy="full", frames=16, frame_tokens=16, layers=2)
    assert window["near_bytes"] == window["half_near_bytes"] == 64 * window["token_bytes"]
    assert full["near_bytes"] == 2 * full["half_near_bytes"] == 256 * full["token_bytes"]


def test_retrieval_keeps_everything_far():
    found = kv_step(policy="rekv(local=256)", model="qwen2-7b", context_tokens=8192)
    assert found["far_bytes"] == pytest.approx(8194 * 57_344, rel=0.02)
    assert found["near_bytes"] < found["far_bytes"]


@given(st.integers(64, 5000), st.lists(st.integers(1, 700), min_size=1, max_size=40), st.randoms())
def test_buddies_never_share_a_slot_and_join_again(slots, sizes, rng):
    memory = _Buddies(slots)
    taken: list[tuple[int, int]] = []
    for size in sizes:
        start = memory.take(size)
        if start is not None:
            block = 1 << (size - 1).bit_length()
            assert start + block <= slots
            assert all(start + block <= other or other + room <= start for other, room in taken)
            taken.append((start, block))
    rng.shuffle(taken)
    for start, _ in taken:
        memory.give(start)
    assert sum(block * len(starts) for block, starts in memory._free.items()) == slots
    assert memory.take(1 << (slots.bit_length() - 1)) is not None


@pytest.mark.slow
def test_pages_hold_more_than_rooms_and_exact_rooms_more_than_long_ones():
    useful = {room: shared_memory(room=room)["useful"] for room in ("pages", "exact", "power_of_two", "longest")}
    assert list(useful.values()) == sorted(useful.values(), reverse=True)
    assert useful["pages"] > 0.95


def test_an_unknown_room_is_one_line():
    with pytest.raises(InputError, match="power_of_two"):
        shared_memory(room="power_of_too")


@settings(max_examples=10, deadline=None)
@given(st.floats(0.2, 5))
def test_a_switch_takes_as_long_as_its_bytes(factor):
    base = expert_memory(switch_bytes_per_second=1e12, requests=10)
    other = expert_memory(switch_bytes_per_second=factor * 1e12, requests=10)
    assert other["switch_s"] == pytest.approx(base["switch_s"] / factor)
    assert base["expert_bytes"] == pytest.approx(2 * 6.738e9, rel=1e-3)


def test_a_third_weight_per_index_is_the_fastest():
    rates = {group: ternary_groups(group=group)["weights_per_cycle"] for group in (2, 3, 4)}
    assert max(rates, key=lambda group: rates[group]) == 3


def test_more_chunks_fit_longer_sequences_and_never_more_than_without_activations():
    lengths = [backward_memory(chunks=chunks)["streamed_tokens"] for chunks in (1, 4, 16, 64)]
    assert lengths == sorted(lengths)
    found = backward_memory()
    assert found["whole_tokens"] < found["checkpointed_tokens"] < found["streamed_tokens"]
    with pytest.raises(InputError, match="lora or full"):
        backward_memory(tuning="some")


def test_states_are_those_of_the_rules():
    open_segment = 2 * 2048 * 128
    assert state_size(rule="infini", layers=1, kv_heads=1)["held"] == 128 * 129 + open_segment
    assert state_size(rule="mixture", memories=8, layers=1, kv_heads=1)["held"] == 9 * 128 * 128
    with pytest.raises(InputError, match="has no memories"):
        state_size(rule="infini", memories=4)


def test_a_slower_link_never_helps_and_batches_are_what_fits():
    fast, slow = (attention_offload(link_bytes_per_second=rate) for rate in (50e9, 2e9))
    assert slow["throughput_ratio"] < fast["throughput_ratio"]
    assert fast["batch"] == slow["batch"]
    # 4 x 96 GB of caches against 4 x 80 GB less the weights of a 70 B model
    assert fast["batch_ratio"] == pytest.approx(0.9 * 4 * 96 / (0.9 * 4 * 80 - 141.1), rel=0.02)
