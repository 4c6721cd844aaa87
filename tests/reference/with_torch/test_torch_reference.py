"""PyTorch's attention against the float64 oracle: on the CPU if PyTorch is installed, on a GPU if there is one."""

from __future__ import annotations

import numpy as np
import pytest

from reference.truth import dtypes, metrics, oracle, oracle_variants
from reference.with_torch import torch_ref

DTYPES = ("float64", "float32", "float16", "bfloat16")

if torch_ref.why_no_torch():
    pytest.skip(torch_ref.why_no_torch(), allow_module_level=True)

import torch  # noqa: E402

from reference.with_torch import torch_latent  # noqa: E402


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def place(request, skip_without_gpu):
    if request.param == "cuda" and not torch.cuda.is_available():
        skip_without_gpu("PyTorch sees no CUDA GPU")
    return request.param


def draw(dtype, *shapes, seed=0):
    """float64 arrays that the format holds exactly."""
    rng = np.random.default_rng(seed)
    return [dtypes.round_to(rng.standard_normal(shape), dtype) for shape in shapes]


def put(place, dtype, *arrays):
    return [torch.tensor(array, dtype=getattr(torch, dtype), device=place) for array in arrays]


def fetch(tensor):
    return tensor.detach().double().cpu().numpy()


def check(got, want, dtype):
    tolerance = metrics.TOLERANCES[dtype]
    assert metrics.relative_l2(fetch(got[0]), want[0]) <= tolerance.relative_l2
    assert metrics.max_abs(fetch(got[1]), want[1]) <= tolerance.lse_abs
    assert np.all(fetch(got[0])[np.isneginf(want[1])] == 0)


