"""Workloads: counts against brute force, presets against published totals, every kind of bad input."""

from __future__ import annotations

import contextlib
import dataclasses
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.workload.text import (
    DTYPE_BYTES,
    LatentAttention,
    Workload,
    draw_tensors,
    load_tensors,
    load_workload,
    workload_names,
    workload_of_tensors,
)
from hwmodels.reading.cited import UNCITED
from hwmodels.reading.errors import InputError


def small(**changes):
    base = Workload("small", "prefill", heads=4, kv_heads=2, q_len=3, kv_len=5, head_dim=8)
    return base.with_(**changes)


@settings(max_examples=200)
@given(
    q_len=st.integers(1, 20),
    kv_len=st.integers(1, 20),
    mask=st.sampled_from(["full", "causal"]),
    batch=st.integers(1, 3),
)
def test_counts_equal_a_count_of_every_visible_pair(q_len, kv_len, mask, batch):
    work = small(q_len=q_len, kv_len=kv_len, mask=mask, batch=batch, v_head_dim=6)
    visible = [(i, j) for i in range(q_len) for j in range(kv_len) if mask == "full" or j <= i + kv_len - q_len]
    assert work.pairs_per_head == len(visible)
    assert work.exponentials == batch * 4 * len(visible)
    assert work.attention_flops == 2 * (8 + 6) * batch * 4 * len(visible)


def test_bytes_are_those_of_the_tensors_drawn():
    work = small(batch=2, v_head_dim=6, dtype="bfloat16")
    q, k, v = draw_tensors(work)
    assert (q.shape, k.shape, v.shape) == ((2, 4, 3, 8), (2, 2, 5, 8), (2, 2, 5, 6))
    assert (work.q_bytes, work.k_bytes, work.v_bytes) == (2 * q.size, 2 * k.size, 2 * v.size)
    assert work.out_bytes == 2 * (2 * 4 * 3 * 6)
    assert work.compulsory_bytes == work.q_bytes + work.k_bytes + work.v_bytes + work.out_bytes
    assert work.cache_bytes == work.k_bytes + work.v_bytes


def test_tensors_depend_on_the_seed_alone_and_each_has_its_own_stream():
    q, k, v = draw_tensors(small())
    again = draw_tensors(small())
    assert all(np.array_equal(a, b) for a, b in zip((q, k, v), again, strict=True))
    assert not np.array_equal(k, draw_tensors(small(seed=1))[1])
    longer = draw_tensors(small(q_len=7))
    assert np.array_equal(longer[1], k) and np.array_equal(longer[2], v)
    assert not np.array_equal(k, v)


# Parameters per layer of the attention projections, from the published totals.
# DeepSeek-V2 and V3: sums over W_DQ, W_UQ, W_QR, W_DKV, W_KR, W_UK, W_UV, W_O of the papers' dimensions.
@pytest.mark.parametrize(
    ("name", "parameters", "cache_elements"),
    [
        ("deepseek-v2", 149_225_472, 576),
        ("deepseek-v3", 187_105_280, 576),
        ("llama2-7b", 4 * 4096 * 4096, 8192),
        ("llama3-8b", 2 * 4096 * 4096 + 2 * 4096 * 1024, 2048),
        ("llama3-70b", 2 * 8192 * 8192 + 2 * 8192 * 1024, 2048),
        ("qwen2.5-7b", 2 * 3584 * 3584 + 2 * 3584 * 512, 1024),
        ("bert-base", 4 * 768 * 768, 1536),
        ("gpt2-medium", 4 * 1024 * 1024, 2048),
        ("minilm-l6", 4 * 384 * 384, 768),
    ],
)
def test_presets_have_the_published_weights_and_cache_sizes(name, parameters, cache_elements):
    preset = load_workload(name)
    assert preset.projection_parameters == parameters
    assert preset.cache_elements_per_token == cache_elements
    assert preset.name == name


def test_a_projection_without_a_query_latent_is_counted_directly():
    lite = Workload(
        "lite",
        "decode",
        heads=16,
        kv_heads=16,
        q_len=1,
        kv_len=8,
        head_dim=192,
        v_head_dim=128,
        hidden=2048,
        latent=LatentAttention(kv_lora_rank=512, qk_rope_head_dim=64),
    )
    assert lite.projection_parameters == (2048 * 16 * 192 + 2048 * 576 + 512 * 16 * (128 + 128) + 16 * 128 * 2048)


@pytest.mark.parametrize("name", workload_names())
def test_every_number_of_a_preset_is_cited(name):
    preset = load_workload(name)
    cited = dict(preset.citations)
    numbers = {
        field.name
        for field in dataclasses.fields(preset)
        if isinstance(getattr(preset, field.name), int) and field.name not in ("seed", "batch")
    }
    if preset.v_head_dim == preset.head_dim:
        numbers.discard("v_head_dim")
    if preset.latent is not None:
        numbers |= {f"latent.{field.name}" for field in dataclasses.fields(preset.latent)}
    assert numbers <= set(cited)
    assert all(source and UNCITED not in source for source in cited.values())
    assert preset.source
    html = preset._repr_html_()
    assert html.count("<tr>") == html.count("</tr>") and preset.name in html and "attention_flops" in html


