"""What a step keeps in memory: exact against a simulation of allocations, and refused before it is timed."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algorithms.models.mapping import Mapping
from algorithms.models.options import StepOptions
from algorithms.models.steps.batch import parse_batch
from algorithms.models.steps.building import Setting
from algorithms.models.steps.ledger import high_water_bytes, ledger_of
from algorithms.models.steps.lowering import lowered
from algorithms.models.steps.operations import Operation, Tensor
from algorithms.models.steps.step import model_step
from algorithms.models.text import load_model, model_names
from hwmodels.chips.accelerator import load_accelerator
from simulator.errors import CapacityError

H100 = load_accelerator("h100_sxm5_80g")


def setting(name, batch, mapping=None, chip=H100, **options):
    return Setting(load_model(name), parse_batch(batch), mapping or Mapping(), StepOptions(**options), chip)


@pytest.mark.parametrize("name", [name for name in model_names() if load_model(name).decoder])
def test_weights_of_a_single_chip_are_all_parameters(name):
    model = load_model(name)
    held = ledger_of(setting(name, "decode 1 of 8", weights="bfloat16")).of("weights")
    assert held == 2 * model.parameters


@pytest.mark.parametrize("options", [{}, {"fusion": "none"}, {"fusion": "modules"}, {"activations": "float8_e4m3"}])
@pytest.mark.parametrize("name", ["llama3-8b", "mixtral-8x7b", "deepseek-v3", "qwen3-next-80b-a3b"])
def test_what_operations_leave_in_memory_is_the_same_without_their_launches(name, options):
    for batch in ("prefill 300 x2, decode 1 of 2000 x3", "decode 1 of 700 x40"):
        whole = setting(name, batch, Mapping(tp=2), **options)
        layers = lowered(whole)
        assert ledger_of(whole) == ledger_of(whole, layers)
        bare = lowered(replace(whole, sizes_alone=True))
        assert [[each.makes for each in layer.operations] for layer in bare] == [
            [each.makes for each in layer.operations] for layer in layers
        ]
        counts = [sum(len(each.launches) for layer in found for each in layer.operations) for found in (bare, layers)]
        assert counts[0] < counts[1]


@pytest.mark.parametrize("mapping", [Mapping(tp=8), Mapping(tp=2, pp=4), Mapping(tp=4, dp=2, ep=8)])
@pytest.mark.parametrize("name", ["llama3-70b", "mixtral-8x7b", "deepseek-v3"])
def test_shards_of_all_chips_hold_the_model_and_what_each_has_for_itself(name, mapping):
    whole = ledger_of(setting(name, "decode 1 of 8")).of("weights")
    parts = mapping.chips * ledger_of(setting(name, "decode 1 of 8", mapping)).of("weights")
    # every group of chips with sequences of its own has all but the experts for itself
    assert whole <= parts <= whole * (mapping.dp + 0.35)


@pytest.mark.parametrize(("name", "copies"), [("llama3-70b", 2), ("llama3.2-1b", 1)])
def test_chips_that_share_layers_alone_hold_tables_and_head_whole(name, copies):
    """A head tied to the table is held once."""
    model, held = load_model(name), {}
    for whole in (False, True):
        mapping = Mapping(tp=4, whole_edges=whole)
        held[whole] = ledger_of(setting(name, "decode 1 of 8", mapping)).of("weights")
    head = model.decoder.outputs[-1]
    assert held[True] - held[False] == 2 * copies * head.inputs * head.outputs * 3 // 4


@pytest.mark.parametrize(
    ("name", "per_token"),
    [
        ("llama3-8b", 32 * 2 * 8 * 128 * 2),
        ("deepseek-v3", 61 * 576 * 2),
        ("opt-13b", 819_200),
        ("mixtral-8x7b", 131_072),
    ],
)
def test_keys_and_values_take_what_is_published_for_a_token(name, per_token):
    batch = "decode 1 of 1000 x3"
    assert ledger_of(setting(name, batch)).of("kv") == 3000 * per_token
    assert ledger_of(setting(name, batch, kv="fp8")).of("kv") == 1500 * per_token


def test_states_stay_as_they_are_while_keys_and_values_grow():
    short, long = (ledger_of(setting("qwen3-next-80b-a3b", f"decode 1 of {total}")).of("kv") for total in (1, 1001))
    assert long - short == 12 * 1000 * 2 * 2 * 256 * 2
    states = 36 * (32 * 128 * 128 * 4 + 3 * 8192 * 2)
    assert short == states + 12 * 2 * 2 * 256 * 2


def test_windows_keep_no_more_than_they_see():
    kept = ledger_of(setting("gemma2-9b", "decode 1 of 8192")).of("kv")
    assert kept == 21 * (8192 + 4096) * 2 * 8 * 256 * 2


def program(seed):
    """Operations that take what was made before them, at random."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 9))
    return [
        Operation(
            f"o{number}",
            "pass",
            takes=tuple(f"t{rng.integers(number)}" for _ in range(rng.integers(4))) if number else (),
            makes=(Tensor(f"t{number}", int(rng.integers(100))),),
        )
        for number in range(count)
    ]


