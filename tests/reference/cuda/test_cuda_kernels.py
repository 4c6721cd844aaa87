"""The CUDA kernels against the float64 oracle, on the CPU thread by thread and on a GPU where there is one.

Inputs are rounded to the format first. Rows of k and v beyond a length hold NaN, and so does all memory
around and behind every array, so a kernel that reads what it must not shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from reference.cuda import cupy_ref
from reference.truth import dtypes, metrics, oracle

DTYPES = ("float32", "float16", "bfloat16")
MATRIX = ("float16", "bfloat16")


def store(values, dtype):
    """Values as a device stores them: bfloat16 as bits."""
    return dtypes.bfloat16_bits(values) if dtype == "bfloat16" else np.asarray(values).astype(dtype)


def fetch(device, array, dtype):
    """A result as float64."""
    stored = device.to_host(array)
    return dtypes.bfloat16_values(stored) if dtype == "bfloat16" else stored.astype(np.float64)


def draw(dtype, *shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [dtypes.round_to(rng.standard_normal(shape), dtype) for shape in shapes]


def poison(values, lengths):
    """NaN in every row of `(batch, kv_heads, rows, d)` beyond its length."""
    spoiled = values.copy()
    for batch, head in np.ndindex(values.shape[:2]):
        spoiled[batch, head, lengths[batch, head] :] = np.nan
    return spoiled


def ragged_oracle(q, k, v, lengths, **options):
    """The oracle one sequence and KV head at a time, over the keys in use."""
    batch, heads, q_len, _ = q.shape
    group = heads // k.shape[1]
    out, lse = np.empty((batch, heads, q_len, v.shape[-1])), np.empty((batch, heads, q_len))
    for b, h in np.ndindex(k.shape[:2]):
        rows = slice(h * group, (h + 1) * group)
        n = lengths[b, h]
        out[b, rows], lse[b, rows] = oracle.attention(q[b, rows], k[b, h : h + 1, :n], v[b, h : h + 1, :n], **options)
    return out, lse


def check(device, outputs, dtype, want):
    """Compare `(out, lse)` with the oracle's within the tolerance of the format."""
    tolerance = metrics.TOLERANCES[dtype]
    out, lse = fetch(device, outputs[0], dtype), device.to_host(outputs[1]).astype(np.float64)
    assert metrics.relative_l2(out, want[0]) <= tolerance.relative_l2
    assert metrics.max_abs(lse, want[1]) <= tolerance.lse_abs
    masked = np.isneginf(want[1])
    assert np.all(out[masked] == 0) and np.all(np.isneginf(lse[masked]))


@dataclass(frozen=True)
class Shape:
    """Sizes of one case; `options` go to the kernel and to the oracle alike."""

    heads: int
    kv_heads: int
    q_len: int
    kv_len: int
    d: int
    d_v: int = 0
    options: dict[str, object] = field(default_factory=dict)

    def draw(self, dtype, batch):
        d_v = self.d_v or self.d
        return draw(
            dtype,
            (batch, self.heads, self.q_len, self.d),
            (batch, self.kv_heads, self.kv_len, self.d),
            (batch, self.kv_heads, self.kv_len, d_v),
        )


def with_formats(cases, bfloat16):
    """Every case in float32 and float16, and those named in bfloat16 as well, which differs by two instructions."""
    return [
        pytest.param(case, dtype, id=f"{name}-{dtype}")
        for name, case in cases.items()
        for dtype in DTYPES
        if dtype != "bfloat16" or name in bfloat16
    ]


CAUSAL = {"mask": "causal"}
PREFILL_CASES = {
    "one-tile": Shape(2, 2, 64, 64, 64),
    "ragged-causal-gqa": Shape(4, 2, 70, 131, 64, options=CAUSAL),
    "more-queries-than-keys": Shape(1, 1, 90, 40, 32, options=CAUSAL),
    "window-and-sinks": Shape(1, 1, 150, 200, 32, options={**CAUSAL, "window": 33, "sinks": 3}),
    "window-without-causal": Shape(1, 1, 65, 97, 32, options={"window": 40, "sinks": 70}),
    "single-query": Shape(2, 1, 1, 77, 64, options=CAUSAL),
    "wide-keys": Shape(1, 1, 17, 35, 192, 128, options={**CAUSAL, "scale": 0.3}),
    "d256": Shape(1, 1, 20, 50, 256),
    "d96": Shape(1, 1, 20, 50, 96),
    "odd-d": Shape(2, 1, 5, 9, 20, options=CAUSAL),
}


