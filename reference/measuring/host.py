"""Measures this computer's processor: ceilings by size; attention, products and softmax, checked before they are timed.

The same cases run on PyTorch where it is installed, on any device that it can use, and on NumPy otherwise, so that
every clone can compare predictions with a clock. Ceilings are marked ``calibrate``: a chip file may be made from them.
Everything else is marked ``validate`` and only scored. On a computer that others use, the clock of the process stands
for that of the wall, if one thread does everything (OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import math
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

FORMAT = "attnflow-host-record/1"
KINDS = ("product", "stream", "exponential", "reduction", "call", "gemm", "softmax", "attention")
CEILINGS = KINDS[:5]
FLOAT_BYTES = 4
LEAST_SECONDS = 0.15
"""Of timing a case, all samples together."""
LEAST_SAMPLES, MOST_SAMPLES = 5, 200
WARM_UPS = 2
TOLERANCE = 2e-5
"""Relative error accepted of single precision against float64."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""That limit the threads of BLAS libraries when they are loaded."""
Split = Literal["calibrate", "validate"]
Clock = Literal["wall", "process"]


@dataclass(frozen=True)
class HostCase:
    """A case.

    Parameters
    ----------
    kind
        One of `KINDS`.
    sizes
        ``product`` and ``gemm``: rows, columns, depth; ``stream``: bytes of the array that is scaled in place;
        ``exponential`` and ``call``: elements; ``reduction``, ``softmax``: rows, columns; ``attention``: batch, heads,
        tokens, head_dim, decode (0 or 1).
    """

    kind: str
    sizes: tuple[int, ...]

    @property
    def id(self) -> str:
        """Unique."""
        return f"{self.kind}/" + "x".join(map(str, self.sizes))

    @property
    def split(self) -> Split:
        """What it may be used for."""
        return "calibrate" if self.kind in CEILINGS else "validate"

    @property
    def flops(self) -> int:
        """Of products."""
        if self.kind in ("product", "gemm"):
            return 2 * math.prod(self.sizes)
        if self.kind == "attention":
            batch, heads, tokens, head_dim, decode = self.sizes
            return 4 * batch * heads * (1 if decode else tokens) * tokens * head_dim
        return 0

    @property
    def bytes(self) -> int:
        """Inputs read once and results written once."""
        if self.kind in ("product", "gemm"):
            rows, columns, depth = self.sizes
            return FLOAT_BYTES * (rows * depth + columns * depth + rows * columns)
        if self.kind == "stream":
            return 2 * self.sizes[0]
        if self.kind == "attention":
            batch, heads, tokens, head_dim, decode = self.sizes
            return FLOAT_BYTES * batch * heads * head_dim * (2 * tokens + 2 * (1 if decode else tokens))
        return 2 * FLOAT_BYTES * math.prod(self.sizes)


def host_cases() -> tuple[HostCase, ...]:
    """The list, most valuable first."""
    return tuple(_cases())


def _cases() -> Iterator[HostCase]:
    yield from (HostCase("product", (size, size, size)) for size in (1024, 512, 2048))
    yield from (HostCase("stream", (size << 10,)) for size in (64, 256, 1024, 4096, 16384, 65536, 262144))
    yield from (HostCase("exponential", (size,)) for size in (1 << 14, 1 << 16))
    yield HostCase("reduction", (64, 1024))
    yield HostCase("call", (16,))
    for rows, columns, depth in (
        (1, 4096, 4096),
        (64, 2048, 2048),
        (256, 4096, 1024),
        (1024, 1024, 4096),
        (2048, 2048, 512),
    ):
        yield HostCase("gemm", (rows, columns, depth))
    yield from (HostCase("softmax", sizes) for sizes in ((512, 4096), (4096, 1024)))
    for sizes in (
        (1, 8, 512, 64, 0),
        (1, 8, 1024, 64, 0),
        (1, 4, 2048, 128, 0),
        (8, 8, 4096, 64, 1),
        (1, 32, 8192, 128, 1),
    ):
        yield HostCase("attention", sizes)


class HostBackend(Protocol):
    """One framework on one device."""

    name: str
    device: str
    threads: int

    def prepare(self, case: HostCase) -> tuple[Callable[[], object], Callable[[], float]]:
        """A call, and its result's relative error against float64, to be asked for after a call."""
        ...

    def synchronize(self) -> None:
        """Wait until the device has done everything."""
        ...


