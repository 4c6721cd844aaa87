"""Random shapes, masks, lengths and tables through the CUDA kernels on the CPU, against the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reference.cuda import cupy_ref
from reference.cuda.host_device import HostDevice
from reference.truth import metrics, oracle

D = 32

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NIGHTLY = settings(QUICK, max_examples=1000)


@st.composite
def problems(draw, longest_query, longest_keys):
    """A batch with ragged lengths, grouped heads, and perhaps a window."""
    kv_heads, group = draw(st.integers(1, 2)), draw(st.integers(1, 5))
    batch, q_len = draw(st.integers(1, 2)), draw(st.integers(1, longest_query))
    capacity = draw(st.integers(1, longest_keys))
    lengths = draw(st.lists(st.integers(0, capacity), min_size=batch * kv_heads, max_size=batch * kv_heads))
    window = draw(st.one_of(st.none(), st.integers(1, 2 * capacity)))
    options = {"mask": draw(st.sampled_from(["full", "causal"])), "window": window, "sinks": draw(st.integers(0, 5))}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = ((batch, kv_heads * group, q_len, D), (batch, kv_heads, capacity, D), (batch, kv_heads, capacity, D))
    tensors = [rng.standard_normal(shape).astype(np.float16) for shape in shapes]
    schedule = (draw(st.integers(0, 5)), draw(st.booleans()))
    return tensors, np.array(lengths).reshape(batch, kv_heads), options, schedule


def check(outputs, tensors, rows_of, options):
    """Compare with the oracle, one KV head at a time, over the rows of k and v that `rows_of` names."""
    q, k, v = (x.astype(np.float64) for x in tensors)
    group = q.shape[1] // k.shape[1]
    out, lse = (np.asarray(x, dtype=np.float64) for x in outputs)
    for b, h in np.ndindex(k.shape[:2]):
        heads, rows = slice(h * group, (h + 1) * group), rows_of(b, h)
        want, want_lse = oracle.attention(q[b, heads], k[b, h, rows][None], v[b, h, rows][None], **options)
        assert metrics.relative_l2(out[b, heads], want) <= metrics.TOLERANCES["float16"].relative_l2
        assert metrics.max_abs(lse[b, heads], want_lse) <= metrics.TOLERANCES["float16"].lse_abs


def spoiled(values, kept):
    """NaN in all rows of `(batch, kv_heads, rows, d)` that are not kept."""
    copy = np.full_like(values, np.nan)
    for b, h in np.ndindex(values.shape[:2]):
        copy[b, h, kept(b, h)] = values[b, h, kept(b, h)]
    return copy


def run_prefill(problem):
    tensors, lengths, options, schedule = problem
    device = HostDevice(*schedule)

    def rows(b, h):
        return np.arange(lengths[b, h])

    arrays = [device.array(x) for x in (tensors[0], *(spoiled(x, rows) for x in tensors[1:]))]
    outputs = cupy_ref.plan_prefill(device, *arrays, lengths=lengths, **options).run()
    check(outputs, tensors, rows, options)


def run_decode(problem, splits, block_rows, seed):
    """Keys behind a table of distinct blocks in random order, as long as each head's length asks for."""
    tensors, lengths, options, schedule = problem
    device = HostDevice(*schedule)
    capacity = tensors[1].shape[2] // block_rows * block_rows
    blocks = capacity // block_rows
    lengths = np.minimum(lengths, capacity)
    rng = np.random.default_rng(seed)
    table = np.stack([[rng.permutation(blocks) for _ in range(lengths.shape[1])] for _ in range(len(lengths))])

    def rows(b, h):
        keys = np.arange(lengths[b, h])
        return table[b, h, keys // block_rows] * block_rows + keys % block_rows if blocks else keys

    arrays = [device.array(x) for x in (tensors[0], *(spoiled(x, rows) for x in tensors[1:]))]
    placement = {"table": table, "block_rows": block_rows, "splits": splits}
    outputs = cupy_ref.plan_decode(device, *arrays, lengths=lengths, **placement, **options).run()
    check(outputs, tensors, rows, options)


PREFILL = problems(longest_query=150, longest_keys=200)
DECODE = (
    problems(longest_query=4, longest_keys=300),
    st.integers(1, 6),
    st.sampled_from([1, 3, 16]),
    st.integers(0, 99),
)


@pytest.mark.usefixtures("host")
@QUICK
@given(PREFILL)
def test_prefill(problem):
    run_prefill(problem)


@pytest.mark.usefixtures("host")
@QUICK
@given(*DECODE)
def test_decode(problem, splits, block_rows, seed):
    run_decode(problem, splits, block_rows, seed)


@pytest.mark.slow
@pytest.mark.usefixtures("host")
@NIGHTLY
@given(PREFILL)
def test_prefill_nightly(problem):
    run_prefill(problem)


@pytest.mark.slow
@pytest.mark.usefixtures("host")
@NIGHTLY
@given(*DECODE)
def test_decode_nightly(problem, splits, block_rows, seed):
    run_decode(problem, splits, block_rows, seed)
