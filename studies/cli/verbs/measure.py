"""``attnflow measure``: time the reference kernels on the GPU of this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from hwmodels.reading.errors import InputError, Problem
from studies.cli.output import EXIT_CHECK_FAILED, EXIT_OK, JsonFlag, QuietFlag, emit, note, table
from studies.cli.verb import verb

if TYPE_CHECKING:
    from reference.measuring.cases import Case
    from reference.measuring.machine import Hardware
    from reference.measuring.measure import Planned, Record
    from studies.points.point import Json


@verb("measure", order=120)
def measure(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be measured; needs no GPU.")] = False,
    only: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Only cases whose id contains it.")] = None,
    budget_seconds: Annotated[float | None, typer.Option(min=1.0, help="Start no case beyond this time.")] = None,
    device: Annotated[
        str, typer.Option(help="cuda: the standard cases; cpu, xpu, mps...: ceilings and kernels of PyTorch or NumPy.")
    ] = "cuda",
    clock: Annotated[
        str, typer.Option(help="With --device cpu: wall, or process on a computer that others use.")
    ] = "wall",
    out: Annotated[Path | None, typer.Option(help="Record file; reference/records/GPU-DATE.json if not given.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Complete the record that --out names.")] = False,
    retry: Annotated[bool, typer.Option("--retry", help="With --resume: also what failed or was wrong.")] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> int:
    """Measure kernels and ceilings of this GPU or processor; exit code 1 when a kernel failed or gave wrong values.

    Example: attnflow measure --device cpu --out host.json
    """
    if device.split(":")[0] != "cuda":
        return _measure_host(
            device, clock, only or [], budget_seconds, out, dry_run=dry_run, as_json=as_json, quiet=quiet
        )
    from reference.measuring.measure import plan
    from reference.measuring.timing import TimingProtocol

    protocol = TimingProtocol()
    planned = plan(_chosen(only or []), protocol)
    if dry_run:
        document = _plan_document(planned, budget_seconds)
        emit(document, lambda: _plan_text(planned), as_json=as_json)
        return EXIT_OK
    from reference.measuring.benches import StandardBenches
    from reference.measuring.measure import measure as run

    hardware = _hardware()
    path, record = _record(out, hardware, resume=resume, retry=retry)
    note(f"{hardware.name}: {len(planned)} cases, record {path}", quiet=quiet)
    run(
        planned,
        record,
        StandardBenches(),
        hardware,
        path=path,
        budget_seconds=budget_seconds,
        progress=lambda line: note(line, quiet=quiet),
    )
    emit(_result_document(path, record), lambda: _result_text(path, record), as_json=as_json)
    return EXIT_CHECK_FAILED if record.faults else EXIT_OK


def _measure_host(
    device: str,
    clock: str,
    only: list[str],
    budget_seconds: float | None,
    out: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Ceilings and kernels on whatever PyTorch, or NumPy without it, runs on."""
    from reference.measuring.host import Clock, backend_on, host_cases, measure_host

    cases = tuple(case for case in host_cases() if not only or any(text in case.id for text in only))
    if not cases:
        raise InputError(Problem("no case id contains any of them; see --dry-run", field="--only"))
    if dry_run:
        plan: dict[str, Json] = {"device": device, "cases": [{"id": case.id, "split": case.split} for case in cases]}
        rows = [(case.id, case.split, case.flops, case.bytes) for case in cases]
        emit(plan, lambda: table(("case", "split", "flop", "bytes"), rows), as_json=as_json)
        return EXIT_OK
    try:
        backend = backend_on(device)
    except RuntimeError as error:
        raise InputError(Problem(f"cannot be used: {error}", field="--device")) from None
    if clock not in get_args(Clock):
        raise InputError(Problem(f"must be one of {', '.join(get_args(Clock))} (got {clock!r})", field="--clock"))
    try:
        record = measure_host(
            backend, cases, budget_seconds, lambda line: note(line, quiet=quiet), cast("Clock", clock)
        )
    except ValueError as error:
        raise InputError(Problem(str(error), field="--clock", hint="OMP_NUM_THREADS=1")) from None
    document = record.to_json()
    if out is not None:
        try:
            out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(Problem(error.strerror or "cannot be written", str(out))) from None
    lines = [(point["id"], point["split"], point["time_us"], point["relative_error"]) for point in record.points]
    emit(document, lambda: table(("case", "split", "us", "relative error"), lines), as_json=as_json)
    return EXIT_OK if all(point["passed"] for point in record.points) else EXIT_CHECK_FAILED