def test_with_drops_the_citations_it_invalidates_and_keeps_value_width_in_step():
    preset = load_workload("llama3-8b").with_(head_dim=64, kv_len=4096, q_len=1, phase="decode")
    assert {"head_dim", "kv_len", "q_len"}.isdisjoint(dict(preset.citations))
    assert "heads" in dict(preset.citations)
    assert preset.v_head_dim == 64
    assert load_workload("deepseek-v3").with_(head_dim=256).v_head_dim == 128
    latentless = load_workload("deepseek-v3").with_(latent=None)
    assert not any(name.startswith("latent") for name, _ in latentless.citations)


def test_html_escapes_names():
    assert "<script>" not in small(name="<script>")._repr_html_()


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {"heads": 0, "kv_heads": -1},
            ["heads: must be at least 1 (got 0)", "kv_heads: must be at least 1 (got -1)"],
        ),
        ({"q_len": 2.5}, ["q_len: must be a whole number (got 2.5)"]),
        ({"kv_heads": 3}, ["kv_heads: must divide heads = 4 (got 3)"]),
        ({"phase": "decode", "q_len": 9}, ["q_len: must not exceed kv_len = 5 when decoding (got 9)"]),
        ({"phase": "train"}, ["phase: must be one of prefill, decode (got 'train')"]),
        (
            {"dtype": "floot16"},
            [f"dtype: must be one of {', '.join(DTYPE_BYTES)} (got 'floot16'); did you mean 'float16'?"],
        ),
        ({"kv_head": 2}, ["kv_head: unknown field of a workload; did you mean 'kv_heads'?"]),
        ({"seed": -1}, ["seed: must be a whole number of at least 0 (got -1)"]),
        (
            {"latent": LatentAttention(kv_lora_rank=0, qk_rope_head_dim=8)},
            ["latent.kv_lora_rank: must be at least 1 (got 0)"],
        ),
        (
            {"latent": LatentAttention(kv_lora_rank=4, qk_rope_head_dim=8)},
            ["latent.qk_rope_head_dim: must be below head_dim = 8 (got 8)"],
        ),
    ],
)
def test_bad_values_are_refused_one_line_each(changes, lines):
    with pytest.raises(InputError) as caught:
        small(**changes)
    assert str(caught.value).splitlines() == lines


def test_projection_weights_need_the_hidden_size():
    with pytest.raises(InputError, match="hidden: must be known"):
        _ = small().projection_parameters


def test_unknown_presets_name_the_nearest():
    with pytest.raises(InputError, match="unknown workload 'lama3-8b'; did you mean 'llama3-8b'"):
        load_workload("lama3-8b")


GOOD = """\
name: mine
source: own model
heads: 8
kv_heads: 2
head_dim: 64
q_len: 4
kv_len: {value: 4, source: x}
"""


def test_a_users_file_may_give_plain_numbers(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    mine = load_workload(path)
    assert (mine.heads, mine.kv_heads, mine.head_dim, mine.kv_len) == (8, 2, 64, 4)
    assert dict(mine.citations)["kv_len"] == "x"
    assert load_workload(str(path)) == mine


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (GOOD.replace("kv_heads: 2", "kv_heads: 3"), [":4: kv_heads: must divide heads = 8 (got 3)"]),
        (
            GOOD.replace("q_len: 4", "q_len: 0").replace("head_dim: 64", "head_dim: -1"),
            [":6: q_len: must be at least 1 (got 0)", ":5: head_dim: must be at least 1 (got -1)"],
        ),
        (
            GOOD.replace("q_len: 4", "q_len: true").replace("head_dim: 64", "head_dim: 9999999999999"),
            [":6: q_len: must be a number (got true)"],
        ),
        (
            GOOD.replace("head_dim: 64", "head_dim: 9999999999999"),
            [":5: head_dim: must be at most 1,000,000,000,000 (got 9,999,999,999,999)"],
        ),
        (GOOD + "hedden: 3\n", [":8: hedden: unknown key; did you mean 'hidden'?"]),
    ],
)
def test_bad_files_are_refused_with_their_lines(tmp_path, text, lines):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_workload(path)
    found = str(caught.value).splitlines()
    assert sorted(found) == sorted(str(path) + line for line in lines)


def test_missing_files_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_workload(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="no such file"):
        load_tensors(tmp_path / "none.npz")


