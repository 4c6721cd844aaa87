"""Calculations: anchors that bytes alone give, and mechanisms against what they must obey."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.reading.errors import InputError
from studies.reproductions.calculation import calculation, get_calculation
from studies.reproductions.calculations.allocation import _Buddies, shared_memory
from studies.reproductions.calculations.devices import attention_offload
from studies.reproductions.calculations.features import feature_memory, slot_memory
from studies.reproductions.calculations.folding import folded_encoder
from studies.reproductions.calculations.images import segmentation_network
from studies.reproductions.calculations.kv import kv_step, kv_stream
from studies.reproductions.calculations.lookups import hashed_block, ternary_groups
from studies.reproductions.calculations.rings import keyword_network, look_ahead, stream_network
from studies.reproductions.calculations.states import mamba_decoder, memory_weights, state_size, state_stream
from studies.reproductions.calculations.training import backward_memory, sampled_memory
from studies.reproductions.calculations.weights import expert_memory, weight_shares


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


def test_shorter_chunks_fit_longer_sequences_and_all_weights_shorter_ones():
    lengths = [backward_memory(chunk_tokens=chunk)["streamed_tokens"] for chunk in (40_000, 8_000, 1_000)]
    assert lengths == sorted(lengths)
    found, whole = backward_memory(), backward_memory(tuning="full")
    assert found["ratio"] == pytest.approx(found["streamed_tokens"] / found["checkpointed_tokens"])
    assert whole["checkpointed_tokens"] < found["checkpointed_tokens"] < found["streamed_tokens"]
    with pytest.raises(InputError, match="lora or full"):
        backward_memory(tuning="some")


def test_states_are_those_of_the_rules():
    open_segment = 2 * 2048 * 128
    assert state_size(rule="infini", layers=1, kv_heads=1)["held"] == 128 * 129 + open_segment
    assert state_size(rule="mixture", memories=8, layers=1, kv_heads=1)["held"] == 9 * 128 * 128
    with pytest.raises(InputError, match="has no memories"):
        state_size(rule="infini", memories=4)


def test_only_the_memories_that_a_token_goes_to_are_its_weights():
    found, one = memory_weights(), memory_weights(memories=1, top=1, shared=0)
    own = 2 * 1024 * 1024 + 2 * 4 * 1024
    assert found["all"] - found["active"] == 24 * 2 * own
    # a router to four memories is the one thing more that is common
    assert found["active"] - one["active"] == 24 * (2 * own + 4 * 1024)
    assert one["all"] == one["active"]


def test_a_layer_of_mamba_has_six_times_the_square_of_its_width_and_a_bit():
    """Gu and Dao count `3 E D^2` for the projections, with an expansion E of 2."""
    found = mamba_decoder(width=1024, common=1, own=0)
    assert 6 * 1024**2 < found["layers"] < 6.5 * 1024**2
    assert mamba_decoder(common=6, own=6, groups=4)["layers"] == 30 * mamba_decoder(common=1, own=0)["layers"]


def test_folded_tokens_have_a_quarter_of_the_weights_of_attention_and_four_times_the_scores():
    found, long = folded_encoder(fold=2), folded_encoder(fold=2, tokens=4096, context_tokens=4096)
    attention = 4 * 512 * 512
    assert found["unfolded_weights"] - found["weights"] == 20 * (attention - attention // 4)
    assert found["joules"] < found["unfolded_joules"]
    # scores and their exponentials are most of the energy of a whole recording, and there are more of them
    assert long["joules"] > long["unfolded_joules"]
    assert folded_encoder(folded_layers=0)["joules"] == found["unfolded_joules"]
    with pytest.raises(InputError, match="width of a head"):
        folded_encoder(fold=3)


def test_parts_of_a_model_are_all_of_it():
    found = weight_shares()
    assert sum(found.values()) == pytest.approx(1.0)
    # 4 and 8 squares of the width in every layer
    assert found["feed_forward"] == pytest.approx(2 * found["attention"], rel=1e-3)
    with pytest.raises(InputError, match="no decoder"):
        weight_shares("vit-b-16")


def test_all_rows_are_no_sample():
    whole, part = sampled_memory(share=1.0), sampled_memory(share=0.3)
    assert part["sampled_bytes"] < whole["sampled_bytes"] < whole["adapters_bytes"] < whole["all_bytes"]
    assert part["batch_ratio"] > whole["batch_ratio"] > 1
    with pytest.raises(InputError, match="at most 1"):
        sampled_memory(share=1.5)


def test_a_slower_link_never_helps_and_batches_are_what_fits():
    roomy = 10_000
    fast, slow = (attention_offload(link_bytes_per_second=rate, base_most_sequences=roomy) for rate in (50e9, 2e9))
    assert slow["throughput_ratio"] < fast["throughput_ratio"]
    assert fast["batch"] == slow["batch"]
    # 4 x 96 GB of caches against 4 x 80 GB less the weights of a 70 B model
    assert fast["batch_ratio"] == pytest.approx(0.9 * 4 * 96 / (0.9 * 4 * 80 - 141.1), rel=0.02)


def test_a_host_stops_gpus_after_each_step_and_pools_that_take_turns_less():
    bare, hosted = (attention_offload(host_share=share) for share in (0.0, 0.62))
    assert (bare["base_batch"], bare["host_s"]) == (256, 0.0)
    # as many milliseconds as 62 to 38 parts of a step of 256 sequences of an 8 B model
    assert 0.01 < hosted["host_s"] < 0.03
    assert hosted["throughput_ratio"] > bare["throughput_ratio"]
    with pytest.raises(InputError, match="below 1"):
        attention_offload(host_share=1.0)


@pytest.mark.parametrize("memory", ["videoscan", "streamvln", "sfhand", "long3r"])
def test_memories_of_features_end_and_a_queue_of_all_frames_does_not(memory):
    kept = feature_memory(memory=memory, frames=160 if memory == "videoscan" else 48, width=4)
    everything = feature_memory(memory=memory, frames=48, width=4, keeps="everything")
    assert kept["most_tokens"] == kept["half_most_tokens"]
    assert everything["most_tokens"] == 2 * everything["half_most_tokens"]


def test_one_chain_of_a_memory_can_be_asked_for_and_has_to_exist():
    short = feature_memory(memory="streamchat", frames=40, width=4, branch="short")
    assert short["tokens"] == 20 * 144
    # of which five frames are remembered
    assert short["given_tokens"] == 5 * 144
    with pytest.raises(InputError, match="short, long"):
        feature_memory(memory="streamchat", branch="longer")
    with pytest.raises(InputError, match="memory or everything"):
        feature_memory(keeps="some")


def test_slots_are_as_many_as_they_are_and_segments_add_up():
    assert slot_memory(slots=12, segments=6)["most_tokens"] == 12
    assert slot_memory(segments=6, segment_tokens=10, keeps="everything")["most_tokens"] == 60


@pytest.mark.parametrize("layers", [1, 2, 6])
@pytest.mark.parametrize("right", [0, 3])
def test_layers_on_layers_look_no_further_ahead(layers, right):
    found = look_ahead(layers=layers, left=5, right=right, chunks=8)
    assert found["frames"] == right
    assert found["seconds"] == pytest.approx(right * 0.08)


def test_caches_grow_until_the_left_context_is_full():
    found = look_ahead(layers=2, left=20, right=3, kernel=3, chunks=8)
    assert found["half_kept"] == 2 * 8 * (16 + 2)
    assert found["kept"] == 2 * 8 * (20 + 2)


def test_the_keyword_network_has_the_weights_of_its_code():
    convolutions = 3 * 128 * 256 + 4 * 3 * 256 * 256
    block = 256 + 512 * 256 + 256 * 256 + 2 * 4 * 256 * 256
    assert keyword_network()["parameters"] == convolutions + block + 35 * 256
    # the memory is stepped with a matrix of 256 x 256 and written with a vector, and neither is trained
    stepped = 256 * 256 + 256
    assert keyword_network(frames=1)["macs"] == convolutions + block + 35 * 256 + stepped


def test_half_a_clip_is_half_the_work_and_the_same_buffers():
    whole, half = stream_network(network="a0"), stream_network(network="a0", clip=25)
    assert half["clip_macs"] == whole["clip_macs"] / 2
    assert half["buffer_bytes"] == whole["buffer_bytes"]


@pytest.mark.parametrize("rule", ["mixture", "titans", "bmojo", "ssd"])
def test_states_do_not_grow_and_a_cache_does(rule):
    found = state_stream(rule=rule, tokens=64, chunk=16, key_dim=4, value_dim=4)
    assert found["held"] == found["half_held"] > 0
    cache = state_stream(rule="cache", tokens=64, chunk=16, key_dim=4, value_dim=4)
    assert cache["held"] == 2 * cache["half_held"] == 64 * 8
    with pytest.raises(InputError, match="two chunks"):
        state_stream(rule=rule, tokens=16, chunk=16)


def test_look_ups_read_less_of_more_tables():
    found = hashed_block(width=512)
    assert found["table_bytes"] > 10 * found["dense_bytes"]
    assert found["gathered_bytes"] < found["dense_bytes"] / 10
    assert found["built_macs"] < found["counted_macs"] < found["dense_macs"]


def test_the_segmentation_network_is_as_large_as_it_is_and_objects_share_its_frame():
    one, three = segmentation_network(), segmentation_network(objects=3)
    assert one["parameters"] == pytest.approx(62.1e6, rel=0.005)
    assert three["macs"] - one["macs"] == pytest.approx(2 * one["object_macs"])
    small = segmentation_network(rows=240, columns=432, memory_frames=0)
    assert segmentation_network(memory_frames=0)["macs"] == pytest.approx(4 * small["macs"])
    with pytest.raises(InputError, match="multiple of 16"):
        segmentation_network(rows=481)