def _chosen(texts: list[str]) -> list[Case]:
    """The standard cases whose id contains any of the texts; all without a text."""
    from reference.measuring.cases import standard_cases

    cases = standard_cases()
    unknown = [text for text in texts if not any(text in case.id for case in cases)]
    if unknown:
        raise InputError([Problem(f"no case id contains {text!r}; see --dry-run", field="--only") for text in unknown])
    return [case for case in cases if not texts or any(text in case.id for text in texts)]


def _hardware() -> Hardware:
    from reference.measuring.benches import current_hardware

    try:
        return current_hardware()
    except RuntimeError as error:
        raise InputError(Problem(f"no GPU to measure: {error}", hint="--dry-run lists what would run")) from None


def _record(out: Path | None, hardware: Hardware, *, resume: bool, retry: bool) -> tuple[Path, Record]:
    """Where the record goes, and what it holds already."""

    from hwmodels.reading.shipped import is_folder, is_there
    from reference.measuring.measure import RecordError, continue_record, start_record
    from reference.measuring.timing import TimingProtocol
    from reference.records import FOLDER

    if resume and out is None:
        raise InputError(Problem("needs --out, the record to complete", field="--resume"))
    if retry and not resume:
        raise InputError(Problem("needs --resume", field="--retry"))
    path = out or FOLDER / f"{hardware.id}-{datetime.now(UTC).date().isoformat()}.json"
    if not is_folder(path.parent):
        raise InputError(Problem(f"folder {path.parent} does not exist", field="--out"))
    if not resume:
        if is_there(path):
            raise InputError(Problem(f"{path} exists", field="--out", hint="--resume completes it"))
        return path, start_record(hardware, TimingProtocol())
    try:
        return path, continue_record(path, hardware, TimingProtocol(), retry=retry)
    except RecordError as error:
        raise InputError(Problem(str(error), field="--resume")) from None


def _plan_document(planned: tuple[Planned, ...], budget_seconds: float | None) -> Json:
    from reference.measuring.cases import LIST_VERSION, SHORT_NAMES
    from reference.measuring.timing import TimingProtocol

    cases: Json = [
        {
            "id": item.case.id,
            "kind": item.case.kind,
            "maker": item.case.maker,
            "dtype": SHORT_NAMES[item.case.dtype],
            "shape": item.case.shape.record(),
            "flops": item.case.flops,
            "bytes_min": item.case.bytes_min,
            "exps": item.case.exps,
            "memory_bytes": item.case.memory_bytes,
            "caches": list(item.caches),
            "estimated_seconds": round(item.seconds, 2),
        }
        for item in planned
    ]
    return {
        "list_version": LIST_VERSION,
        "protocol": asdict(TimingProtocol()),
        "budget_seconds": budget_seconds,
        "estimated_seconds": round(sum(item.seconds for item in planned), 1),
        "cases": cases,
    }


def _plan_text(planned: tuple[Planned, ...]) -> str:
    rows = [
        (item.case.id, item.case.flops, item.case.bytes_min, item.case.exps, "+".join(item.caches), item.seconds)
        for item in planned
    ]
    listing = table(("case", "flop", "bytes", "exps", "cache", "seconds"), rows)
    total = sum(item.seconds for item in planned)
    return f"{listing}\n\n{len(planned)} cases, about {total / 60:.1f} min by data-sheet rates of an H100"


def _result_document(path: Path, record: Record) -> dict[str, object]:
    keys = ("id", "latency_us", "tflops", "gbps")
    return {
        "record": str(path),
        "measured": len(record.points),
        "stopped": record.stopped,
        "points": [{key: point[key] for key in keys} for point in record.points],
        "unmeasured": record.unmeasured,
    }


def _result_text(path: Path, record: Record) -> str:
    rows = [(point["id"], point["latency_us"], point["tflops"], point["gbps"]) for point in record.points]
    lines = [table(("case", "us", "TFLOP/s", "GB/s"), rows), ""]
    lines += [f"{row['id']}: {row['status']}: {row['why']}" for row in record.unmeasured]
    lines.append(f"{len(record.points)} measured, {len(record.unmeasured)} not; record: {path}")
    if record.stopped:
        lines.append(record.stopped)
    return "\n".join(lines)
