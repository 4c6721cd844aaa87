"""PyTorch's own kernels as a bench: fused backends, eager attention, softmax and the matrix product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

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
from reference.measuring.cuda_bench import MLA_SCALE
from reference.measuring.timing import RunCall, Stopwatch
from reference.truth import metrics
from reference.truth.oracle import FloatArray
from reference.with_torch import torch_ref

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_BACKENDS: dict[str, torch_ref.Backend] = {
    "torch-flash": "flash",
    "torch-cudnn": "cudnn",
    "torch-efficient": "efficient",
}


class _Slot:
    """A call that keeps its last result, so that it can be checked."""

    def __init__(self, compute: Callable[[], Tensor]) -> None:
        self.compute = compute
        self.result: Tensor | None = None

    def __call__(self) -> Tensor:
        self.result = self.compute()
        return self.result

    def get(self) -> Tensor:
        """The last result, computed now if there was none."""
        return self() if self.result is None else self.result


class TorchBench:
    """Cases whose maker is PyTorch.

    Parameters
    ----------
    place
        Device as PyTorch names it, e.g. ``"cuda"``.
    stopwatch
        How calls are timed.
    """

    def __init__(self, place: str, stopwatch: Stopwatch) -> None:
        import torch

        self.place = place
        self.stopwatch = stopwatch
        self._torch = torch

    def prepare(self, case: Case, copies: int) -> Prepared:
        """Buffers and calls; a fused backend is tried once, and refused rather than replaced.

        Raises
        ------
        UnavailableError
            The backend does not take the case, or memory is short.
        """
        if case.kind == "op_softmax":
            build = self._softmax
        elif case.what == "matmul":
            build = self._matmul
        elif case.kind == "column_sums":
            build = self._column_sums
        elif case.maker == "torch-eager" or case.maker in _BACKENDS:
            build = self._attention
        else:
            raise UnavailableError(f"PyTorch has no {case.maker} for {case.kind} {case.what}")
        try:
            with self._torch.no_grad():
                prepared = [build(case, seed) for seed in range(copies)]
        except torch_ref.BackendRefusedError as error:
            raise UnavailableError(" ".join(str(error).split())) from error
        except self._torch.OutOfMemoryError as error:
            raise UnavailableError(" ".join(str(error).split())) from error
        backend = _BACKENDS.get(case.maker)
        calls = [call for call, _ in prepared]
        if backend is None:
            return Prepared(calls, prepared[0][1])
        return Prepared(calls, prepared[0][1], surrounding=partial(torch_ref.only_backend, backend))

    def release(self) -> None:
        """Empty PyTorch's memory cache."""
        if self.place != "cpu":
            self._torch.cuda.empty_cache()

    def _attention(self, case: Case, seed: int) -> tuple[RunCall, Callable[[], Check]]:
        shape = case.shape
        rows = shape.rows_held or shape.kv_len
        q = self._draw(case, seed, 0, (shape.batch, shape.heads, shape.q_len, shape.d))
        k = self._draw(case, seed, 1, (shape.batch, shape.kv_heads, rows, shape.d))
        latent = case.kind == "mla_decode"
        v = k[..., : shape.d_v] if latent else self._draw(case, seed, 2, (shape.batch, shape.kv_heads, rows, shape.d_v))
        mask = "causal" if shape.causal else "full"
        scale = MLA_SCALE if latent else None
        kept = None
        if case.maker in _BACKENDS:
            torch_ref.fused_attention(q, k, v, backend=_BACKENDS[case.maker], mask=mask)
            slot = _Slot(lambda: torch_ref.call_fused(q, k, v, mask=mask))
        elif case.kind == "kv_gather":
            blocks = gather_blocks(case, seed)
            kept = gathered_rows(case, blocks)
            table = self._torch.tensor(blocks, dtype=self._torch.int64, device=self.place)
            slot = _Slot(lambda: torch_ref.gathered(q, k, v, table, block_rows=shape.block_rows)[0])
        else:
            slot = _Slot(lambda: torch_ref.attention(q, k, v, mask=mask, scale=scale)[0])
        return slot, lambda: check_rows(case, self._samples(case, q, k, v, slot.get(), kept), scale)

    def _column_sums(self, case: Case, seed: int) -> tuple[RunCall, Callable[[], Check]]:
        shape = case.shape
        q = self._draw(case, seed, 0, (shape.batch, shape.heads, shape.q_len, shape.d))
        k = self._draw(case, seed, 1, (shape.batch, shape.kv_heads, shape.kv_len, shape.d))
        slot = _Slot(lambda: torch_ref.column_sums(q, k, mask="causal"))

        def check() -> Check:
            batch, kv_head, rows = sampled_places(case)[0]
            head = rows[0][0]
            sums = _wide(slot.get()[batch, head])
            return check_column_sums(case, _wide(q[batch, head]), _wide(k[batch, kv_head]), sums)

        return slot, check

    def _softmax(self, case: Case, seed: int) -> tuple[RunCall, Callable[[], Check]]:
        scores = self._draw(case, seed, 0, (case.shape.rows, case.shape.columns))
        slot = _Slot(lambda: self._torch.softmax(scores, dim=-1))

        def check() -> Check:
            rows = slice(0, case.shape.rows, max(1, case.shape.rows // 8))
            return check_softmax(case, _wide(scores[rows]), _wide(slot.get()[rows]))

        return slot, check

    def _matmul(self, case: Case, seed: int) -> tuple[RunCall, Callable[[], Check]]:
        size = (case.shape.rows, case.shape.columns)
        left, right = self._draw(case, seed, 0, size), self._draw(case, seed, 1, size)
        slot = _Slot(lambda: left @ right)

        def check() -> Check:
            want = _wide(left[:2]) @ _wide(right)
            error = metrics.relative_l2(_wide(slot.get()[:2]), want)
            return Check(error, metrics.TOLERANCES[case.dtype].relative_l2, "two rows")

        return slot, check

    def _draw(self, case: Case, seed: int, role: int, shape: tuple[int, ...]) -> Tensor:
        generator = self._torch.Generator(self.place).manual_seed(3 * seed + role)
        dtype = getattr(self._torch, case.dtype)
        return self._torch.randn(shape, generator=generator, dtype=dtype, device=self.place)

    def _samples(self, case: Case, q: Tensor, k: Tensor, v: Tensor, out: Tensor, kept: IntArray | None) -> list[Sample]:
        samples = []
        for batch, kv_head, rows in sampled_places(case):
            keys, values = (_wide(x[batch, kv_head]) for x in (k, v))
            if kept is not None:
                keys, values = keys[kept[batch, kv_head]], values[kept[batch, kv_head]]
            queries = [query for _, query in rows]
            picked = [np.stack([_wide(x[batch, head, query]) for head, query in rows]) for x in (q, out)]
            samples.append(Sample(keys, values, picked[0], picked[1], queries))
        return samples


class TorchStopwatch:
    """CUDA events and graphs through PyTorch."""

    def __init__(self) -> None:
        import torch

        self._torch = torch

    def events(self, calls: Sequence[RunCall]) -> list[float]:
        """Microseconds of each call."""
        cuda = self._torch.cuda
        marks = [(cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)) for _ in calls]
        cuda.synchronize()
        with self._torch.no_grad():
            for call, (start, stop) in zip(calls, marks, strict=True):
                start.record()
                call()
                stop.record()
        cuda.synchronize()
        return [1e3 * start.elapsed_time(stop) for start, stop in marks]

    def graph(self, calls: Sequence[RunCall], replays: int) -> list[float]:
        """Microseconds of each replay of one graph of all calls."""
        graph: torch.cuda.CUDAGraph = self._torch.cuda.CUDAGraph()
        self._torch.cuda.synchronize()
        with self._torch.no_grad(), self._torch.cuda.graph(graph):
            for call in calls:
                call()
        return self.events([graph.replay] * (replays + 1))[1:]


def _wide(x: Tensor) -> FloatArray:
    """float64 on the host."""
    values: FloatArray = x.detach().double().cpu().numpy()
    return values


def torch_bench() -> TorchBench:
    """The bench of the current GPU.

    Raises
    ------
    RuntimeError
        PyTorch is missing or sees no GPU.
    """
    reason = torch_ref.why_no_torch()
    if reason is None:
        import torch

        if not torch.cuda.is_available():
            reason = "PyTorch sees no CUDA GPU"
    if reason:
        raise RuntimeError(reason)
    return TorchBench("cuda", TorchStopwatch())