SHAPES = {
    "square": ((2, 4, 33, 16), (2, 4, 33, 16), (2, 4, 33, 16)),
    "grouped": ((1, 6, 20, 32), (1, 2, 45, 32), (1, 2, 45, 24)),
    "more-queries-than-keys": ((1, 2, 30, 16), (1, 1, 12, 16), (1, 1, 12, 16)),
    "one-token": ((3, 8, 1, 16), (3, 2, 70, 16), (3, 2, 70, 16)),
    "no-keys": ((1, 2, 4, 16), (1, 2, 0, 16), (1, 2, 0, 16)),
}
OPTIONS = {
    "full": {},
    "causal": {"mask": "causal"},
    "window": {"mask": "causal", "window": 7, "sinks": 2, "scale": 0.3},
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_attention(place, shapes, options, dtype):
    q, k, v = draw(dtype, *shapes)
    got = torch_ref.attention(*put(place, dtype, q, k, v), **options)
    check(got, oracle.attention(q, k, v, **options), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mask", ["full", "causal"])
@pytest.mark.parametrize("backend", ["math", "flash"])
@pytest.mark.parametrize("name", ["square", "grouped", "one-token"])
def test_fused_attention_runs_the_backend_asked_for(name, backend, mask, dtype):
    q, k, v = draw(dtype, *SHAPES[name])
    v = v[..., :16] if name == "one-token" else v
    if backend == "flash" and q.shape[-1] != v.shape[-1]:
        v = np.concatenate([v, v[..., :8]], axis=-1)
    result = torch_ref.fused_attention(*put("cpu", dtype, q, k, v), backend=backend, mask=mask)
    assert result.backend == backend
    want, _ = oracle.attention(q, k, v, mask=mask)
    assert metrics.relative_l2(fetch(result.out), want) <= metrics.TOLERANCES[dtype].relative_l2


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["flash", "efficient", "cudnn"])
def test_fused_attention_on_a_gpu(backend, skip_without_gpu):
    if not torch.cuda.is_available():
        skip_without_gpu("PyTorch sees no CUDA GPU")
    q, k, v = draw("bfloat16", (2, 4, 256, 64), (2, 4, 256, 64), (2, 4, 256, 64))
    result = torch_ref.fused_attention(*put("cuda", "bfloat16", q, k, v), backend=backend, mask="causal")
    assert result.backend == backend
    want, _ = oracle.attention(q, k, v, mask="causal")
    assert metrics.relative_l2(fetch(result.out), want) <= metrics.TOLERANCES["bfloat16"].relative_l2


def test_a_backend_that_cannot_run_is_refused_and_none_takes_its_place():
    q, k, v = put("cpu", "float32", *draw("float32", *SHAPES["square"]))
    for backend in ("cudnn", "efficient"):
        with pytest.raises(torch_ref.BackendRefusedError, match=f"backend {backend} on cpu"):
            torch_ref.fused_attention(q, k, v, backend=backend)
    with pytest.raises(ValueError, match="backend must be one of"):
        torch_ref.fused_attention(q, k, v, backend="fastest")


def test_a_silent_fallback_is_an_error(monkeypatch):
    """Should PyTorch ever run another backend than the one allowed, the dispatched operators tell."""
    q, k, v = put("cpu", "float32", *draw("float32", *SHAPES["square"]))
    monkeypatch.setitem(torch_ref._ENUM_NAMES, "flash", "MATH")
    with pytest.raises(torch_ref.BackendRefusedError, match="asked for backend flash, but math ran"):
        torch_ref.fused_attention(q, k, v, backend="flash")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("splits", [1, 2, 7, 100])
@pytest.mark.parametrize("name", SHAPES)
def test_split_decode_does_not_depend_on_the_splits(place, name, splits, dtype):
    q, k, v = draw(dtype, *SHAPES[name])
    got = torch_ref.split_decode(*put(place, dtype, q, k, v), splits=splits)
    check(got, oracle.attention(q, k, v, mask="causal"), dtype)


def test_split_decode_needs_a_split():
    with pytest.raises(ValueError, match="at least 1"):
        torch_ref.split_decode(*put("cpu", "float32", *draw("float32", *SHAPES["square"])), splits=0)


def test_merging_is_associative_and_knows_empty_parts(place):
    q, k, v = put(place, "float64", *draw("float64", (1, 2, 3, 8), (1, 1, 30, 8), (1, 1, 30, 8)))
    parts = [torch_ref.attention(q, k[:, :, a:b], v[:, :, a:b]) for a, b in ((0, 7), (7, 7), (7, 20), (20, 30))]
    whole = torch_ref.attention(q, k, v)
    for got in (
        torch_ref.merge(parts),
        torch_ref.merge([torch_ref.merge(parts[:2]), torch_ref.merge(parts[2:])]),
        torch_ref.merge(parts[::-1]),
    ):
        check(got, tuple(fetch(x) for x in whole), "float64")
    out, lse = torch_ref.merge([parts[1], parts[1]])
    assert torch.all(out == 0) and torch.all(torch.isneginf(lse))


@pytest.mark.parametrize("block_rows", [1, 4])
def test_gathered_keys_are_those_of_the_table(place, block_rows):
    q, k, v = draw("float64", (2, 4, 1, 8), (2, 2, 24, 8), (2, 2, 24, 8))
    rng = np.random.default_rng(1)
    table = np.stack([[rng.permutation(24 // block_rows)[:5] for _ in range(2)] for _ in range(2)])
    got = torch_ref.gathered(*put(place, "float64", q, k, v), torch.tensor(table, device=place), block_rows=block_rows)
    rows = (table[..., None] * block_rows + np.arange(block_rows)).reshape(2, 2, -1, 1)
    want = oracle.attention(q, np.take_along_axis(k, rows, axis=2), np.take_along_axis(v, rows, axis=2))
    check(got, want, "float64")


@pytest.mark.parametrize("kv_len", [5, 12, 40])
def test_sink_window_decode_equals_the_mask(place, kv_len):
    q, k, v = draw("float64", (2, 4, 1, 8), (2, 2, kv_len, 8), (2, 2, kv_len, 8))
    got = torch_ref.sink_window_decode(*put(place, "float64", q, k, v), window=9, sinks=3)
    check(got, oracle.attention(q, k, v, mask="causal", window=9, sinks=3), "float64")
    with pytest.raises(ValueError, match="one query"):
        torch_ref.sink_window_decode(*put(place, "float64", q[:, :, [0, 0]], k, v), window=9, sinks=3)


def test_a_shared_prefix_counts_for_every_sequence(place):
    q, prefix_k, prefix_v, k, v = draw("float64", (3, 4, 2, 8), (2, 10, 8), (2, 10, 8), (3, 2, 6, 8), (3, 2, 6, 8))
    got = torch_ref.shared_prefix(*put(place, "float64", q, prefix_k, prefix_v, k, v))
    keys, values = (
        np.concatenate([np.broadcast_to(prefix, (3, *prefix.shape)), own], axis=2)
        for prefix, own in ((prefix_k, k), (prefix_v, v))
    )
    check(got, oracle.attention(q, keys, values, mask="causal"), "float64")


def test_column_sums(place):
    q, k = draw("float64", (2, 4, 9, 8), (2, 2, 14, 8))
    got = torch_ref.column_sums(*put(place, "float64", q, k), mask="causal")
    want = oracle.probabilities(q, k, mask="causal").sum(axis=-2)
    np.testing.assert_allclose(fetch(got), want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("order", [torch_latent.latent_expanded, torch_latent.latent_absorbed])
@pytest.mark.parametrize("q_len", [1, 7])
def test_both_orders_of_latent_attention(place, order, q_len):
    shapes = ((2, 4, q_len, 8), (2, 4, q_len, 6), (2, 11, 16), (2, 11, 6), (4, 16, 8), (4, 16, 5))
    arrays = draw("float64", *shapes)
    q_nope, q_rope, latent, rope_key, w_uk, w_uv = put(place, "float64", *arrays)
    got = order(q_nope, q_rope, latent, rope_key, torch_latent.LatentProjections(w_uk, w_uv))
    check(got, oracle_variants.latent_attention(*arrays), "float64")


@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.parametrize("length", [5, 16, 23])
def test_compressive_attention(place, length, delta):
    shapes = ((2, 3, length, 8), (2, 3, length, 8), (2, 3, length, 6))
    q, k, v = draw("float64", *shapes)
    gate = np.array([-1.0, 0.0, 2.0])
    tensors = put(place, "float64", q, k, v, gate)
    out, memory = torch_latent.compressive_attention(*tensors[:3], segment=8, gate=tensors[3], delta=delta)
    want = oracle_variants.compressive_attention(q, k, v, segment=8, gate=gate, delta=delta)
    assert metrics.relative_l2(fetch(out), want) <= 1e-12
    assert memory.matrix.shape == (2, 3, 8, 6) and memory.normaliser.shape == (2, 3, 8)


def test_masks_have_two_names():
    q, k, v = put("cpu", "float32", *draw("float32", *SHAPES["square"]))
    with pytest.raises(ValueError, match="'full' or 'causal'"):
        torch_ref.attention(q, k, v, mask="triangle")
