"""Steps of whole models: work and bytes in closed form, time that follows from them, and refusals."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.models.blocks import Attention
from algorithms.models.mapping import Mapping
from algorithms.models.options import StepOptions
from algorithms.models.steps.attending import seen_pairs
from algorithms.models.steps.batch import parse_batch
from algorithms.models.steps.building import Setting
from algorithms.models.steps.ledger import ledger_of
from algorithms.models.steps.lowering import attending, lowered
from algorithms.models.steps.operations import total_flops, total_weight_bytes
from algorithms.models.steps.rates import expert_call
from algorithms.models.steps.step import model_step
from algorithms.models.text import load_model
from algorithms.models.values import visible
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from hwmodels.systems.text import load_system

H100 = load_accelerator("h100_sxm5_80g")
DGX = load_system("dgx_h100")


@settings(max_examples=200)
@given(
    new=st.integers(1, 30),
    before=st.integers(0, 30),
    causal=st.booleans(),
    window=st.none() | st.integers(1, 40),
    block=st.none() | st.integers(1, 10),
)
def test_pairs_are_those_that_the_values_see(new, before, causal, window, block):
    if block:
        before, causal, window = 0, False, None
    if not causal:
        window = None
    seen = visible(before + np.arange(new), np.arange(new + before), causal, window, block)
    assert seen_pairs(new, new + before, causal, window, block) == int(np.sum(seen))


DENSE = [
    "llama2-7b",
    "llama3-8b",
    "llama3.2-1b",
    "qwen2.5-7b",
    "qwen3-8b",
    "mistral-7b",
    "gemma2-9b",
    "opt-6.7b",
    "gpt2-xl",
]
BATCHES = ["decode 1 of 700 x3", "prefill 512 x2", "prefill 300 x1, decode 1 of 900 x4", "extend 100 of 900 x2"]


def setting(name, batch, mapping=None, options=None, chip=H100):
    return Setting(load_model(name), parse_batch(batch), mapping or Mapping(), options or StepOptions(), chip)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("name", DENSE)
def test_flops_of_a_dense_step_equal_their_closed_form(name, batch):
    model = load_model(name)
    if name == "gpt2-xl" and "900" in batch:
        batch = batch.replace("900", "1000")
    parts, tower = parse_batch(batch).parts, model.towers[0]
    tokens, sequences = sum(part.tokens for part in parts), sum(part.sequences for part in parts)
    matrices = sum(
        layer.times * weight.size
        for layer in tower.runs
        for weight in tower.layer_weights(layer)
        if weight.role == "matrix"
    )
    pairs = sum(
        layer.times
        * block.heads
        * block.head_dim
        * part.sequences
        * seen_pairs(part.new, part.total, True, block.window)
        for layer in tower.runs
        for block in layer.blocks
        if isinstance(block, Attention)
        for part in parts
    )
    head = tower.outputs[-1]
    expected = 2 * tokens * matrices + 4 * pairs + 2 * sequences * head.inputs * head.outputs
    for fusion in ("engine", "none", "modules"):
        made = lowered(setting(name, batch, options=StepOptions(fusion=fusion)))
        assert total_flops(made) == expected


@pytest.mark.parametrize("name", DENSE)
def test_a_step_reads_every_weight_once_and_a_row_of_each_table(name):
    model = load_model(name)
    tower = model.towers[0]
    tables = sum(weight.size for weight in tower.edge_weights() if weight.role == "table")
    rows = sum(edge.columns for edge in tower.inputs if edge.kind == "table")
    head = tower.outputs[-1]
    tied = head.inputs * head.outputs if head.tied else 0
    small = sum(
        layer.times * weight.size
        for layer in tower.runs
        for weight in tower.layer_weights(layer)
        if (weight.name.endswith("bias") and "norm" not in weight.name) or "_norm.weight" in weight.name
    )
    # biases and norms of single heads go with the launches that apply them
    expected = 2 * (model.parameters - tables + rows + tied - small)
    assert total_weight_bytes(lowered(setting(name, "decode 1 of 64"))) == expected


def test_a_mixture_reads_the_experts_that_tokens_reach():
    model = load_model("mixtral-8x7b")
    one = total_weight_bytes(lowered(setting("mixtral-8x7b", "decode 1 of 64")))
    many = total_weight_bytes(lowered(setting("mixtral-8x7b", "decode 1 of 64 x256")))
    of_expert = 3 * 4096 * 14336 * 2
    assert many - one == 32 * 6 * of_expert + 255 * 4096 * 2
    assert many == 2 * (model.parameters - 32000 * 4096) + 256 * 4096 * 2


def test_latent_attention_reads_its_weights_once_whichever_way():
    model = load_model("deepseek-v2-lite")
    norms = 27 * 512
    for batch, tokens in (("decode 1 of 64 x64", 64), ("prefill 512", 512)):
        made = lowered(setting("deepseek-v2-lite", batch))
        read = total_weight_bytes(made)
        hit = [each for layer in made for each in layer.operations if each.kind == "experts"]
        missed = 26 * (64 * 3 * 2048 * 1408 * 2 - sum(each.weight_bytes for each in hit))
        assert read + missed == 2 * (model.parameters - norms - 102400 * 2048 + tokens * 2048)


def test_a_model_with_states_goes_on_at_the_same_speed_where_one_with_a_cache_slows_down():
    def seconds(name, total):
        batch = parse_batch(f"decode 1 of {total} x32")
        return model_step(load_model(name), batch, DGX, Mapping(tp=4)).seconds

    hybrid, whole = (seconds(name, 65536) / seconds(name, 1024) for name in ("qwen3-next-80b-a3b", "qwen3-30b-a3b"))
    assert 1 < hybrid < 0.6 * whole


@pytest.mark.parametrize(("others", "seen"), [("pass", 0.2), ("cached", 1.0)])
def test_a_layer_that_a_share_of_the_tokens_goes_through_does_that_share_of_the_work(others, seen):
    model = load_model("llama3.2-1b")
    (tower,) = model.towers
    (layer,) = tower.layers
    part = layer.model_copy(update={"share": 0.2, "others": others})
    less = model.model_copy(update={"towers": (tower.model_copy(update={"layers": (part,)}),)})
    batch = parse_batch("extend 1000 of 5000 x2")
    whole, routed = (lowered(Setting(each, batch, Mapping(), StepOptions(), H100)) for each in (model, less))
    products = [
        sum(each.flops for layer in made for each in layer.operations if each.kind == "product")
        for made in (whole, routed)
    ]
    scores = 2 * 2000 * tower.width if others == "pass" else 0
    assert products[1] - scores == pytest.approx(0.2 * products[0])
    (attended,) = {each.flops for layer in routed for each in layer.operations if each.kind == "attention"}
    block = layer.blocks[0]
    pairs = seen_pairs(200, round(seen * 5000), True)
    assert attended == 4 * block.head_dim * block.heads * 2 * pairs
    kept = [ledger_of(Setting(each, batch, Mapping(), StepOptions(), H100)).of("kv") for each in (model, less)]
    assert kept[1] == pytest.approx(seen * kept[0])


def test_states_are_read_and_written_once_whatever_was_seen_before():
    def states(batch, chip=H100):
        made = lowered(setting("qwen3-next-80b-a3b", batch, chip=chip))
        return [(each, layer.times) for layer in made for each in layer.operations if ".states " in each.name]

    short, long = states("decode 1 of 100 x8"), states("decode 1 of 200000 x8")
    assert [(each.cache_bytes, each.flops, times) for each, times in short] == [
        (each.cache_bytes, each.flops, times) for each, times in long
    ]
    ((step, times),) = short
    assert times == 36
    assert step.cache_bytes == 8 * 2 * 32 * 128 * 128 * 4
    other = load_accelerator("tpu_v5e")  # no stack is known that calls a kernel there
    for batch in ("decode 1 of 100 x8", "prefill 512", "extend 64 of 512"):
        ((here, _),), ((there, _),) = states(batch), states(batch, other)
        assert here.flops == there.flops
        assert len(here.launches) > 0 < len(there.launches)
    ((begun, _),), ((gone_on, _),) = states("prefill 64"), states("extend 64 of 512")
    assert gone_on.cache_bytes == 2 * begun.cache_bytes


@pytest.mark.parametrize("name", ["llama3-70b", "qwen3-30b-a3b", "deepseek-v2-lite", "qwen3-next-80b-a3b"])
def test_shards_do_the_work_of_the_whole(name):
    whole = total_flops(lowered(setting(name, "prefill 256")))
    for mapping in (Mapping(tp=2), Mapping(tp=4, ep=4), Mapping(pp=2)):
        part = total_flops(lowered(setting(name, "prefill 256", mapping)))
        # what every chip does for itself: routers and, in latent attention, products that make latents
        assert whole / mapping.tp <= part <= whole / mapping.tp * (1.12 if mapping.tp > 1 else 1.0)


def test_chips_that_share_layers_alone_exchange_nothing_before_or_behind_them():
    (before, *layers, behind) = lowered(setting("llama3-8b", "decode 1 of 512", Mapping(tp=4)))
    (own, *same, alone) = lowered(setting("llama3-8b", "decode 1 of 512", Mapping(tp=4, whole_edges=True)))
    (_, *_, single) = lowered(setting("llama3-8b", "decode 1 of 512"))
    assert layers == same
    exchanged = [[each.name for each in edge.operations if each.communication] for edge in (before, behind, own, alone)]
    assert exchanged[0] and exchanged[1] and not exchanged[2] + exchanged[3]
    assert alone == single


def test_sequences_are_dealt_to_groups_and_tokens_to_rings():
    spread = lowered(setting("llama3-8b", "decode 1 of 512 x8", Mapping(dp=4, ep=0)))
    assert total_flops(spread) == total_flops(lowered(setting("llama3-8b", "decode 1 of 512 x2")))
    ring = lowered(setting("llama3-8b", "prefill 4096", Mapping(cp=4)))
    assert any(each.communication for layer in ring for each in layer.operations)


def test_one_token_takes_as_long_as_its_weights_at_the_rate_of_a_stream():
    step = model_step(load_model("llama3-8b"), parse_batch("decode 1 of 128"), H100)
    streamed = step.weight_bytes / (H100.memory.bytes_per_second * 0.82)
    assert streamed < step.seconds - step.launches * 2e-6 < 1.12 * streamed
    assert step.binding == "memory"
    assert step.tokens_per_second == pytest.approx(1 / step.seconds)
    assert sum(step.seconds_by_kind().values()) == pytest.approx(step.device_s)
    assert sum(step.seconds_by_way().values()) == pytest.approx(step.device_s)


def test_narrower_weights_and_more_chips_are_faster():
    def seconds(mapping, **options):
        batch, model = parse_batch("decode 1 of 512"), load_model("llama3-8b")
        return model_step(model, batch, DGX, mapping, StepOptions(**options)).seconds

    plain = seconds(Mapping())
    assert seconds(Mapping(), weights="float8") < 0.65 * plain
    assert seconds(Mapping(tp=4)) < 0.45 * plain
    assert seconds(Mapping(tp=8), launch="eager") > seconds(Mapping(tp=8))
    assert seconds(Mapping(), fusion="none") > plain
    assert seconds(Mapping(tp=4), exchange="library") > seconds(Mapping(tp=4))


def test_calls_of_experts_have_the_gaps_of_a_stack_and_products_those_of_a_graph():
    model, chip = load_model("gpt-oss-120b"), H100
    step = model_step(model, parse_batch("decode 1 of 512"), chip)
    gaps = {each.name.split(".")[-1]: each.gap_s for layer in step.layers for each in layer.operations}
    call = expert_call("mxfp4", chip)
    assert call is not None
    assert gaps["sort"] == call.gap_s > gaps["router"] == pytest.approx(2e-6)
    assert gaps["experts up"] == 0.0
    assert gaps["experts act"] == gaps["experts down"] == gaps["combine"] == call.edge_s
    eager = model_step(model, parse_batch("decode 1 of 512"), chip, options=StepOptions(launch="eager"))
    assert {each.gap_s for layer in eager.layers for each in layer.operations if each.kind == "experts"} == {2e-6}


def test_activations_are_narrowed_with_weights_of_four_bits_that_have_scales_for_both():
    batch, chip = parse_batch("prefill 4096"), load_accelerator("b200")

    def launches(weights):
        options = StepOptions(weights=weights).of(load_model("llama3-8b"))
        layers = lowered(Setting(load_model("llama3-8b"), batch, Mapping(), options, chip))
        down = next(each for each in layers[1].operations if each.name.endswith("down"))
        return [launch.matrix_format for launch in down.launches]

    assert launches("nvfp4")[-1] == "float4_e2m1" and len(launches("nvfp4")) == 2
    assert launches("mxfp4") == ["bfloat16"]
    assert launches("float8")[-1] == "float8_e4m3"


def test_a_host_that_launches_one_by_one_can_be_what_binds():
    batch = parse_batch("decode 1 of 128")
    small = model_step(load_model("qwen2.5-0.5b"), batch, H100, options=StepOptions(launch="eager"))
    assert small.host_s > small.device_s
    assert small.binding == "host"


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        ("bert-base", "prefill 128 x8"),
        ("vit-b-16", "image 1 x4"),
        ("whisper-tiny", "audio 1, decode 1 of 64 with 1500"),
        ("conformer-l", "audio 1 of 400"),
        ("llava-onevision-0.5b", "image 2, prefill 1500"),
        ("qwen2.5-vl-3b", "image 1 of 1024, prefill 300"),
        ("wan2.1-1.3b", "video 2048 with 512"),
        ("vggt-1b", "image 2"),
        ("gpt-oss-20b", "decode 1 of 500 x2"),
        ("gemma3-1b", "prefill 1024"),
    ],
)
def test_every_kind_of_model_has_a_step(name, batch):
    step = model_step(load_model(name), parse_batch(batch), H100)
    assert step.seconds > 0
    assert step.flops > 0
    assert step.energy_j > 0
    assert {each.kind for layer in step.layers for each in layer.operations} >= {"product", "attention", "norm"}


def test_a_policy_keeps_fewer_keys_and_takes_less_time():
    model, batch = load_model("llama3-8b"), parse_batch("decode 1 of 65536")
    full = model_step(model, batch, H100)
    kept = model_step(model, batch, H100, options=StepOptions(policy="streaming_llm(sink=4,recent=1020)"))
    assert kept.seconds < 0.7 * full.seconds
    assert kept.ledger.of("kv") < 0.05 * full.ledger.of("kv")


@pytest.mark.parametrize(
    ("mapping", "system", "message"),
    [
        (Mapping(tp=3), DGX, "tp: must divide the 32 heads of text (got 3)"),
        (Mapping(pp=33), load_system("superpod_h100"), "pp: must not exceed the 32 layers of text (got 33)"),
        (Mapping(tp=16), DGX, "dgx_h100 has 8 chips, the mapping needs 16"),
    ],
)
def test_mappings_that_cannot_be_are_one_line(mapping, system, message):
    with pytest.raises(InputError) as caught:
        model_step(load_model("llama3-8b"), parse_batch("decode 1 of 8"), system, mapping)
    assert message in str(caught.value)


def test_parts_of_experts_must_divide_the_chips():
    with pytest.raises(InputError, match=r"ep: must divide tp \* dp = 4 \(got 3\)"):
        Mapping(tp=4, ep=3)


def test_options_that_are_not_known_are_one_line_each():
    with pytest.raises(InputError) as caught:
        StepOptions(weights="float9", launch="graf", usable=2.0)
    assert len(caught.value.problems) == 3


def test_the_same_step_again_is_the_same_object():
    first = model_step(load_model("llama3-8b"), parse_batch("decode 1 of 128"), H100)
    assert model_step(load_model("llama3-8b"), parse_batch("decode 1 of 128"), H100) is first


def test_a_step_reads_weights_in_the_format_of_the_checkpoint_unless_told_otherwise():
    def held(**options):
        made = setting("deepseek-v2-lite", "decode 1 of 128", options=StepOptions(**options))
        return ledger_of(made).of("weights")

    model = load_model("deepseek-v2-lite").model_copy(update={"weight_format": "float8_block"})
    narrow = ledger_of(Setting(model, parse_batch("decode 1 of 128"), Mapping(), StepOptions(), H100)).of("weights")
    assert held(weights="bfloat16") == held()
    head = 102400 * 2048
    assert narrow == held(weights="float8_block", head_weights="bfloat16")
    assert held(weights="float8_block", expert_weights="bfloat16") > 0.85 * held()
    assert narrow - held(weights="float8_block") == pytest.approx(head, rel=1e-3)


@pytest.mark.parametrize("system", ["dgx_a100", "dgx_h100", "dgx_b200"])
def test_a_lone_sequence_on_chips_with_one_kv_head_each_spreads_its_keys_over_cores(system):
    def attention_s(context):
        batch = parse_batch(f"decode 1 of {context}")
        step = model_step(load_model("llama3-70b"), batch, load_system(system), Mapping(tp=8))
        each = [op.seconds for layer in step.layers for op in layer.operations if op.kind == "attention"]
        return each[0]

    # 4 MiB more of keys and values: a few microseconds on all cores, 155 on one
    assert attention_s(8192) - attention_s(128) < 30e-6


def test_the_unet_multiplies_every_window_of_every_map_once():
    """Convolutions are products of as many rows as their result has places: 0.8 TFLOP for an image of 512 x 512."""
    context, expected = 77, 0
    for tower in load_model("sd1.5-unet").towers:
        places, width = tower.tokens or 0, tower.width
        for edge in (*tower.inputs, *tower.outputs):
            if edge.kind == "linear":
                expected += 2 * (1 if edge.per == "sequence" else places) * edge.inputs * edge.outputs
        (layer,) = tower.layers
        attends = 4 * width * width + 2 * width * width + 2 * width * 4 * width + width * 4 * width
        of_context = 2 * 768 * width * context
        expected += layer.times * 2 * (places * attends + of_context + 2 * places * (places + context) * width)
    assert total_flops(lowered(setting("sd1.5-unet", "image 1 of 4096 with 77"))) == expected
    assert 0.8e12 < expected < 0.81e12


@pytest.mark.parametrize(
    "name", ["llama3-8b", "deepseek-v2-lite", "qwen3-next-80b-a3b", "gpt-oss-20b", "gemma3-1b", "qwen3-0.6b"]
)
@pytest.mark.parametrize(
    "batch", ["prefill 300 x2", "decode 1 of 400 x3", "extend 7 of 90", "prefill 9, decode 1 of 9"]
)
@pytest.mark.parametrize("chip", ["h100_sxm5_80g", "rtx_pro_6000_server"])
def test_what_attends_by_itself_is_what_attends_in_the_whole(name, batch, chip):
    asked = setting(name, batch, chip=load_accelerator(chip))
    kept = [
        replace(layer, operations=tuple(each for each in layer.operations if each.attends)) for layer in lowered(asked)
    ]
    assert list(attending(asked)) == [layer for layer in kept if layer.operations]
