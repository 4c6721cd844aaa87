"""Measure the standard cases on the GPU at hand and write one record: resumable, bounded in time, checked before timed.

A record is a JSON document whose `points` have the keys of the public collections of GPU measurements (kind, kernel,
hw, dtype, shape, flops, bytes_min, exps, latency_us, ...), with timing samples, the error against the oracle and the
hash of the kernel source beside them. Ceilings are marked ``calibrate``, everything else ``validate``: a model
may be fitted to the former only. The file is replaced after every case, so a run may be killed at any time.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from reference.cuda.kernel_sources import sources_sha256
from reference.measuring.bench import Bench, Check, Prepared, UnavailableError
from reference.measuring.cases import LIST_VERSION, SHORT_NAMES, Case
from reference.measuring.machine import Hardware, gpu_state, provenance
from reference.measuring.timing import Timing, TimingProtocol, time_calls

FORMAT = "attnflow-gpu-record/1"

CONVENTIONS = {
    "flops": "2 per multiply-add over the visible pairs, half of the square when causal; softmax not counted",
    "bytes_min": "compulsory traffic: inputs read once per KV head, outputs written once, at the stated dtype",
    "exps": "softmax exponentials over the visible pairs",
    "latency_us": "median of all samples in the first cache state listed under timing (cold where there is one)",
    "confidence": "A: shape, hardware and method are all in this record",
    "split": "calibrate: ceilings of the chip, which a model may be fitted to; validate: score only, never fit",
}

KERNEL_NAMES = {
    "cuda": "attnflow CUDA",
    "cuda-rows": "attnflow CUDA, one warp per row",
    "torch-eager": "PyTorch eager attention",
    "torch-flash": "PyTorch SDPA flash",
    "torch-cudnn": "PyTorch SDPA cuDNN",
    "torch-efficient": "PyTorch SDPA memory-efficient",
    "torch": "PyTorch",
}

# Rates for estimates of run time only: H100 SXM data sheet, and a share of it that plain kernels reach.
_FLOPS_PER_S = 0.2 * 989e12
_EXPS_PER_S = 0.5 * 3.87e12
_BYTES_PER_S = 0.5 * 3.35e12
_ROW_KERNEL_SLOWDOWN = 100.0
_LAUNCH_US = 5.0
_SETUP_S = 1.0
_PREPARE_BYTES_PER_S = 20e9


@dataclass(frozen=True)
class Planned:
    """A case and what measuring it is expected to cost.

    Attributes
    ----------
    caches
        Cache states it is timed in, the first being the one reported.
    seconds
        Estimate from data-sheet rates, for planning only.
    """

    case: Case
    caches: tuple[str, ...]
    seconds: float


def plan(cases: Iterable[Case], protocol: TimingProtocol) -> tuple[Planned, ...]:
    """Cache states and expected seconds of each case."""
    return tuple(_planned(case, protocol) for case in cases)


def _planned(case: Case, protocol: TimingProtocol) -> Planned:
    if case.kind == "computebench":
        caches: tuple[str, ...] = ("warm",)
    elif case.bytes_min < protocol.warm_below_bytes:
        caches = ("cold", "warm")
    else:
        caches = ("cold",)
    call_us = expected_us(case)
    device_s = len(caches) * protocol.seconds(call_us)
    return Planned(case, caches, _SETUP_S + 2 * case.memory_bytes / _PREPARE_BYTES_PER_S + device_s)


def expected_us(case: Case) -> float:
    """Rough length of a call on a data-centre GPU, for estimates of run time only."""
    moved = case.memory_bytes if case.maker == "torch-eager" or case.what == "shared-reads" else case.bytes_min
    seconds = max(case.flops / _FLOPS_PER_S, case.exps / _EXPS_PER_S, moved / _BYTES_PER_S)
    slowdown = _ROW_KERNEL_SLOWDOWN if case.maker == "cuda-rows" or (case.dtype == "float32" and case.flops) else 1.0
    return _LAUNCH_US + 1e6 * seconds * slowdown


@dataclass
class Record:
    """A record in the making.

    Attributes
    ----------
    points
        Rows of measured cases.
    unmeasured
        Cases without a time, each with ``status`` (``unavailable``, ``wrong``, ``failed``) and the reason.
    stopped
        Why the run ended before the list did; None when it did not.
    """

    title: str
    source: str
    hardware_id: str
    provenance: dict[str, object]
    protocol: TimingProtocol
    points: list[dict[str, object]] = field(default_factory=list)
    unmeasured: list[dict[str, object]] = field(default_factory=list)
    stopped: str | None = None

    @property
    def done(self) -> set[str]:
        """Ids of cases that a resumed run does not try again: all that were tried."""
        return {str(row["id"]) for row in (*self.points, *self.unmeasured)}

    @property
    def faults(self) -> list[dict[str, object]]:
        """Cases whose values were wrong or whose run failed."""
        return [row for row in self.unmeasured if row["status"] in ("wrong", "failed")]

    def document(self) -> dict[str, object]:
        """The JSON document."""
        return {
            "format": FORMAT,
            "title": self.title,
            "list_version": LIST_VERSION,
            "conventions": CONVENTIONS,
            "sources": {self.source: {"title": self.title, "access": "measured by `attnflow measure`"}},
            "provenance": self.provenance,
            "protocol": asdict(self.protocol),
            "stopped": self.stopped,
            "points": self.points,
            "unmeasured": self.unmeasured,
        }

    def write(self, path: Path) -> None:
        """Replace the file in one step."""
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(self.document(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(path)


class RecordError(ValueError):
    """An existing record cannot be continued."""


def start_record(hardware: Hardware, protocol: TimingProtocol) -> Record:
    """An empty record of the machine at hand."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    source = f"measure-{hardware.id}-{date[:10]}"
    return Record(
        title=f"attnflow measure on {hardware.name}, {date[:10]}",
        source=source,
        hardware_id=hardware.id,
        provenance=provenance(hardware) | {"date": date, "kernel_sources_sha256": sources_sha256()},
        protocol=protocol,
    )


