"""Every number and choice of every served profile changes the time of some call: none hides where no row can see it."""

from __future__ import annotations

import dataclasses
from functools import cache
from itertools import product

import pytest

from algorithms.chip.attention.serving import AttentionCall, ServedAttention
from algorithms.chip.layers.grouped import Routing
from algorithms.chip.layers.served import SERVED_PRODUCTS
from algorithms.chip.plan.served import SERVED_KERNELS
from algorithms.workload.shape import Workload
from hwmodels.chips.accelerator import load_accelerator
from simulator.errors import CapacityError

CHANGE = 1.5
"""Times a number, or over it where that would be more than it can be."""
SEEN = 1e-3
"""Relative change of a time that a row can see."""
DIMS = (64, 72, 128, 192, 256)


def calls(kernel):
    """Calls that a kernel is for: short and long ones of every head dimension, few heads per KV head and many."""
    text = kernel.text
    kind = text.kinds[0]
    for number_format in text.formats or ("bfloat16", "float8_e4m3"):
        own = "bfloat16"
        for batch, length in ((1, 128), (4, 1024), (64, 512), (1, 16384), (256, 16384)):
            for call in _shaped(kind, text, batch, length, own):
                cache_format = "" if kind == "attention_encoder" else number_format
                yield AttentionCall(call, cache_format)
                if kind == "attention_decode" and length > 1024:
                    yield AttentionCall(call, cache_format, 128)


def _shaped(kind, text, batch, length, dtype):
    least, most = text.group_sizes
    if kind.startswith("mla"):
        absorbed = text.call.shared_values
        dims = [(576, 512) if absorbed else (192, 128)]
        groups = [(16, 1 if absorbed else 16)]
    else:
        dims = [(dim, dim) for dim in DIMS]
        groups = [(8, 8), (8, 1)] if least <= 1 else [(least, 1)]
        groups = groups if most > 1 else groups[:1]
    for (dim, v_dim), (heads, kv_heads) in product(dims, groups):
        decode = kind in ("attention_decode", "mla_decode")
        if not decode and batch * length > 65536:
            continue
        yield Workload(
            name="",
            phase="decode" if decode else "prefill",
            heads=heads,
            kv_heads=kv_heads,
            q_len=1 if decode else length,
            kv_len=length,
            head_dim=dim,
            v_head_dim=v_dim,
            mask="full" if kind == "attention_encoder" else "causal",
            dtype=dtype,
            batch=batch,
        )


@cache
def planned(name):
    kernel = SERVED_KERNELS.load(name)
    attention = ServedAttention(kernel, load_accelerator(kernel.text.chips[0]))
    taken = {}
    for call in calls(kernel):
        try:
            taken[call] = attention.estimate(call).seconds
        except CapacityError:  # no tiles for this head dimension
            continue
    return attention, tuple(taken), tuple(taken.values())


def changed(value, name):
    if name in ("tiles_in_flight", "items_per_core"):
        return value + 1
    return value / CHANGE if name.endswith("fraction") or name == "exposed_softmax" else value * CHANGE


def seen(before, after):
    return any(abs(new / old - 1) > SEEN for old, new in zip(before, after, strict=True))


def numbers(name):
    text = SERVED_KERNELS.load(name).text
    given = [key for key, value in text.structure.model_dump().items() if isinstance(value, int | float) and value]
    return [*SERVED_KERNELS.load(name).text.fitted_numbers, *given]


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name in SERVED_KERNELS.names() for number in numbers(name)]
)
def test_every_number_of_attention_moves_a_call(name, number):
    attention, asked, before = planned(name)
    profile = attention.profile
    other = dataclasses.replace(profile, **{number: changed(getattr(profile, number), number)})
    after = [attention.with_profile(other).estimate(call).seconds for call in asked]
    assert seen(before, after), f"{name}: no call sees {number}"


@pytest.mark.parametrize("name", [name for name in SERVED_KERNELS.names() if SERVED_KERNELS.load(name).text.tiles])
def test_every_line_of_tiles_is_taken_by_a_call(name):
    text = SERVED_KERNELS.load(name).text
    attention, asked, _ = planned(name)
    taken = set()
    for call in asked:
        dtype = call.cache_format if text.call.products != "fresh" and call.cache_format else call.workload.dtype
        work = call.workload.with_(dtype=dtype)
        taken.add(next((number for number, line in enumerate(text.tiles) if line.fits(work)), None))
    wanted = {
        number
        for number, line in enumerate(text.tiles)
        if line.dtype is None or not text.formats or line.dtype in text.formats
    }
    wanted -= {number for number in wanted if text.tiles[number].dtype is None and _covered(text, number)}
    assert wanted <= taken, f"{name}: no call takes {[text.tiles[number] for number in wanted - taken]}"
    assert attention.kernel.name == name


def _covered(text, number):
    """Whether a line for all formats stands behind one for the only format that the kernel is for."""
    line = text.tiles[number]
    return any(
        other.head_dim == line.head_dim and other.dtype is not None and set(text.formats) == {other.dtype}
        for other in text.tiles
    )


CHOICES = {"before": "nothing", "splits_by": "cores"}
"""Choices of a call, and what most kernels do."""


@pytest.mark.parametrize(
    ("name", "choice"),
    [
        (name, choice)
        for name in SERVED_KERNELS.names()
        for choice, usual in CHOICES.items()
        if getattr(SERVED_KERNELS.load(name).text.call, choice) != usual
    ],
)
def test_what_a_call_does_otherwise_than_most_changes_its_time(name, choice):
    attention, asked, before = planned(name)
    kernel = attention.kernel
    call = kernel.text.call.model_copy(update={choice: CHOICES[choice]})
    bare = dataclasses.replace(kernel, text=kernel.text.model_copy(update={"call": call}))
    other = ServedAttention(bare, attention.chip)
    assert seen(before, [other.estimate(call).seconds for call in asked])


@pytest.mark.parametrize(
    ("name", "number"),
    [(name, number) for name in SERVED_PRODUCTS.names() for number in SERVED_PRODUCTS.load(name).text.fitted_numbers],
)
def test_every_number_of_products_moves_a_call(name, number):
    served = SERVED_PRODUCTS.load(name)
    chip = load_accelerator(served.text.chips[0])
    other = served.with_profile(
        dataclasses.replace(served.profile, **{number: changed(getattr(served.profile, number), number)})
    )
    sizes = ((1, 512, 512), (1, 16384, 8192), (64, 8192, 8192), (8192, 8192, 8192), (32768, 256, 2048))
    before, after = ([_time(one, chip, *size) for size in sizes] for one in (served, other))
    assert seen(before, after), f"{name}: no call sees {number}"


def _time(served, chip, rows, columns, depth):
    if "moe" in served.text.kinds:
        routing = Routing(((max(rows // 8, 1), 8),))
        return served.estimate_parts(served.expert_parts(routing, depth, columns, rows, 8, chip), chip).seconds
    return served.estimate((served.gemm("product", rows, columns, depth),), chip).seconds
