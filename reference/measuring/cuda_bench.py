"""This package's CUDA kernels as a bench: attention by family, and the micro-kernels that find a chip's ceilings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from reference.cuda import cupy_ref
from reference.cuda.cupy_ref import Call, Launch
from reference.cuda.kernel_sources import ceiling_kernel
from reference.cuda.launch import Argument, CupyDevice, Device, DeviceArray
from reference.measuring.bench import (
    Check,
    IntArray,
    Prepared,
    Sample,
    UnavailableError,
    check_column_sums,
    check_rows,
    check_softmax,
    gather_blocks,
    gathered_rows,
    sampled_places,
)
from reference.measuring.cases import Case
from reference.measuring.timing import RunCall, Stopwatch
from reference.truth import dtypes, metrics
from reference.truth.oracle import FloatArray

if TYPE_CHECKING:
    import cupy

MLA_SCALE = (128 + 64) ** -0.5
"""Scale of absorbed latent attention: it belongs to the expanded heads of 128 + 64 columns (DeepSeek-V2, V3)."""

_ELEMENT_BYTES = 16
_BLOCKS_PER_MULTIPROCESSOR = 8
_TRIAD_FACTOR = 3.0
_EXPONENTIALS_PER_STEP = 8
_NEVER = 0xDEADBEEF


class CudaBench:
    """Cases whose maker is ``cuda`` or ``cuda-rows``.

    Parameters
    ----------
    device
        Where kernels run.
    stopwatch
        How they are timed.
    """

    def __init__(self, device: Device, stopwatch: Stopwatch) -> None:
        self.device = device
        self.stopwatch = stopwatch
        self._families: dict[str, Callable[[Case, int], tuple[Call, Callable[[], Check] | None]]] = {
            "prefill_fwd": self._attention,
            "decode": self._attention,
            "sink_window": self._attention,
            "kv_gather": self._gather,
            "mla_decode": self._mla,
            "column_sums": self._column_sums,
            "op_softmax": self._softmax,
            "membench": self._memory,
            "computebench": self._compute,
        }

    def prepare(self, case: Case, copies: int) -> Prepared:
        """Buffers and calls; each copy draws its own data."""
        prepared = [self._families[case.kind](case, seed) for seed in range(copies)]
        calls = [call for call, _ in prepared]
        kernels = tuple((str(kernel), kernel.sha256) for kernel in calls[0].kernels)
        return Prepared([call.run for call in calls], prepared[0][1], kernels)

    def release(self) -> None:
        """Give back the memory of the last case."""
        self.device.free_memory()

    def _attention(self, case: Case, seed: int) -> tuple[Call, Callable[[], Check]]:
        shape = case.shape
        q = self._draw(case, seed, 0, (shape.batch, shape.heads, shape.q_len, shape.d))
        k = self._draw(case, seed, 1, (shape.batch, shape.kv_heads, shape.kv_len, shape.d))
        v = self._draw(case, seed, 2, (shape.batch, shape.kv_heads, shape.kv_len, shape.d_v))
        mask = "causal" if shape.causal else "full"
        window, sinks = shape.window or None, shape.sinks
        if case.maker == "cuda-rows":
            call = cupy_ref.plan_rows(self.device, q, k, v, mask=mask, window=window, sinks=sinks, splits=1)
        elif shape.q_len == 1:
            call = cupy_ref.plan_decode(self.device, q, k, v, mask=mask, window=window, sinks=sinks)
        else:
            call = cupy_ref.plan_prefill(self.device, q, k, v, mask=mask, window=window, sinks=sinks)
        return call, lambda: check_rows(case, self._samples(case, q, k, v, call.outputs[0]))

    def _gather(self, case: Case, seed: int) -> tuple[Call, Callable[[], Check]]:
        shape = case.shape
        q = self._draw(case, seed, 0, (shape.batch, shape.heads, shape.q_len, shape.d))
        k = self._draw(case, seed, 1, (shape.batch, shape.kv_heads, shape.rows_held, shape.d))
        v = self._draw(case, seed, 2, (shape.batch, shape.kv_heads, shape.rows_held, shape.d_v))
        table = gather_blocks(case, seed)
        rows = gathered_rows(case, table)
        call = cupy_ref.plan_decode(self.device, q, k, v, table=table, block_rows=shape.block_rows)
        return call, lambda: check_rows(case, self._samples(case, q, k, v, call.outputs[0], rows))

    def _mla(self, case: Case, seed: int) -> tuple[Call, Callable[[], Check]]:
        shape = case.shape
        q = self._draw(case, seed, 0, (shape.batch, shape.heads, shape.q_len, shape.d))
        latent = self._draw(case, seed, 1, (shape.batch, shape.kv_len, shape.d))
        call = cupy_ref.plan_mla_decode(self.device, q, latent, v_dim=shape.d_v, scale=MLA_SCALE)

        def check() -> Check:
            samples = []
            for batch, _, rows in sampled_places(case):
                keys = self._wide(case, latent[batch])
                places = [(batch, head, query) for head, query in rows]
                queries = [query for _, query in rows]
                samples.append(
                    Sample(
                        keys,
                        keys[:, : shape.d_v],
                        self._rows(case, q, places),
                        self._rows(case, call.outputs[0], places),
                        queries,
                    )
                )
            return check_rows(case, samples, MLA_SCALE)

        return call, check

    def _column_sums(self, case: Case, seed: int) -> tuple[Call, Callable[[], Check]]:
        shape = case.shape
        q = self._draw(case, seed, 0, (shape.batch, shape.heads, shape.q_len, shape.d))
        k = self._draw(case, seed, 1, (shape.batch, shape.kv_heads, shape.kv_len, shape.d))
        _, lse = cupy_ref.plan_prefill(self.device, q, k, k, mask="causal").run()
        call = cupy_ref.plan_column_sums(self.device, q, k, lse, mask="causal")

        def check() -> Check:
            batch, kv_head, rows = sampled_places(case)[0]
            head = rows[0][0]
            sums = self.device.to_host(call.outputs[0][batch, head]).astype(np.float64)
            return check_column_sums(case, self._wide(case, q[batch, head]), self._wide(case, k[batch, kv_head]), sums)

        return call, check

    def _softmax(self, case: Case, seed: int) -> tuple[Call, Callable[[], Check]]:
        scores = self._draw(case, seed, 0, (case.shape.rows, case.shape.columns))
        call = cupy_ref.plan_softmax(self.device, scores)

        def check() -> Check:
            rows = range(0, case.shape.rows, max(1, case.shape.rows // 8))
            got = np.stack([self._wide(case, call.outputs[0][row]) for row in rows])
            return check_softmax(case, np.stack([self._wide(case, scores[row]) for row in rows]), got)

        return call, check

    def _memory(self, case: Case, seed: int) -> tuple[Call, Callable[[], Check] | None]:
        shape, device = case.shape, self.device
        elements = shape.bytes_moved // _ELEMENT_BYTES
        grid = (_BLOCKS_PER_MULTIPROCESSOR * device.multiprocessors, 1, 1)
        sink = device.empty((1,), np.uint32)
        if case.what == "read":
            source = self._floats(elements, seed)
            sizes = (np.int64(elements), np.uint32(_NEVER))
            return self._single("read_stream", grid, (source, sink, *sizes), (sink,)), None
        if case.what == "gather":
            length = shape.run_bytes // _ELEMENT_BYTES
            runs = elements // length
            order = device.permutation(runs, seed)
            arrays = (self._floats(elements, seed), order, sink)
            counts = (np.int64(runs), np.int32(length), np.uint32(_NEVER))
            return self._single("gather_stream", grid, (*arrays, *counts), (sink,)), None
        inputs = 1 if case.what == "copy" else 2
        each = elements // (inputs + 1)
        sources = [self._floats(each, seed + i) for i in range(inputs)]
        out = device.empty((4 * each,), np.float32)
        factor = (np.float32(_TRIAD_FACTOR),) if inputs == 2 else ()
        entry = "triad_stream" if inputs == 2 else "copy_stream"
        call = self._single(entry, grid, (*sources, out, *factor, np.int64(each)), (out,))

        def check() -> Check:
            *ends, got = (device.to_host(array[-4096:]).astype(np.float64) for array in (*sources, out))
            want = ends[0] if inputs == 1 else ends[0] + _TRIAD_FACTOR * ends[1]
            error = metrics.relative_l2(got, want)
            return Check(error, metrics.TOLERANCES["float32"].relative_l2, "the last 4,096 values")

        return call, check

    def _compute(self, case: Case, seed: int) -> tuple[Call, None]:
        del seed
        shape, sink = case.shape, self.device.empty((1,), np.uint32)
        if case.what == "launch":
            return self._single("nothing", (1, 1, 1), (np.int32(0),), (sink,)), None
        # `rows` threads, `columns` exponentials or 16-byte reads each.
        grid = (shape.rows // 256, 1, 1)
        if case.what == "exponentials":
            steps = np.int32(shape.columns // _EXPONENTIALS_PER_STEP)
            return self._single("exponentials", grid, (sink, steps, np.float32(-1.0)), (sink,)), None
        if case.what == "shared-reads":
            arguments = (sink, np.int32(shape.columns), np.uint32(_NEVER))
            return self._single("shared_reads", grid, arguments, (sink,)), None
        raise UnavailableError(f"no CUDA kernel for {case.what}")

    def _single(
        self, entry: str, grid: tuple[int, int, int], arguments: Sequence[Argument], outputs: tuple[DeviceArray, ...]
    ) -> Call:
        return Call(self.device, (Launch(ceiling_kernel(entry), grid, tuple(arguments)),), outputs)

    def _floats(self, elements: int, seed: int) -> DeviceArray:
        return self.device.draw((4 * elements,), "float32", seed)

    def _draw(self, case: Case, seed: int, role: int, shape: tuple[int, ...]) -> DeviceArray:
        return self.device.draw(shape, case.dtype, 3 * seed + role)

    def _wide(self, case: Case, array: DeviceArray) -> FloatArray:
        """Values of an array as float64 on the host."""
        stored = self.device.to_host(array)
        if case.dtype == "bfloat16":
            return dtypes.bfloat16_values(stored.astype(np.uint16))
        return stored.astype(np.float64)

    def _rows(self, case: Case, array: DeviceArray, places: Sequence[tuple[int, int, int]]) -> FloatArray:
        return np.stack([self._wide(case, array[place]) for place in places])

    def _samples(
        self,
        case: Case,
        q: DeviceArray,
        k: DeviceArray,
        v: DeviceArray,
        out: DeviceArray,
        kept: IntArray | None = None,
    ) -> list[Sample]:
        samples = []
        for batch, kv_head, rows in sampled_places(case):
            keys, values = (self._wide(case, x[batch, kv_head]) for x in (k, v))
            if kept is not None:
                keys, values = keys[kept[batch, kv_head]], values[kept[batch, kv_head]]
            places = [(batch, head, query) for head, query in rows]
            queries = [query for _, query in rows]
            samples.append(Sample(keys, values, self._rows(case, q, places), self._rows(case, out, places), queries))
        return samples


class CupyStopwatch:
    """CUDA events and graphs through CuPy, on a stream of its own."""

    def __init__(self) -> None:
        import cupy

        self._cupy = cupy
        self._stream: cupy.cuda.Stream = cupy.cuda.Stream(non_blocking=True)

    def events(self, calls: Sequence[RunCall]) -> list[float]:
        """Microseconds of each call."""
        return self._timed(calls)

    def graph(self, calls: Sequence[RunCall], replays: int) -> list[float]:
        """Microseconds of each replay of one graph of all calls."""
        self._cupy.cuda.runtime.deviceSynchronize()
        with self._stream:
            self._stream.begin_capture()
            for call in calls:
                call()
            graph = self._stream.end_capture()
        graph.upload(self._stream)
        self._stream.synchronize()
        return self._timed([lambda: graph.launch(self._stream)] * (replays + 1))[1:]

    def _timed(self, calls: Sequence[RunCall]) -> list[float]:
        self._cupy.cuda.runtime.deviceSynchronize()
        marks = [(self._cupy.cuda.Event(), self._cupy.cuda.Event()) for _ in calls]
        with self._stream:
            for call, (start, stop) in zip(calls, marks, strict=True):
                start.record(self._stream)
                call()
                stop.record(self._stream)
        self._stream.synchronize()
        elapsed = self._cupy.cuda.get_elapsed_time
        return [1e3 * elapsed(start, stop) for start, stop in marks]


def cuda_bench() -> CudaBench:
    """The bench of the current GPU.

    Raises
    ------
    RuntimeError
        CuPy or a GPU is missing.
    """
    return CudaBench(CupyDevice(), CupyStopwatch())
