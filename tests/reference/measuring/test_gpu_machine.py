"""What only a GPU can show: CuPy's device, streams and graphs, the kernels' speed; and how tests do without."""

from __future__ import annotations

import json

import numpy as np
import pytest

from reference.cuda import launch
from reference.measuring import benches, measure
from reference.measuring.bench import UnavailableError
from reference.measuring.cases import Case, Shape, standard_cases
from reference.measuring.cuda_bench import CupyStopwatch, cuda_bench
from reference.measuring.timing import TimingProtocol
from reference.records import record_paths
from reference.with_torch import torch_ref


def test_skips_turn_into_failures_where_a_gpu_is_required(skip_without_gpu, monkeypatch):
    monkeypatch.delenv("ATTNFLOW_REQUIRE_GPU", raising=False)
    with pytest.raises(
        pytest.skip.Exception, match=r"no driver; ATTNFLOW_REQUIRE_GPU=1 turns this skip into a failure"
    ):
        skip_without_gpu("no driver")
    monkeypatch.setenv("ATTNFLOW_REQUIRE_GPU", "1")
    with pytest.raises(pytest.fail.Exception, match="ATTNFLOW_REQUIRE_GPU is set, but no driver"):
        skip_without_gpu("no driver")


def test_a_missing_framework_makes_a_case_unavailable_and_says_what_to_install():
    chosen = benches.StandardBenches()
    if launch.why_no_gpu():
        with pytest.raises(UnavailableError, match=r"CuPy.*GPU"):
            chosen(Case("op_softmax", "cuda", "float16", Shape(rows=1, columns=1)))
        with pytest.raises(RuntimeError, match="GPU"):
            launch.CupyDevice()
    if torch_ref.why_no_torch():
        with pytest.raises(UnavailableError, match=r"pip install 'attnflow\[torch\]'"):
            chosen(Case("op_softmax", "torch", "float16", Shape(rows=1, columns=1)))


@pytest.mark.parametrize("path", record_paths(), ids=lambda path: path.stem)
def test_committed_records_can_be_replayed(path):
    """Every row of a committed record is checked, sourced and of a case of the list it names."""
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["format"] == measure.FORMAT
    assert document["points"] and document["provenance"]["gpu"]["name"]
    for row in document["points"]:
        assert row["source"] in document["sources"] and row["latency_us"] > 0
        assert row["error"] is None or row["error"]["relative_l2"] <= row["error"]["tolerance"]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_drawn_values_are_normal_and_of_the_format(gpu, dtype):
    stored = gpu.to_host(gpu.draw((1000, 1000), dtype, seed=3))
    values = stored.astype(np.float64)
    if dtype == "bfloat16":
        values = (stored.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    assert abs(values.mean()) < 0.01 and abs(values.std() - 1) < 0.01 and np.all(np.isfinite(values))
    assert np.array_equal(stored, gpu.to_host(gpu.draw((1000, 1000), dtype, seed=3)))
    assert not np.array_equal(stored, gpu.to_host(gpu.draw((1000, 1000), dtype, seed=4)))


@pytest.mark.gpu
def test_permutations_are_complete(gpu):
    order = gpu.to_host(gpu.permutation(10_000, seed=1))
    assert order.dtype == np.int32 and np.array_equal(np.sort(order), np.arange(10_000))
    assert not np.array_equal(order, np.arange(10_000))


@pytest.mark.gpu
def test_events_and_graphs_agree_on_a_long_kernel(gpu):
    call = cuda_bench().prepare(Case("membench", "cuda", "float32", Shape(bytes_moved=1 << 30), "copy"), 1).calls[0]
    stopwatch = CupyStopwatch()
    events = float(np.median(stopwatch.events([call] * 20)))
    graph = float(np.median(stopwatch.graph([call] * 4, 5))) / 4
    assert 50 < events < 5000 and abs(graph / events - 1) < 0.2


@pytest.mark.gpu
def test_one_case_of_every_family_is_right_on_this_gpu(gpu, tmp_path):
    first = {}
    for case in standard_cases():
        first.setdefault((case.kind, case.maker), case)
    hardware = benches.current_hardware()
    protocol = TimingProtocol(timed_calls=5, repeats=1, warmup_calls=2)
    record = measure.start_record(hardware, protocol)
    planned = measure.plan(first.values(), protocol)
    measure.measure(planned, record, benches.StandardBenches(), hardware, path=tmp_path / "r.json")
    assert not record.faults and record.stopped is None
    assert {row["kind"] for row in record.points} >= {case.kind for case in first.values() if case.maker == "cuda"}


@pytest.mark.gpu
@pytest.mark.slow
def test_our_kernels_reach_their_share_of_pytorchs(gpu, tmp_path):
    """Prefill at a quarter of PyTorch's best fused kernel, decoding at 70 % of it or of a plain read."""
    wanted = ("membench-read", "prefill_fwd-", "decode-")
    cases = [
        case
        for case in standard_cases()
        if case.id.startswith(wanted)
        and case.dtype != "float32"
        and (case.kind == "membench" or case.shape.kv_len in (8192, 16384))
    ]
    hardware = benches.current_hardware()
    record = measure.start_record(hardware, TimingProtocol())
    planned = measure.plan(cases, TimingProtocol())
    measure.measure(planned, record, benches.StandardBenches(), hardware, path=tmp_path / "r.json")
    rows = {row["id"]: row for row in record.points}
    bandwidth = next(row["gbps"] for row in record.points if row["kind"] == "membench")
    for case in cases:
        if case.maker != "cuda" or case.is_ceiling:
            continue
        ours = rows[case.id]
        rivals = [
            rows[case.id.replace("-cuda-", f"-{maker}-")]
            for maker in ("torch-flash", "torch-cudnn")
            if case.id.replace("-cuda-", f"-{maker}-") in rows
        ]
        if case.kind == "prefill_fwd":
            assert ours["tflops"] >= 0.25 * max(row["tflops"] for row in rivals)
        elif case.bytes_min > 10 * hardware.l2_bytes:
            assert ours["gbps"] >= 0.7 * min(bandwidth, max(row["gbps"] for row in rivals))
