"""Terms of steps of whole models: together they are the whole step, for every kind of attention, layer and mapping."""

from __future__ import annotations

import numpy as np
import pytest

from algorithms.live.steps import Part
from algorithms.live.times.model_steps import ModelSteps
from algorithms.live.times.table import TableTimes
from algorithms.models.mapping import SINGLE, Mapping
from algorithms.models.options import StepOptions
from algorithms.models.steps.batch import parse_batch
from algorithms.models.steps.step import model_step
from algorithms.models.text import load_model
from hwmodels.chips.accelerator import load_accelerator
from hwmodels.reading.errors import InputError
from hwmodels.systems.system import single
from hwmodels.systems.text import load_system
from simulator.errors import CapacityError

ONE = single(load_accelerator("h100"))
MIXED = "extend 512 of 2048 x1, prefill 300 x1, decode 1 of 1024 x40"


def steps_of(name, system=ONE, mapping=SINGLE, **options):
    return ModelSteps(load_model(name), system, mapping, StepOptions(**options))


@pytest.mark.parametrize("name", ["llama3-8b", "mistral-7b", "qwen3-30b-a3b", "deepseek-v2-lite", "gemma2-2b"])
def test_terms_add_up_to_the_whole_step(name):
    source = steps_of(name)
    whole = model_step(source.model, parse_batch(MIXED), ONE)
    read = TableTimes(source, exact=True).mixed(40, 40 * 1024, (Part(512, 1536), Part(300, 0)))
    assert read == pytest.approx(whole.seconds * 1e9, abs=1)


def test_terms_add_up_on_several_chips_and_without_graphs():
    system, mapping = load_system("dgx_h200"), Mapping(tp=8)
    source = steps_of("llama3-70b", system, mapping, launch="eager")
    whole = model_step(source.model, parse_batch(MIXED), system, mapping, source.options)
    assert TableTimes(source, exact=True).mixed(40, 40 * 1024, (Part(512, 1536), Part(300, 0))) == pytest.approx(
        whole.seconds * 1e9, abs=1
    )
    source = steps_of("qwen3-0.6b", launch="eager")
    small = model_step(source.model, parse_batch("decode 1 of 64 x1"), ONE, options=source.options)
    assert small.host_s > small.device_s, "the host is what it waits for"
    (read,) = TableTimes(source, exact=True).decode(1, np.array([64]))
    assert read == pytest.approx(small.seconds * 1e9, abs=1)


def test_terms_add_up_where_a_batch_attends_in_one_launch_and_what_is_read_of_it_is_near():
    system = single(load_accelerator("rtx_4090"))
    source = steps_of("qwen3-0.6b", system)
    assert source.joins and not steps_of("qwen3-0.6b").joins
    prompts = (Part(512, 1536), Part(300, 0))
    whole = model_step(source.model, parse_batch(MIXED), system)
    exact = TableTimes(source, exact=True, joined=source).mixed(40, 40 * 1024, prompts)
    assert exact == pytest.approx(whole.seconds * 1e9, abs=1)
    table = TableTimes(source, joined=source)
    assert table.exact_mixed(40, 40 * 1024, prompts) == exact
    assert table.mixed(40, 40 * 1024, prompts) == pytest.approx(exact, rel=0.1)
    long = table.mixed(1, 16384, (Part(16, 0),)), table.mixed(1, 16384, (Part(32, 0),))
    assert long[1] == pytest.approx(long[0], rel=0.02), "a prompt on idle cores takes no time of its own"
    apart = TableTimes(source).mixed(128, 128 * 8192, prompts)
    assert table.mixed(128, 128 * 8192, prompts) > 1.3 * apart, "heads that share keys read them one after the other"


def test_groups_with_sequences_of_their_own_work_in_step():
    system, mapping = load_system("dgx_h200"), Mapping(tp=1, dp=4, ep=4)
    source = steps_of("qwen3-30b-a3b", system, mapping)
    whole = model_step(source.model, parse_batch("decode 1 of 1024 x160"), system, mapping)
    (read,) = TableTimes(source, exact=True).decode(40, np.array([40 * 1024]))
    assert read == pytest.approx(whole.seconds * 1e9, abs=1)


def test_blocks_are_what_weights_and_the_largest_step_leave():
    source = steps_of("llama3-8b", usable=0.9)
    assert source.cached_bytes(16) == 16 * 32 * 2 * 8 * 128 * 2
    blocks = source.blocks(16, 2048)
    ledger = source.ledger(2048)
    held = ledger.of("weights") + ledger.of("activations") + blocks * source.cached_bytes(16)
    assert held <= ledger.usable_bytes < held + source.cached_bytes(16)
    assert source.blocks(16, 8192) < blocks


def test_what_cannot_be_served_is_refused():
    with pytest.raises(CapacityError, match="leave no room for keys and values"):
        steps_of("llama3-70b").blocks(16, 2048)
    with pytest.raises(InputError, match="pp: must be 1"):
        steps_of("llama3-8b", load_system("dgx_h200"), Mapping(pp=2))
    with pytest.raises(InputError, match="makes no tokens"):
        steps_of("bert-base")
    with pytest.raises(InputError, match="has 1 chips, the mapping needs 2"):
        steps_of("llama3-8b", ONE, Mapping(tp=2))
