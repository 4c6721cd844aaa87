"""Attention of whole batches in one launch: what vLLM's FlashAttention-2 does with prompts beside single tokens."""

from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path

import pytest

from algorithms.chip.timing.mapping import time_launch
from algorithms.chip.timing.traffic import traffic
from algorithms.models.mapping import SINGLE, Mapping
from algorithms.models.options import StepOptions
from algorithms.models.steps.batch import Batch, Part, parse_batch
from algorithms.models.steps.building import Setting
from algorithms.models.steps.lowering import lowered
from algorithms.models.steps.rates import rowless_block_s, varlen_profile
from algorithms.models.steps.step import model_step, time_operation
from algorithms.models.steps.varlen import rowless_blocks, varlen_launch
from algorithms.models.text import load_model
from algorithms.workload.shape import Workload
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.systems.system import single

CONSUMER = load_accelerator("rtx_4090")
LLAMA = load_model("llama3.1-8b")
TABLE = Path(__file__).parents[4] / "shared/data/measured/llmservingsim/attention_mixed.csv.gz"


def work(new, total, batch=1, heads=32, kv_heads=8):
    mask = "causal" if new > 1 else "full"
    return Workload("", "prefill", heads, kv_heads, new, total, 128, mask=mask, dtype="bfloat16", batch=batch)


def attention(batch, chip=CONSUMER, mapping=SINGLE, **options):
    setting = Setting(
        LLAMA, parse_batch(batch) if isinstance(batch, str) else batch, mapping, StepOptions(**options), chip
    )
    layer = next(each for each in lowered(setting) if any(one.attends for one in each.operations))
    return [operation for operation in layer.operations if operation.attends], setting


def seconds(batch, **options):
    found, setting = attention(batch, **options)
    timed = [time_operation(each, setting, single(setting.chip), "symmetric", "peak") for each in found]
    return sum(each.seconds + each.gap_s for each in timed)


def test_every_sequence_has_blocks_of_64_rows_for_every_query_head():
    launch = varlen_launch([work(300, 812), work(1, 1024, 5)], CONSUMER.cores)
    assert launch.item_count == 32 * (5 + 5)
    loads = sum(min(512 + 64 * (tile + 1), 812) for tile in range(5)) + 5 * 1024
    queries = (300 + 5) * 128 * 2
    assert launch.total("load_bytes") == 32 * (loads * 2 * 128 * 2 + queries), "keys are read for every query head"


def test_heads_that_share_keys_meet_where_they_are_there_at_once_or_the_cache_holds_their_keys():
    def passes(sequences, context, cores=128):
        launch = varlen_launch([work(16, 16), work(1, context, sequences)], cores)
        moved = traffic(launch, CONSUMER, cores)
        return moved.memory_load_bytes / launch.unique_load_bytes

    assert passes(128, 512) == pytest.approx(1, abs=0.01), "34 MB of one head stay until the next reads them"
    assert passes(128, 8192) == pytest.approx(4, abs=0.05), "one head at a time, and 537 MB between two reads"
    assert passes(63, 8192) == pytest.approx(2, abs=0.05), "two heads at a time"
    assert passes(63, 8192, cores=192) == pytest.approx(2, abs=0.05), "three at a time are two passes of four"
    assert passes(20, 32768) == pytest.approx(1, abs=0.05)


def test_the_longest_sequence_is_the_serial_loop_of_one_block():
    profile = varlen_profile(CONSUMER)

    def timed(*works):
        return time_launch(varlen_launch(works, CONSUMER.cores), CONSUMER, profile, "symmetric").seconds

    alone, beside = timed(work(1, 16384)), timed(work(1, 16384), work(16, 16))
    assert beside == pytest.approx(alone, rel=0.01), "idle cores take the prompt"
    assert timed(work(1, 16384, 4)) == pytest.approx(alone, rel=0.1), "128 blocks on 128 cores"
    assert timed(work(1, 16384, 5)) > 1.8 * alone


def test_blocks_beyond_the_rows_of_their_sequence_are_passed_one_after_the_other():
    assert rowless_blocks([(1, 7), (64, 1)]) == 0, "one tile for each"
    assert rowless_blocks([(65, 1), (1, 7)]) == 7
    assert rowless_blocks([(1000, 1), (100, 2), (1, 5)]) == 2 * 14 + 5 * 15
    assert rowless_blocks([]) == 0
    for prompt, tiles in ((64, 1), (1024, 16)):
        (joined,), _ = attention(f"prefill {prompt} x1, decode 1 of 512 x128")
        (launch,) = joined.launches
        passed = 32 * 128 * (tiles - 1)
        beyond_s = (joined.profile.item_gap_s - varlen_profile(CONSUMER).item_gap_s) * launch.item_count
        assert beyond_s == pytest.approx(passed * rowless_block_s(CONSUMER)), "between blocks that have rows"
    assert rowless_block_s(load_accelerator("h100")) == 0, "no such kernel is known there"