def continue_record(path: Path, hardware: Hardware, protocol: TimingProtocol, *, retry: bool = False) -> Record:
    """The record at `path`, to be completed on the same kind of GPU, with the same kernels, by the same method.

    Cases that failed or gave wrong values are tried again only with `retry`: a kernel that brings the device down
    would do so in every resumed run.

    Raises
    ------
    RecordError
        Not a record, or one of another GPU, case list, protocol or state of the CUDA sources.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != FORMAT:
            raise RecordError(f"{path}: is not a record of format {FORMAT}")
        source = next(iter(document["sources"]))
        unmeasured = [row for row in document["unmeasured"] if not retry or row["status"] == "unavailable"]
        record = Record(document["title"], source, hardware.id, document["provenance"], protocol)
        record.points, record.unmeasured = document["points"], unmeasured
        then_and_now = {
            "on another GPU": (document["provenance"]["gpu"]["id"], hardware.id),
            "with another case list": (document["list_version"], LIST_VERSION),
            "by another protocol": (document["protocol"], asdict(protocol)),
            "with other CUDA sources": (document["provenance"]["kernel_sources_sha256"], sources_sha256()),
        }
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path}: is not a record of format {FORMAT}") from None
    for what, (then, now) in then_and_now.items():
        if then != now:
            raise RecordError(f"{path}: was measured {what} ({then}; now {now})")
    return record


def measure(
    planned: Sequence[Planned],
    record: Record,
    benches: Callable[[Case], Bench],
    hardware: Hardware,
    *,
    path: Path,
    budget_seconds: float | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Record:
    """Measure what the record does not hold yet, writing it after every case.

    Parameters
    ----------
    planned
        The cases, in order.
    record
        New or continued; it is completed in place.
    benches
        The bench that makes a case.
    hardware
        Cache and memory sizes decide on the buffers of cold timing.
    path
        File of the record.
    budget_seconds
        No case is started that is not expected to end within it; None for no limit.
    progress
        Told one line per case.
    """
    started = time.monotonic()
    record.stopped = None
    done = record.done
    waiting = [item for item in planned if item.case.id not in done]
    for number, item in enumerate(waiting, start=1):
        spent = time.monotonic() - started
        if budget_seconds is not None and spent + item.seconds > budget_seconds:
            record.stopped = f"{len(waiting) - number + 1} cases left when the budget of {budget_seconds:g} s ended"
            break
        lost = _measure_one(item, record, benches, hardware, progress, f"[{number}/{len(waiting)}]")
        record.write(path)
        if lost:
            record.stopped = f"the device failed after {item.case.id}: {lost}; start again with --resume"
            break
    record.write(path)
    return record


def _measure_one(
    item: Planned,
    record: Record,
    benches: Callable[[Case], Bench],
    hardware: Hardware,
    progress: Callable[[str], None],
    label: str,
) -> str | None:
    """Add one case to the record; returns why the device is lost, if it is."""
    case = item.case
    bench: Bench | None = None
    try:
        bench = benches(case)
        row = _row(item, record, bench, hardware)
    except UnavailableError as error:
        row = {"id": case.id, "status": "unavailable", "why": str(error)}
    except Exception as error:  # a failed case is a row with its reason, whatever went wrong
        row = {"id": case.id, "status": "failed", "why": f"{type(error).__name__}: {error}"}
    if "status" in row:
        record.unmeasured.append(row)
        progress(f"{label} {case.id}: {row['status']}: {row['why']}")
    else:
        record.points.append(row)
        progress(f"{label} {case.id}: {row['latency_us']} us")
    return _lost(bench) if bench else None


def _lost(bench: Bench) -> str | None:
    """Reason why the device answers no more; an illegal access by one kernel ends every later one."""
    try:
        bench.release()
        bench.stopwatch.events([])
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _row(item: Planned, record: Record, bench: Bench, hardware: Hardware) -> dict[str, object]:
    """Prepare, check, then time a case, in each of its cache states."""
    case, protocol = item.case, record.protocol
    before = gpu_state()
    timings: list[Timing] = []
    check: Check | None = None
    prepared: Prepared | None = None
    for cache in item.caches:
        free_bytes = hardware.memory_bytes // 2
        copies = protocol.copies(case.memory_bytes, hardware.l2_bytes, free_bytes) if cache == "cold" else 1
        prepared = bench.prepare(case, copies)
        with prepared.surrounding():
            if check is None and prepared.check is not None:
                prepared.calls[0]()
                check = prepared.check()
                if not check.passed:
                    why = f"relative L2 error {check.relative_l2:.3g} above {check.tolerance:g}: {check.compared}"
                    return {"id": case.id, "status": "wrong", "why": why}
            timings.append(time_calls(bench.stopwatch, prepared.calls, cache, protocol))
        bench.release()
    kernels = prepared.kernels if prepared else ()
    return _describe(item, record, timings, check, kernels) | {"state": {"before": before, "after": gpu_state()}}


def _describe(
    item: Planned,
    record: Record,
    timings: Sequence[Timing],
    check: Check | None,
    kernels: Sequence[tuple[str, str]],
) -> dict[str, object]:
    """The row of a measured case."""
    case = item.case
    latency_us = timings[0].median_us
    return {
        "id": case.id,
        "kind": case.kind,
        "kernel": KERNEL_NAMES[case.maker] + (f" {case.what}" if case.what else ""),
        "hw": record.hardware_id,
        "dtype": SHORT_NAMES[case.dtype],
        "shape": case.shape.record(),
        "flops": case.flops or None,
        "bytes_min": case.bytes_min or None,
        "exps": case.exps or None,
        "reported": "latency",
        "latency_us": round(latency_us, 3),
        "tflops": round(case.flops / latency_us / 1e6, 3) if case.flops else None,
        "gbps": round(case.bytes_min / latency_us / 1e3, 2) if case.bytes_min else None,
        "confidence": "A",
        "split": "calibrate" if case.is_ceiling else "validate",
        "conditions": f"{timings[0].cache} cache, {timings[0].method}, {timings[0].copies} buffer sets",
        "source": record.source,
        "timing": [timing.record() for timing in timings],
        "error": asdict(check) if check else None,
        "kernel_hashes": dict(kernels),
    }