def test_tensors_from_a_file_set_the_shape(tmp_path):
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((4, 3, 8)), rng.standard_normal((2, 5, 8)), rng.standard_normal((2, 5, 6))
    np.savez(tmp_path / "t.npz", q=q.astype(np.float32), k=k.astype(np.float32), v=v, token_ids=[1])
    loaded = load_tensors(tmp_path / "t.npz")
    assert [tensor.shape for tensor in loaded] == [(1, 4, 3, 8), (1, 2, 5, 8), (1, 2, 5, 6)]
    np.testing.assert_array_equal(loaded[0][0], q.astype(np.float32))
    shaped = workload_of_tensors(load_workload("llama3-8b"), *loaded)
    assert (shaped.q_shape, shaped.v_shape) == ((1, 4, 3, 8), (1, 2, 5, 6))


Z = np.zeros


@pytest.mark.parametrize(
    ("arrays", "messages"),
    [
        ({"q": Z((2, 3, 4)), "k": Z((2, 3, 4))}, ["has no array 'v' (it has q, k)"]),
        ({"q": Z((4,)), "k": Z((2, 3, 4)), "v": Z((2, 3, 4))}, ["q: must have 2 to 4 axes"]),
        ({"q": Z((2, 3, 4)), "k": Z((2, 3, 5)), "v": Z((2, 3, 4))}, ["differ in head dimension: 4 and 5"]),
        (
            {"q": Z((3, 3, 4)), "k": Z((2, 3, 4)), "v": Z((2, 9, 4))},
            [
                "k and v differ in (kv_heads, length): (2, 3) and (2, 9)",
                "3 query heads cannot be grouped over 2",
            ],
        ),
        (
            {"q": Z((2, 3, 4)), "k": np.full((2, 3, 4), np.nan), "v": np.full((2, 3, 4), np.inf)},
            ["k: holds 24 values that are not finite, the first at (0, 0, 0, 0)", "v: holds 24 values"],
        ),
        ({"q": Z((2, 0, 4)), "k": Z((2, 3, 4)), "v": Z((2, 3, 4))}, ["q: is empty (got (2, 0, 4))"]),
        ({"q": np.array(["a"]), "k": Z((2, 3, 4)), "v": Z((2, 3, 4))}, ["q: must have 2 to 4 axes"]),
        ({"q": np.full((2, 3, 4), "a"), "k": Z((2, 3, 4)), "v": Z((2, 3, 4))}, ["q: must hold real numbers"]),
        ({"q": Z((2, 2, 3, 4)), "k": Z((2, 3, 4)), "v": Z((2, 3, 4))}, ["differ in batch: 2, 1, 1"]),
    ],
)
def test_bad_tensor_files_are_refused(tmp_path, arrays, messages):
    path = tmp_path / "t.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError) as caught:
        load_tensors(path)
    found = str(caught.value).splitlines()
    assert len(found) == len(messages)
    for line, message in zip(found, messages, strict=True):
        assert line.startswith(str(path)) and message in line


def test_damaged_and_foreign_files_are_refused(tmp_path):
    (tmp_path / "noise.npz").write_bytes(b"PK\x03\x04 not a zip")
    (tmp_path / "text.npz").write_text("hello")
    np.save(tmp_path / "single.npy", np.zeros(3))
    objects = np.full(1, object())
    np.savez(tmp_path / "pickle.npz", q=objects, k=objects, v=objects)
    for name in ("noise.npz", "text.npz", "single.npy", "pickle.npz"):
        with pytest.raises(InputError, match=name):
            load_tensors(tmp_path / name)


def write_zeros(path, shape, dtype):
    """An archive of three arrays of zeros that takes little room: they are written a piece at a time, compressed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("q", "k", "v"):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                header = {
                    "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
                    "fortran_order": False,
                    "shape": shape,
                }
                np.lib.format.write_array_header_2_0(file, header)
                file.write(bytes(4096))


@pytest.mark.parametrize(
    ("shape", "dtype", "told"),
    [
        ((1, 1, 400_000, 1000), "int8", "has 400,000,000 elements, at most 268,435,456 are read"),
        ((1, 1, 8, 8), "complex128", "must hold real numbers (got complex128)"),
        ((1, 1, 8, 8), "S1000000000", "must hold real numbers (got |S1000000000)"),
    ],
)
def test_an_archive_is_judged_by_its_headers_before_any_array_is_read(tmp_path, monkeypatch, shape, dtype, told):
    def refuse(*_, **__):
        raise AssertionError("an array was read")

    write_zeros(tmp_path / "t.npz", shape, dtype)
    monkeypatch.setattr(np.lib.format, "read_array", refuse)
    with pytest.raises(InputError) as caught:
        load_tensors(tmp_path / "t.npz")
    assert [problem.message for problem in caught.value.problems] == [told] * 3


@pytest.mark.parametrize("byte", range(0, 400, 7))
def test_a_damaged_archive_is_one_line(tmp_path, byte):
    path = tmp_path / "t.npz"
    array = np.ones((1, 1, 8, 8))
    np.savez_compressed(path, q=array, k=array, v=array)
    content = bytearray(path.read_bytes())
    content[byte % len(content)] ^= 0xFF
    path.write_bytes(bytes(content))
    with contextlib.suppress(InputError):
        load_tensors(path)