class NumpyBackend:
    """NumPy with its BLAS."""

    name, device = "numpy", "cpu"

    def __init__(self) -> None:
        asked = [os.environ.get(name, "") for name in THREAD_VARIABLES]
        limits = [int(text) for text in asked if text.isdigit() and int(text)]
        every = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = min([every, *limits])

    def prepare(self, case: HostCase) -> tuple[Callable[[], object], Callable[[], float]]:
        """A call, and its result's relative error against float64."""
        return _prepared(case, _Arrays(np, np.asarray, np.exp, _numpy_softmax, np.matmul))

    def synchronize(self) -> None:
        """Nothing runs beside the caller."""


class TorchBackend:
    """PyTorch on one of its devices.

    Raises
    ------
    RuntimeError
        PyTorch is not installed, or has no such device.
    """

    name = "torch"

    def __init__(self, device: str) -> None:
        import torch

        self._torch, self.device = torch, device
        torch.zeros(1, device=device)
        self.threads = torch.get_num_threads()

    def prepare(self, case: HostCase) -> tuple[Callable[[], object], Callable[[], float]]:
        """A call, and its result's relative error against float64."""
        torch = self._torch

        def moved(array: Any) -> Any:
            return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

        return _prepared(case, _Arrays(torch, moved, torch.exp, lambda x: torch.softmax(x, -1), torch.matmul))

    def synchronize(self) -> None:
        """Wait for accelerators, which run beside the caller."""
        kind = self.device.split(":")[0]
        if kind != "cpu":
            getattr(self._torch, kind).synchronize()


@dataclass(frozen=True)
class _Arrays:
    """What is needed of a framework."""

    module: Any
    moved: Callable[[Any], Any]
    exp: Callable[..., Any]
    softmax: Callable[[Any], Any]
    matmul: Callable[..., Any]


def _numpy_softmax(scores: Any) -> Any:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis=-1, keepdims=True)
    return shifted


