"""Steps as modules of Hugging Face's transformers launch them: how many, over how many bytes, and what they compute."""

from __future__ import annotations

import pytest

from algorithms.models.mapping import Mapping
from algorithms.models.options import StepOptions
from algorithms.models.steps.batch import parse_batch
from algorithms.models.steps.building import Setting
from algorithms.models.steps.lowering import lowered
from algorithms.models.steps.operations import Layer, total_flops, total_weight_bytes
from algorithms.models.steps.step import model_step
from algorithms.models.text import load_model
from hwmodels.chips.accelerator import load_accelerator

A100 = load_accelerator("a100_sxm4_80g")


def layers(model: str, batch: str, fusion: str) -> tuple[Layer, ...]:
    options = StepOptions(fusion=fusion)  # type: ignore[arg-type]
    return lowered(Setting(load_model(model), parse_batch(batch), Mapping(), options, A100))


def layer_of(model: str, batch: str, fusion: str = "modules") -> Layer:
    return next(layer for layer in layers(model, batch, fusion) if layer.times > 1)


def launches(layer: Layer) -> int:
    return sum(len(operation.launches) for operation in layer.operations)


def test_a_layer_of_llama_is_as_many_launches_as_its_modules_write_out():
    norms, rotations, joins, repeats, additions, activation = 2 * 8, 2 * 5, 2, 2, 2, 2
    # of queries, of keys and values, of what was attended; gate, up and down
    products = 6
    # attention in parts over the keys, and their sum
    attention = 2
    counted = norms + rotations + joins + repeats + additions + products + activation
    assert launches(layer_of("llama3-8b", "decode 1 of 1024")) == counted + attention
    counted += 1
    # a prompt has nothing to be joined with
    assert launches(layer_of("llama3-8b", "prefill 1024")) == counted - joins
    # as many KV heads as query heads: nothing to repeat
    assert launches(layer_of("llama2-7b", "prefill 1024")) == counted - joins - repeats


def test_an_encoder_with_layer_norms_caches_nothing_and_is_launched_as_without_fusion():
    for fusion in ("none", "modules"):
        assert launches(layer_of("vit-b-16", "image 1", fusion)) == launches(layer_of("vit-b-16", "image 1", "none"))


@pytest.mark.parametrize("batch", ["prefill 512", "decode 1 of 4096 x4", "extend 16 of 1024"])
def test_work_and_weights_are_the_same_however_they_are_launched(batch):
    plain, modules = (layers("llama3-8b", batch, fusion) for fusion in ("none", "modules"))
    assert total_flops(plain) == total_flops(modules)
    assert total_weight_bytes(plain) == total_weight_bytes(modules)


def test_joining_a_cache_reads_and_writes_all_of_it():
    operations = {each.name.partition(".")[2]: each for each in layer_of("llama2-7b", "decode 1 of 4096 x2").operations}
    (join,) = operations["join keys"].launches
    moved = sum(times * (item.total("load_bytes") + item.total("store_bytes")) for item, times in join.items)
    # two sequences of 4,096 tokens with keys of 4,096 numbers in 16 bits, once each way
    assert moved == 2 * 4096 * 4096 * 2 * 2


def test_modules_take_longer_most_of_all_where_a_host_launches_them():
    def seconds(fusion: str, launch: str) -> float:
        options = StepOptions(fusion=fusion, launch=launch)  # type: ignore[arg-type]
        return model_step(load_model("qwen2.5-0.5b"), parse_batch("decode 1 of 512"), A100, options=options).seconds

    assert seconds("none", "graph") < seconds("modules", "graph") < seconds("modules", "eager")