def test_a_prompt_brings_single_tokens_into_its_launch_on_chips_that_flash_attention_2_serves():
    (joined,), _ = attention("prefill 64 x1, decode 1 of 8192 x128")
    assert joined.name.endswith("attention prefill and decode")
    apart, _ = attention("prefill 64 x1, decode 1 of 8192 x128", fusion="none")
    assert len(apart) == 2 and joined.flops == sum(each.flops for each in apart)
    assert joined.cache_bytes == sum(each.cache_bytes for each in apart)
    for chip in ("h100", "a100", "b200"):
        assert len(attention("prefill 64 x1, decode 1 of 8192 x128", load_accelerator(chip))[0]) == 2
    assert seconds("prefill 64 x1, decode 1 of 8192 x128") > 3 * seconds("decode 1 of 8192 x128")


@pytest.mark.parametrize("options", [{"kv": "float8"}, {"policy": "streaming_llm(sink=4,recent=60)"}])
def test_what_the_kernel_cannot_read_attends_by_itself(options):
    assert len(attention("prefill 64 x1, decode 1 of 1024 x8", **options)[0]) == 2


def test_single_tokens_alone_are_packed_and_split_and_rings_decide_part_by_part():
    (alone,), _ = attention("decode 1 of 4096 x2")
    assert len(alone.launches) == 2, "parts of the keys are merged"
    keys = alone.launches[0].total("load_bytes")
    assert keys == pytest.approx(2 * 4096 * 8 * 2 * 128 * 2, rel=0.02), "once for the heads that share them"
    assert alone.profile.bandwidth_fraction == varlen_profile(CONSUMER).bandwidth_fraction
    found, _ = attention("prefill 64 x1, decode 1 of 1024 x8", mapping=Mapping(cp=2))
    assert all(launch.reread_bytes is None for each in found for launch in each.launches)


def test_a_step_of_the_model_holds_it():
    step = model_step(LLAMA, parse_batch("prefill 64 x1, decode 1 of 1024 x8"), CONSUMER)
    names = [each.name for layer in step.layers for each in layer.operations if each.kind == "attention"]
    assert len(names) == 1 and names[0].endswith("attention prefill and decode")


def measured(split, gpu, count):
    with gzip.open(TABLE, "rt") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["gpu"] == gpu and row["split"] == split and row["tp"] == "1" and row["prefill_chunk"] != "0"
        ]
    return [row for row in rows if row["model"] == "Llama-3.1-8B"][7 :: len(rows) // count]


def row_error(row, chip):
    new, cached, sequences, context = (
        int(row[name]) for name in ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")
    )
    parts = [Part("extend" if cached else "prefill", new, new + cached)]
    if sequences:
        parts.append(Part("decode", 1, context + 1, sequences))
    return 1e6 * seconds(Batch(tuple(parts)), chip=chip) / float(row["time_us"]) - 1


@pytest.mark.skipif(not TABLE.is_file(), reason="the table of measured attention is not beside the repository")
@pytest.mark.parametrize(("gpu", "chip"), [("RTX4090", "rtx_4090"), ("RTXPRO6000", "rtx_pro_6000_server")])
def test_measured_batches_are_met(gpu, chip):
    errors = [row_error(row, load_accelerator(chip)) for row in measured("validate", gpu, 40)]
    assert len(errors) > 10
    assert math.fsum(map(abs, errors)) / len(errors) < 0.08


@pytest.mark.skipif(not TABLE.is_file(), reason="the table of measured attention is not beside the repository")
@pytest.mark.parametrize(("gpu", "chip"), [("RTX4090", "rtx_4090"), ("RTXPRO6000", "rtx_pro_6000_server")])
def test_long_prompts_beside_many_tokens_are_as_near_as_short_ones(gpu, chip):
    rows = [row for row in measured("validate", gpu, 4000) if row["n_decode"] == "64" and row["kv_decode"] == "512"]
    errors = {
        long: [row_error(row, load_accelerator(chip)) for row in rows if (int(row["prefill_chunk"]) > 512) == long][:8]
        for long in (False, True)
    }
    means = {long: sum(each) / len(each) for long, each in errors.items()}
    assert abs(means[True] - means[False]) < 0.06, "without blocks that have no rows they are 0.08 and 0.16 apart"