@pytest.mark.parametrize(("case", "dtype"), with_formats(PREFILL_CASES, {"ragged-causal-gqa", "odd-d"}))
def test_prefill(device, case, dtype):
    q, k, v = case.draw(dtype, batch=1)
    arrays = (device.array(store(x, dtype)) for x in (q, k, v))
    call = cupy_ref.plan_prefill(device, *arrays, **case.options)
    check(device, call.run(), dtype, oracle.attention(q, k, v, **case.options))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mask", ["full", "causal"])
def test_prefill_of_ragged_lengths_reads_nothing_beyond_them(device, dtype, mask):
    lengths = np.array([[70, 0], [1, 33]])
    q, k, v = draw(dtype, (2, 4, 40, 32), (2, 2, 70, 32), (2, 2, 70, 32))
    stored = (store(x, dtype) for x in (q, poison(k, lengths), poison(v, lengths)))
    call = cupy_ref.plan_prefill(device, *map(device.array, stored), mask=mask, lengths=lengths)
    check(device, call.run(), dtype, ragged_oracle(q, k, v, lengths, mask=mask))


DECODE_CASES = {
    "one-head": Shape(1, 1, 1, 200, 64),
    "grouped": Shape(8, 2, 1, 130, 64),
    "more-rows-than-a-tile": Shape(20, 1, 1, 70, 32),
    "speculative": Shape(6, 2, 3, 150, 32),
    "short": Shape(4, 4, 1, 3, 64),
    "window-and-sinks": Shape(4, 2, 2, 500, 32, options={"window": 90, "sinks": 5}),
    "d128": Shape(4, 1, 1, 100, 128),
    "d256": Shape(2, 1, 1, 70, 256),
    "wide-keys": Shape(2, 1, 1, 70, 192, 128),
    "odd-d": Shape(2, 1, 1, 70, 20),
}


@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize(("case", "dtype"), with_formats(DECODE_CASES, {"grouped", "window-and-sinks"}))
def test_decode(device, case, dtype, splits):
    q, k, v = case.draw(dtype, batch=2)
    arrays = (device.array(store(x, dtype)) for x in (q, k, v))
    call = cupy_ref.plan_decode(device, *arrays, splits=splits, **case.options)
    check(device, call.run(), dtype, oracle.attention(q, k, v, mask="causal", **case.options))


@pytest.mark.parametrize("dtype", DTYPES)
def test_decode_of_ragged_lengths_reads_nothing_beyond_them(device, dtype):
    lengths = np.array([[150, 0], [64, 65], [1, 149]])
    q, k, v = draw(dtype, (3, 4, 2, 32), (3, 2, 150, 32), (3, 2, 150, 32))
    stored = (store(x, dtype) for x in (q, poison(k, lengths), poison(v, lengths)))
    call = cupy_ref.plan_decode(device, *map(device.array, stored), lengths=lengths, splits=4)
    check(device, call.run(), dtype, ragged_oracle(q, k, v, lengths, mask="causal"))