def _prepared(case: HostCase, arrays: _Arrays) -> tuple[Callable[[], object], Callable[[], float]]:
    """A call on random numbers and the check of what it has made."""
    generator = np.random.default_rng(0)

    def drawn(*shape: int) -> Any:
        return generator.standard_normal(shape, dtype=np.float32)

    if case.kind in ("product", "gemm"):
        rows, columns, depth = case.sizes
        left, right = drawn(rows, depth), drawn(columns, depth)
        a, b = arrays.moved(left), arrays.moved(right)
        return _checked(lambda: arrays.matmul(a, b.T), lambda: left.astype(np.float64) @ right.T.astype(np.float64))
    if case.kind == "stream":
        array = arrays.moved(drawn(case.sizes[0] // FLOAT_BYTES))
        scale = arrays.module.multiply
        return (lambda: scale(array, 1.0, out=array)), lambda: 0.0
    if case.kind in ("exponential", "call"):
        values = drawn(*case.sizes)
        array = arrays.moved(values)
        target = arrays.moved(np.empty_like(values))
        return _checked(lambda: arrays.exp(array, out=target), lambda: np.exp(values.astype(np.float64)))
    if case.kind == "reduction":
        values = drawn(*case.sizes)
        array = arrays.moved(values)
        return _checked(lambda: arrays.module.amax(array, -1), lambda: values.astype(np.float64).max(axis=-1))
    if case.kind == "softmax":
        values = drawn(*case.sizes)
        array = arrays.moved(values)
        return _checked(lambda: arrays.softmax(array), lambda: _numpy_softmax(values.astype(np.float64)))
    batch, heads, tokens, head_dim, decode = case.sizes
    q, k, v = (
        drawn(batch, heads, 1 if decode else tokens, head_dim),
        *(drawn(batch, heads, tokens, head_dim) for _ in "kv"),
    )
    on_device = [arrays.moved(each) for each in (q / np.float32(math.sqrt(head_dim)), k, v)]

    def attended(queries: Any, keys: Any, values: Any) -> Any:
        return arrays.matmul(arrays.softmax(arrays.matmul(queries, keys.swapaxes(-1, -2))), values)

    def expected() -> Any:
        wide = [each.astype(np.float64) for each in (q / np.sqrt(head_dim), k, v)]
        return _numpy_softmax(wide[0] @ wide[1].swapaxes(-1, -2)) @ wide[2]

    return _checked(lambda: attended(*on_device), expected)


def _checked(call: Callable[[], Any], expected: Callable[[], Any]) -> tuple[Callable[[], object], Callable[[], float]]:
    def error() -> float:
        made = call()
        found = np.asarray(made.cpu() if hasattr(made, "cpu") else made, np.float64)
        truth = expected()
        return float(np.linalg.norm(found - truth) / np.linalg.norm(truth))

    return call, error


def backend_on(device: str) -> HostBackend:
    """PyTorch on ``device`` where it is installed, else NumPy for ``cpu``.

    Raises
    ------
    RuntimeError
        A device that cannot be used, and why.
    """
    if find_spec("torch") is not None:
        try:
            return TorchBackend(device)
        except (RuntimeError, AssertionError) as error:
            raise RuntimeError(str(error).splitlines()[0]) from None
    if device != "cpu":
        raise RuntimeError("PyTorch is not installed, and NumPy runs on the cpu alone")
    return NumpyBackend()


@dataclass
class HostRecord:
    """What was measured.

    Parameters
    ----------
    machine
        Processor, memory and software.
    points
        One per case, in order.
    """

    machine: dict[str, str | int | float]
    points: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As it is written."""
        return {"format": FORMAT, **asdict(self)}


def measure_host(
    backend: HostBackend,
    cases: tuple[HostCase, ...],
    budget_seconds: float | None,
    progress: Callable[[str], None],
    clock: Clock = "wall",
) -> HostRecord:
    """Check and time ``cases``; those that the budget leaves no time for are not in the record.

    Raises
    ------
    ValueError
        The clock of the process with several threads, which it adds up.
    """
    if clock == "process" and backend.threads > 1:
        raise ValueError(f"the clock of the process adds up {backend.threads} threads; limit them to one")
    record = HostRecord(machine_of(backend) | {"clock": clock})
    started = time.perf_counter()
    for case in cases:
        if budget_seconds is not None and time.perf_counter() - started > budget_seconds:
            progress(f"stopped before {case.id}: the budget of {budget_seconds:g} s is used up")
            break
        call, error = backend.prepare(case)
        relative = error()
        samples = timed(call, backend.synchronize, clock)
        point = {
            "id": case.id,
            "kind": case.kind,
            "sizes": list(case.sizes),
            "split": case.split,
            "flops": case.flops,
            "bytes": case.bytes,
            "time_us": round(statistics.median(samples) * 1e6, 3),
            "fastest_us": round(min(samples) * 1e6, 3),
            "samples": len(samples),
            "relative_error": relative,
            "passed": relative <= TOLERANCE,
        }
        record.points.append(point)
        progress(f"{case.id}: {point['time_us']:,.1f} us")
    return record


def timed(call: Callable[[], object], synchronize: Callable[[], None], clock: Clock = "wall") -> list[float]:
    """Seconds of single calls after some to warm up, in a row."""
    now = time.perf_counter if clock == "wall" else time.process_time
    for _ in range(WARM_UPS):
        call()
    synchronize()
    samples: list[float] = []
    spent = 0.0
    while len(samples) < LEAST_SAMPLES or (spent < LEAST_SECONDS and len(samples) < MOST_SAMPLES):
        begun = now()
        call()
        synchronize()
        samples.append(now() - begun)
        spent += samples[-1]
    return samples


def machine_of(backend: HostBackend) -> dict[str, str | int | float]:
    """What a reader needs to judge a record."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    found: dict[str, str | int | float] = {
        "processor": _first(r"model name\s*:\s*(.+)", text) or platform.processor() or platform.machine(),
        "clock_mhz": float(_first(r"cpu MHz\s*:\s*([\d.]+)", text) or 0.0),
        "instructions": " ".join(
            sorted({"avx2", "avx512f", "amx_tile"} & set(_first(r"flags\s*:\s*(.+)", text).split()))
        ),
        "threads": backend.threads,
        "cache_bytes": _cache_bytes(),
        "memory_bytes": _memory_bytes(),
        "framework": backend.name,
        "device": backend.device,
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0,
        "date": datetime.now(UTC).date().isoformat(),
    }
    for package in ("numpy", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match.group(1).strip() if match else ""


def _cache_bytes() -> int:
    """Of the largest cache of the first processor; 0 where the system does not say."""
    sizes = []
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text(encoding="ascii").strip()
        sizes.append(int(text[:-1]) * {"K": 1 << 10, "M": 1 << 20}.get(text[-1], 1))
    return max(sizes, default=0)


def _memory_bytes() -> int:
    names = ("SC_PAGE_SIZE", "SC_PHYS_PAGES")
    return math.prod(os.sysconf(name) for name in names) if all(name in os.sysconf_names for name in names) else 0
