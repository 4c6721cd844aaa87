"""The whole measurement without a GPU: CUDA sources on the CPU, PyTorch on the CPU, times from a clock of our own."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from reference.measuring import cases as case_list
from reference.measuring import measure
from reference.measuring.bench import Check, Prepared, UnavailableError
from reference.measuring.cases import Case, Shape, standard_cases
from reference.measuring.cuda_bench import CudaBench
from reference.measuring.machine import Hardware, hardware_id, provenance
from reference.measuring.timing import TimingProtocol
from reference.with_torch import torch_ref

SMALL = Hardware("NVIDIA Test 1", "Test_1", l2_bytes=1 << 14, memory_bytes=1 << 24, multiprocessors=4)
QUICK = TimingProtocol(warmup_calls=1, timed_calls=2, repeats=2, graph_calls=2, most_copies=3)


class KnownClock:
    """Runs the first of some calls and says that each took 100 microseconds."""

    def events(self, calls):
        if calls:
            calls[0]()
        return [100.0] * len(calls)

    def graph(self, calls, replays):
        raise AssertionError("calls of 100 microseconds need no graph")


def attention(maker="cuda", kind="prefill_fwd", dtype="float16", **sizes):
    shape = {"batch": 1, "heads": 4, "kv_heads": 2, "q_len": 20, "kv_len": 20, "d": 32, "d_v": 32, "causal": True}
    return Case(kind, maker, dtype, Shape(**(shape | sizes)))


CUDA_CASES = [
    attention(),
    attention(dtype="float32"),
    attention(maker="cuda-rows", dtype="bfloat16"),
    attention(causal=False, dtype="bfloat16"),
    attention(kind="decode", q_len=1, kv_len=70, dtype="bfloat16"),
    attention(kind="sink_window", q_len=1, kv_len=300, window=60, sinks=4),
    attention(kind="sink_window", q_len=90, kv_len=90, window=20, sinks=4),
    attention(kind="kv_gather", q_len=1, kv_len=32, rows_held=64, block_rows=4),
    attention(kind="mla_decode", q_len=1, kv_len=70, kv_heads=1, d=96, d_v=64),
    attention(kind="column_sums", q_len=80, kv_len=80),
    Case("op_softmax", "cuda", "float16", Shape(rows=9, columns=100)),
    *(Case("membench", "cuda", "float32", Shape(bytes_moved=3 << 14), what) for what in ("read", "copy", "triad")),
    Case("membench", "cuda", "float32", Shape(bytes_moved=1 << 14, run_bytes=64), "gather"),
    Case("computebench", "cuda", "float32", Shape(rows=256, columns=16), "exponentials"),
    Case("computebench", "cuda", "float32", Shape(rows=256, columns=4), "shared-reads"),
    Case("computebench", "cuda", "float32", Shape(), "launch"),
]
TORCH_CASES = [
    attention(maker="torch-flash", dtype="bfloat16"),
    attention(maker="torch-eager"),
    attention(maker="torch-eager", kind="mla_decode", q_len=1, kv_len=70, kv_heads=1, d=96, d_v=64),
    attention(maker="torch-eager", kind="kv_gather", q_len=1, kv_len=32, rows_held=64, block_rows=4),
    attention(maker="torch-eager", kind="column_sums", q_len=80, kv_len=80, dtype="bfloat16"),
    Case("op_softmax", "torch", "float16", Shape(rows=9, columns=100)),
    Case("computebench", "torch", "bfloat16", Shape(rows=32, columns=32), "matmul"),
]


def run(cases, bench, path, protocol=QUICK, **options):
    record = measure.start_record(SMALL, protocol)
    planned = measure.plan(cases, protocol)
    return measure.measure(planned, record, lambda case: bench, SMALL, path=path, **options)


@pytest.mark.parametrize("case", CUDA_CASES, ids=lambda case: case.id)
def test_every_kind_of_cuda_case_is_checked_and_timed(host, tmp_path, case):
    record = run([case], CudaBench(host, KnownClock()), tmp_path / "r.json")
    assert not record.unmeasured and record.stopped is None
    (row,) = record.points
    assert row["id"] == case.id and row["latency_us"] > 0
    uncheckable = case.what in ("read", "gather", "exponentials", "shared-reads", "launch")
    assert (row["error"] is None) == uncheckable
    if not uncheckable:
        assert row["error"]["relative_l2"] <= row["error"]["tolerance"]
    assert all(len(digest) == 64 for digest in row["kernel_hashes"].values()) and row["kernel_hashes"]


@pytest.mark.parametrize("case", TORCH_CASES, ids=lambda case: case.id)
def test_every_kind_of_torch_case_is_checked_and_timed(tmp_path, case):
    if torch_ref.why_no_torch():
        pytest.skip(torch_ref.why_no_torch())
    from reference.measuring.torch_bench import TorchBench

    record = run([case], TorchBench("cpu", KnownClock()), tmp_path / "r.json")
    assert not record.unmeasured
    assert record.points[0]["error"]["relative_l2"] <= record.points[0]["error"]["tolerance"]


def test_a_backend_that_refuses_is_a_row_with_its_reason(tmp_path):
    if torch_ref.why_no_torch():
        pytest.skip(torch_ref.why_no_torch())
    from reference.measuring.torch_bench import TorchBench

    record = run([attention(maker="torch-cudnn")], TorchBench("cpu", KnownClock()), tmp_path / "r.json")
    (row,) = record.unmeasured
    assert row["status"] == "unavailable" and "cudnn" in row["why"] and not record.faults


class ScriptedBench:
    """A bench that prepares what a test says: calls that do nothing, a given check, or an exception."""

    stopwatch = KnownClock()

    def __init__(self, behaviour=None, lost_after=None):
        self.behaviour = behaviour or {}
        self.lost_after = lost_after
        self.prepared = []
        self.copies = []

    def prepare(self, case, copies):
        self.prepared.append(case.id)
        self.copies.append(copies)
        outcome = self.behaviour.get(case.id, Check(1e-6, 1e-3, "all"))
        if isinstance(outcome, Exception):
            raise outcome
        return Prepared([lambda: None] * copies, lambda: outcome)

    def release(self):
        if self.lost_after in self.prepared:
            raise RuntimeError("illegal memory access")


CASES = [attention(q_len=n, kv_len=n) for n in (16, 32, 48, 64)]
IDS = [case.id for case in CASES]


def test_records_have_the_keys_of_public_collections(tmp_path):
    path = tmp_path / "r.json"
    run(CASES, ScriptedBench(), path)
    document = json.loads(path.read_text())
    assert document["format"] == measure.FORMAT and document["list_version"] == case_list.LIST_VERSION
    assert {"gpu", "idle", "software", "python", "commit", "date", "kernel_sources_sha256"} <= set(
        document["provenance"]
    )
    wanted = {"id", "kind", "kernel", "hw", "dtype", "shape", "flops", "bytes_min", "exps", "reported", "tflops"}
    wanted |= {"gbps", "latency_us", "confidence", "split", "conditions", "source"}
    for row, case in zip(document["points"], CASES, strict=True):
        assert wanted <= set(row)
        assert row["hw"] == "Test_1" and row["dtype"] == "fp16" and row["split"] == "validate"
        assert row["shape"] == {
            "B": 1,
            "Sq": case.shape.q_len,
            "Skv": case.shape.kv_len,
            "Hq": 4,
            "Hkv": 2,
            "D": 32,
            "causal": True,
        }
        assert row["source"] in document["sources"]
        assert row["latency_us"] == 100.0
        assert row["tflops"] == pytest.approx(case.flops / 100.0 / 1e6, abs=5e-4)
        assert row["gbps"] == pytest.approx(case.bytes_min / 100.0 / 1e3, abs=5e-3)
        assert [timing["cache"] for timing in row["timing"]] == ["cold", "warm"]
        assert row["latency_us"] == row["timing"][0]["median_us"]


def test_cold_timing_rotates_buffers_and_warm_timing_has_one(tmp_path):
    bench = ScriptedBench()
    run(CASES[:1], bench, tmp_path / "r.json")
    assert bench.copies == [QUICK.copies(CASES[0].memory_bytes, SMALL.l2_bytes, SMALL.memory_bytes // 2), 1]
    bench = ScriptedBench()
    run([CUDA_CASES[-1]], bench, tmp_path / "s.json")
    assert bench.copies == [1]


def test_wrong_values_are_never_timed(tmp_path):
    bench = ScriptedBench({IDS[1]: Check(0.5, 1e-3, "16 rows"), IDS[2]: Check(float("nan"), 1e-3, "16 rows")})
    record = run(CASES, bench, tmp_path / "r.json")
    assert [row["id"] for row in record.points] == [IDS[0], IDS[3]]
    assert [(row["id"], row["status"]) for row in record.unmeasured] == [(IDS[1], "wrong"), (IDS[2], "wrong")]
    assert "relative L2 error 0.5 above 0.001: 16 rows" in record.unmeasured[0]["why"]
    assert len(record.faults) == 2


def test_a_failing_case_is_a_row_and_the_others_go_on(tmp_path):
    bench = ScriptedBench({IDS[0]: ZeroDivisionError("boom"), IDS[1]: UnavailableError("no such backend")})
    record = run(CASES, bench, tmp_path / "r.json")
    assert [row["id"] for row in record.points] == IDS[2:]
    assert record.unmeasured == [
        {"id": IDS[0], "status": "failed", "why": "ZeroDivisionError: boom"},
        {"id": IDS[1], "status": "unavailable", "why": "no such backend"},
    ]
    assert record.faults == record.unmeasured[:1]


def test_a_lost_device_ends_the_run_and_resuming_leaves_the_culprit_out(tmp_path):
    path = tmp_path / "r.json"
    record = run(CASES, ScriptedBench({IDS[1]: RuntimeError("launch failed")}, lost_after=IDS[1]), path)
    assert record.stopped and IDS[1] in record.stopped and "illegal memory access" in record.stopped
    again = measure.continue_record(path, SMALL, QUICK)
    bench = ScriptedBench()
    measure.measure(measure.plan(CASES, QUICK), again, lambda case: bench, SMALL, path=path)
    assert set(bench.prepared) == set(IDS[2:]) and again.stopped is None
    assert [row["id"] for row in again.points] == [IDS[0], *IDS[2:]]
    retried = measure.continue_record(path, SMALL, QUICK, retry=True)
    bench = ScriptedBench()
    measure.measure(measure.plan(CASES, QUICK), retried, lambda case: bench, SMALL, path=path)
    assert set(bench.prepared) == {IDS[1]} and len(retried.points) == 4


def test_the_budget_stops_before_a_case_that_would_break_it(tmp_path):
    planned = measure.plan(CASES, QUICK)
    record = measure.start_record(SMALL, QUICK)
    bench = ScriptedBench()
    budget = 1.5 * planned[0].seconds
    measure.measure(
        planned, record, lambda case: bench, SMALL, path=tmp_path / "r.json", budget_seconds=planned[0].seconds / 2
    )
    assert record.stopped.startswith("4 cases left") and not bench.prepared
    measure.measure(planned, record, lambda case: bench, SMALL, path=tmp_path / "r.json", budget_seconds=budget)
    assert record.points and json.loads((tmp_path / "r.json").read_text())["stopped"] == record.stopped


def test_every_case_is_on_disk_before_the_next_begins(tmp_path):
    path = tmp_path / "r.json"
    seen = []
    run(
        CASES,
        ScriptedBench(),
        path,
        progress=lambda line: seen.append(path.exists() and len(json.loads(path.read_text())["points"])),
    )
    assert seen == [False, 1, 2, 3] and not list(tmp_path.glob("*.partial"))


def test_records_of_something_else_are_not_continued(tmp_path):
    path = tmp_path / "r.json"
    run(CASES[:1], ScriptedBench(), path)
    other = dataclasses.replace(SMALL, id="Test_2")
    with pytest.raises(measure.RecordError, match=r"measured on another GPU \(Test_1; now Test_2\)"):
        measure.continue_record(path, other, QUICK)
    with pytest.raises(measure.RecordError, match="by another protocol"):
        measure.continue_record(path, SMALL, TimingProtocol())
    document = json.loads(path.read_text())
    document["provenance"]["kernel_sources_sha256"] = "0"
    path.write_text(json.dumps(document))
    with pytest.raises(measure.RecordError, match="with other CUDA sources"):
        measure.continue_record(path, SMALL, QUICK)
    for text in ("{", "[]", "{}", '{"format": "other"}', json.dumps({"format": measure.FORMAT})):
        path.write_text(text)
        with pytest.raises(measure.RecordError, match="is not a record"):
            measure.continue_record(path, SMALL, QUICK)
    with pytest.raises(measure.RecordError, match="cannot be read"):
        measure.continue_record(tmp_path / "none.json", SMALL, QUICK)


def test_the_standard_list_covers_what_it_says():
    cases = standard_cases()
    assert len({case.id for case in cases}) == len(cases)
    assert cases[0].is_ceiling and all(case.is_ceiling for case in cases if case.kind.endswith("bench"))
    own = [case for case in cases if case.maker == "cuda"]
    lengths = {case.shape.kv_len for case in own if case.kind == "prefill_fwd"}
    assert {512, 1024, 2048, 4096, 8192, 16384} <= lengths
    decode = [case for case in own if case.kind == "decode"]
    assert {case.shape.kv_len for case in decode} >= {1024 * n for n in (1, 4, 16, 64, 256)}
    assert {case.shape.block_rows for case in own if case.kind == "kv_gather"} == {1, 2, 4, 8, 16, 32, 64}
    assert {case.kind for case in own} >= {"mla_decode", "sink_window", "column_sums", "op_softmax", "membench"}
    assert {case.what for case in cases if case.is_ceiling} >= {
        "read",
        "copy",
        "triad",
        "gather",
        "matmul",
        "exponentials",
    }
    assert {case.maker for case in cases} == set(case_list.Maker.__args__)
    # Every CUDA attention case has a PyTorch kernel of the same shape beside it, where PyTorch has one.
    torch_shapes = {
        (case.kind, case.dtype, case.shape) for case in cases if case.maker in ("torch-flash", "torch-cudnn")
    }
    for case in own:
        if case.kind in ("prefill_fwd", "decode") and case.dtype != "float32":
            assert (case.kind, case.dtype, case.shape) in torch_shapes


def test_work_of_cases_is_that_of_public_rows():
    """FLOP, bytes and exponentials of two published measurements (FlashAttention-3, FlashMLA on an H100)."""
    prefill = Case("prefill_fwd", "cuda", "float16", Shape(32, 32, 32, 512, 512, 64, 64))
    assert (prefill.flops, prefill.bytes_min, prefill.exps) == (68719476736, 268435456, 268435456)
    mla = Case("mla_decode", "cuda", "bfloat16", Shape(128, 16, 1, 1, 4096, 576, 512, causal=True))
    assert (mla.flops, mla.bytes_min, mla.exps) == (18253611008, 608436224, 8388608)


def test_window_pairs_are_counted_exactly():
    shape = Shape(1, 1, 1, 6, 9, 8, 8, causal=True, window=3, sinks=2)
    visible = [(i, j) for i in range(6) for j in range(9) if j <= i + 3 and (i + 3 - j < 3 or j < 2)]
    assert shape.pairs == len(visible)


def test_plans_estimate_time_and_cache_states():
    large = attention(batch=64, kv_len=4096, q_len=4096, heads=32, kv_heads=32)
    ceiling, small, big = measure.plan([CUDA_CASES[-1], CASES[0], large], TimingProtocol())
    assert (ceiling.caches, small.caches, big.caches) == (("warm",), ("cold", "warm"), ("cold",))
    assert 0 < small.seconds < big.seconds


def test_provenance_hides_serial_numbers_and_names_the_commit(monkeypatch):
    from reference.measuring import machine

    answers = {"name": "NVIDIA Test 1", "uuid": "GPU-secret", "driver": "1.2", "power_limit_w": 700.0}
    monkeypatch.setattr(
        machine, "_query", lambda fields: dict(answers) if "uuid" in fields else {"sm_clock_mhz": 345.0}
    )
    found = provenance(SMALL)
    assert "secret" not in json.dumps(found) and len(found["gpu"]["uuid_hash"]) == 16
    assert found["gpu"]["driver"] == "1.2" and found["idle"] == {"sm_clock_mhz": 345.0}
    assert found["software"]["numpy"] == np.__version__
    commit = found["commit"]
    assert commit is None or len(commit) == 40


def test_hardware_has_the_names_of_the_public_collections():
    assert hardware_id("NVIDIA H200") == "H200_SXM_141G"
    assert hardware_id("NVIDIA H100 80GB HBM3") == "H100_SXM5_80G"
    assert hardware_id("NVIDIA GeForce RTX 4090") == "GeForce_RTX_4090"