@pytest.mark.parametrize("block_rows", [1, 4, 16])
@pytest.mark.parametrize("dtype", DTYPES)
def test_decode_over_permuted_pages_of_a_pool(device, dtype, block_rows):
    """Pages in random order, one of them shared by both sequences; unused rows of the pool hold NaN."""
    rng = np.random.default_rng(1)
    entries, blocks, heads, d = 40 // block_rows + 1, 128 // block_rows, 2, 32
    order = rng.permutation(blocks)
    table = np.stack([order[:entries], np.concatenate([order[:1], order[entries : 2 * entries - 1]])])
    lengths = np.array([entries * block_rows - (block_rows > 1), 33])
    q, pool_k, pool_v = draw(dtype, (2, 4, 1, d), (heads, 128, d), (heads, 128, d))
    rows = [[table[b, j // block_rows] * block_rows + j % block_rows for j in range(lengths[b])] for b in range(2)]
    used = np.zeros(128, dtype=bool)
    used[[row for sequence in rows for row in sequence]] = True
    pools = [np.where(used[:, None], pool, np.nan) for pool in (pool_k, pool_v)]
    arrays = (device.array(store(x, dtype)) for x in (q, *pools))
    call = cupy_ref.plan_decode(device, *arrays, table=table, block_rows=block_rows, lengths=lengths, splits=2)
    want = [oracle.attention(q[b], pool_k[:, rows[b]], pool_v[:, rows[b]], mask="causal") for b in range(2)]
    check(device, call.run(), dtype, tuple(np.stack(part) for part in zip(*want, strict=True)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_decode_of_kept_keys_per_head(device, dtype):
    """An eviction policy's ragged lists of kept positions, one per KV head, evicted rows poisoned."""
    rng = np.random.default_rng(2)
    counts = np.array([[37, 5]])
    kept = [np.sort(rng.choice(90, size=n, replace=False)) for n in counts[0]]
    table = np.full((1, 2, 37), 10**6)
    for head, positions in enumerate(kept):
        table[0, head, : len(positions)] = positions
    q, k, v = draw(dtype, (1, 4, 1, 32), (1, 2, 90, 32), (1, 2, 90, 32))
    spoiled = [x.copy() for x in (k, v)]
    for x in spoiled:
        for head, positions in enumerate(kept):
            x[0, head, np.setdiff1d(np.arange(90), positions)] = np.nan
    arrays = (device.array(store(x, dtype)) for x in (q, *spoiled))
    call = cupy_ref.plan_decode(device, *arrays, table=table, lengths=counts, splits=2)
    want = [
        oracle.attention(q[:, 2 * h : 2 * h + 2], k[:, h : h + 1, kept[h]], v[:, h : h + 1, kept[h]]) for h in range(2)
    ]
    check(device, call.run(), dtype, tuple(np.concatenate(part, axis=1) for part in zip(*want, strict=True)))


MLA_CASES = {  # heads, q_len, kv_len, d, v_dim
    "flashmla": (3, 1, 50, 576, 512),
    "two-row-tiles": (66, 1, 40, 96, 64),
    "speculative": (5, 2, 100, 96, 64),
    "odd-width": (3, 1, 40, 72, 40),
}


@pytest.mark.parametrize("splits", [1, 2])
@pytest.mark.parametrize(("case", "dtype"), with_formats(MLA_CASES, {"speculative"}))
def test_mla_decode(device, case, dtype, splits):
    heads, q_len, kv_len, d, v_dim = case
    q, latent = draw(dtype, (2, heads, q_len, d), (2, kv_len, d))
    lengths = np.array([kv_len, 33])
    spoiled = poison(latent[:, None], lengths[:, None])[:, 0]
    arrays = (device.array(store(x, dtype)) for x in (q, spoiled))
    options = {"scale": 0.08, "lengths": lengths, "splits": splits}
    call = cupy_ref.plan_mla_decode(device, *arrays, v_dim=v_dim, **options)
    keys = latent[:, None]
    want = ragged_oracle(q, keys, keys[..., :v_dim], lengths[:, None], mask="causal", scale=0.08)
    check(device, call.run(), dtype, want)


@pytest.mark.parametrize("dtype", MATRIX)
def test_mla_decode_over_pages(device, dtype):
    q, pool = draw(dtype, (1, 4, 1, 96), (64, 96))
    table = np.array([[3, 0, 2]])
    rows = [*range(48, 64), *range(16), *range(32, 40)]
    used = np.isin(np.arange(64), rows)
    spoiled = np.where(used[:, None], pool, np.nan)
    arrays = (device.array(store(x, dtype)) for x in (q, spoiled))
    call = cupy_ref.plan_mla_decode(device, *arrays, v_dim=64, table=table, block_rows=16, lengths=[40])
    latent = pool[None, None, rows]
    check(device, call.run(), dtype, oracle.attention(q, latent, latent[..., :64], mask="causal"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"mask": "causal"}, {"mask": "causal", "window": 20, "sinks": 2}])
def test_column_sums(device, dtype, options):
    lengths = np.array([[90, 70]])
    q_len = 30 if dtype == "float32" else 75  # one warp per key takes long on a CPU
    q, k, v = draw(dtype, (1, 4, q_len, 32), (1, 2, 90, 32), (1, 2, 90, 32))
    _, lse = ragged_oracle(q, k, v, lengths, **options)
    arrays = [device.array(store(x, dtype)) for x in (q, poison(k, lengths))]
    call = cupy_ref.plan_column_sums(device, *arrays, device.array(lse.astype(np.float32)), lengths=lengths, **options)
    (sums,) = call.run()
    want = np.zeros((1, 4, 90))
    for head in range(4):
        n = lengths[0, head // 2]
        identity = np.eye(n)[None, None]
        weights, _ = oracle.attention(q[:, head : head + 1], k[:, head // 2 : head // 2 + 1, :n], identity, **options)
        want[0, head, :n] = weights[0, 0].sum(axis=0)
    got = device.to_host(sums)
    assert metrics.relative_l2(got, want) <= 1e-5
    assert np.all(got[0, 2:, 70:] == 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("columns", [1, 33, 256, 1000])
def test_softmax(device, dtype, columns):
    (scores,) = draw(dtype, (3, columns))
    scores[1] *= 20
    scores[2] = -np.inf
    scores = dtypes.round_to(scores, dtype)
    (out,) = cupy_ref.plan_softmax(device, device.array(store(scores, dtype))).run()
    weights = np.exp(scores[:2] - scores[:2].max(axis=1, keepdims=True))
    got = fetch(device, out, dtype)
    want = weights / weights.sum(axis=1, keepdims=True)
    assert metrics.relative_l2(got[:2], want) <= metrics.TOLERANCES[dtype].relative_l2
    assert np.all(got[2] == 0)


@pytest.mark.parametrize("dtype", MATRIX)
def test_results_do_not_depend_on_the_number_of_splits(device, dtype):
    q, k, v = draw(dtype, (1, 4, 1, 64), (1, 2, 300, 64), (1, 2, 300, 64))
    arrays = [device.array(store(x, dtype)) for x in (q, k, v)]
    results = [cupy_ref.plan_decode(device, *arrays, splits=splits).run()[1] for splits in (1, 2, 5, 64)]
    lses = [device.to_host(lse) for lse in results]
    assert all(metrics.max_abs(lse, lses[0]) < 1e-6 for lse in lses[1:])


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_independent_and_keys_without_order(device, dtype):
    """Permuting queries permutes outputs bit for bit; permuting keys changes rounding only."""
    q, k, v = draw(dtype, (1, 1, 64, 32), (1, 1, 64, 32), (1, 1, 64, 32))
    rng = np.random.default_rng(5)
    queries, keys = rng.permutation(64), rng.permutation(64)

    def run(*tensors):
        arrays = (device.array(store(x, dtype)) for x in tensors)
        return fetch(device, cupy_ref.plan_prefill(device, *arrays).run()[0], dtype)

    plain = run(q, k, v)
    np.testing.assert_array_equal(run(q[:, :, queries], k, v), plain[:, :, queries])
    moved = run(q, k[:, :, keys], v[:, :, keys])
    assert metrics.relative_l2(moved, plain) <= metrics.TOLERANCES[dtype].relative_l2


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_constant_added_to_all_scores_changes_the_lse_alone(device, dtype):
    q, k, v = draw(dtype, (1, 2, 16, 32), (1, 1, 40, 32), (1, 1, 40, 32))
    q[..., 0], k[..., 0] = 0, 0
    shifted_q, shifted_k = q.copy(), k.copy()
    shifted_q[..., 0], shifted_k[..., 0] = 4, 2
    results = []
    for queries, keys in ((q, k), (shifted_q, shifted_k)):
        arrays = (device.array(store(x, dtype)) for x in (queries, keys, v))
        out, lse = cupy_ref.plan_prefill(device, *arrays, scale=0.25).run()
        results.append((fetch(device, out, dtype), device.to_host(lse)))
    assert metrics.relative_l2(results[1][0], results[0][0]) <= metrics.TOLERANCES[dtype].relative_l2
    np.testing.assert_allclose(results[1][1], results[0][1] + 2.0, atol=1e-5)


def test_large_scores_stay_finite(device):
    q, k, v = draw("bfloat16", (1, 1, 20, 32), (1, 1, 70, 32), (1, 1, 70, 32))
    arrays = [device.array(store(x, "bfloat16")) for x in (100 * q, 100 * k, v)]
    scaled = [dtypes.round_to(100 * x, "bfloat16") for x in (q, k)]
    want = oracle.attention(*scaled, v)
    check_out, check_lse = cupy_ref.plan_prefill(device, *arrays).run()
    assert metrics.relative_l2(fetch(device, check_out, "bfloat16"), want[0]) < 4e-3
    np.testing.assert_allclose(device.to_host(check_lse), want[1], rtol=1e-6)