def allocated(operations):
    """Every tensor given room when it is made and freed when nobody asks for it any more, one byte map per moment."""
    most = 0
    for moment in range(len(operations)):
        alive = set()
        for made, operation in enumerate(operations[: moment + 1]):
            for tensor in operation.makes:
                users = [n for n, other in enumerate(operations) if tensor.name in other.takes]
                if max([made, *users]) >= moment:
                    alive.add((tensor.name, tensor.bytes))
        most = max(most, sum(size for _, size in alive))
    return most


@given(st.integers(0, 2**32))
def test_the_high_water_mark_is_that_of_a_simulated_allocation(seed):
    operations = program(seed)
    assert high_water_bytes(operations) == allocated(operations)


@pytest.mark.parametrize("name", ["llama3-8b", "deepseek-v2-lite", "gpt-oss-20b", "whisper-tiny", "conformer-l"])
def test_the_mark_of_real_layers_is_that_of_a_simulated_allocation(name):
    batch = {"whisper-tiny": "audio 1, prefill 64 with 1500", "conformer-l": "audio 1 of 400"}.get(name, "prefill 512")
    layers = list(lowered(setting(name, batch)))
    assert layers and all(layer.operations for layer in layers)
    for layer in layers:
        made = [tensor.name for operation in layer.operations for tensor in operation.makes]
        assert len(made) == len(set(made))
        assert high_water_bytes(layer.operations) == allocated(layer.operations)


def test_seventy_billion_parameters_and_a_long_context_do_not_fit_one_chip_and_what_is_named_does():
    batch = "decode 1 of 131072"
    with pytest.raises(CapacityError) as caught:
        model_step(load_model("llama3-70b"), parse_batch(batch), H100)
    message = str(caught.value)
    assert "weights.text 141.1 GB + kv.text 42.95 GB" in message
    advice = message.split("it would fit with ")[1]
    tp = int(re.search(r"\(tp=(\d+)\)", advice)[1])
    assert ledger_of(setting("llama3-70b", batch, Mapping(tp=tp))).fits
    assert not ledger_of(setting("llama3-70b", batch, Mapping(tp=tp // 2))).fits
    assert "weights in int4 and keys and values in float8_e4m3" in advice, "neither is enough by itself"
    assert ledger_of(setting("llama3-70b", batch, weights="int4", kv="float8_e4m3")).fits
    assert not ledger_of(setting("llama3-70b", batch, kv="float8_e4m3")).fits


def test_a_context_that_is_named_fits_and_one_longer_does_not():
    batch = "decode 1 of 1000000"
    with pytest.raises(CapacityError) as caught:
        model_step(load_model("llama3-8b"), parse_batch(batch), H100)
    tokens = int(re.search(r"a context of ([\d,]+) tokens", str(caught.value))[1].replace(",", ""))
    assert ledger_of(setting("llama3-8b", f"decode 1 of {tokens}")).fits
    assert not ledger_of(setting("llama3-8b", f"decode 1 of {round(tokens * 1.02)}")).fits


def test_a_small_board_is_timed_with_its_weights():
    orin = load_accelerator("jetson_agx_orin_64g")
    step = model_step(load_model("llama3-8b"), parse_batch("decode 1 of 131072"), orin)
    read = 16.06e9 - 2 * 128256 * 4096 + 131072 * 131072
    assert step.seconds > read / orin.memory.bytes_per_second
    assert step.ledger.of("weights") == 2 * 8030261248
