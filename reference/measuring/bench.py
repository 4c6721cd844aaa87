"""Framework side of a measurement, and the check of a timed kernel's values.

A *bench* prepares a case: buffers with random data, calls that rotate through them, and a check against the float64
oracle of what the calls have written. Large cases are checked on a sample of rows, each with all of its keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reference.measuring.cases import Case
from reference.measuring.timing import RunCall, Stopwatch
from reference.truth import metrics, oracle
from reference.truth.oracle import FloatArray

IntArray = NDArray[np.signedinteger]

SAMPLED_HEADS = 2
SAMPLED_ROWS = 4
SUM_ROWS = 64


class UnavailableError(RuntimeError):
    """A case cannot be measured here for a reason that is no defect: a backend refuses it, memory is short."""


@dataclass(frozen=True)
class Check:
    """Deviation of the timed kernel's output from the oracle's.

    Attributes
    ----------
    relative_l2, tolerance
        Error found and error accepted.
    compared
        What was compared, in words.
    """

    relative_l2: float
    tolerance: float
    compared: str

    @property
    def passed(self) -> bool:
        """Whether the error is accepted; NaN is not."""
        return bool(self.relative_l2 <= self.tolerance)


@dataclass(frozen=True)
class Prepared:
    """A case ready to run.

    Attributes
    ----------
    calls
        One per set of buffers, all doing the same work.
    check
        Compares what the first call has written; None for kernels without a result to check.
    kernels
        Name and content hash of each of this project's kernels that a call launches.
    surrounding
        Context in which the calls must run.
    """

    calls: Sequence[RunCall]
    check: Callable[[], Check] | None
    kernels: tuple[tuple[str, str], ...] = ()
    surrounding: Callable[[], AbstractContextManager[None]] = field(default=nullcontext)


class Bench(Protocol):
    """One framework on one device."""

    @property
    def stopwatch(self) -> Stopwatch: ...

    def prepare(self, case: Case, copies: int) -> Prepared:
        """Buffers and calls of a case.

        Raises
        ------
        UnavailableError
            The case cannot run here, with the reason.
        """
        ...

    def release(self) -> None:
        """Give back the memory of the last case."""
        ...


@dataclass(frozen=True)
class Sample:
    """One KV head of one sequence as float64, and the query rows to check against it.

    Attributes
    ----------
    k, v
        `(kv_len, d)` and `(kv_len, d_v)`, the keys attended, in order.
    q, out
        `(rows, d)` and `(rows, d_v)`.
    queries
        Number of each row among the `q_len` queries.
    """

    k: FloatArray
    v: FloatArray
    q: FloatArray
    out: FloatArray
    queries: Sequence[int]


def sampled_places(case: Case, seed: int = 0) -> list[tuple[int, int, list[tuple[int, int]]]]:
    """Which rows to check: (sequence, KV head, [(query head, query), ...]); the last query is always among them."""
    shape = case.shape
    rng = np.random.default_rng(seed)
    group = shape.heads // shape.kv_heads
    places = []
    for _ in range(SAMPLED_HEADS):
        kv_head = int(rng.integers(shape.kv_heads))
        queries = [shape.q_len - 1, *(int(i) for i in rng.integers(shape.q_len, size=SAMPLED_ROWS - 1))]
        heads = (kv_head * group + int(rng.integers(group)) for _ in queries)
        places.append((int(rng.integers(shape.batch)), kv_head, list(zip(heads, queries, strict=True))))
    return places


def check_rows(case: Case, samples: Sequence[Sample], scale: float | None = None) -> Check:
    """Compare sampled output rows with the oracle; a row's query sees what the mask of the case lets it see."""
    shape = case.shape
    got, want = [], []
    for sample in samples:
        for row, query in enumerate(sample.queries):
            # Cutting the keys behind the query's position makes it the last one, so the mask is that of one query.
            seen = query + shape.kv_len - shape.q_len + 1 if shape.causal else shape.kv_len
            out, _ = oracle.attention(
                sample.q[None, row : row + 1],
                sample.k[None, :seen],
                sample.v[None, :seen],
                window=shape.window or None,
                sinks=shape.sinks,
                scale=scale,
            )
            got.append(sample.out[row])
            want.append(out[0, 0])
    error = metrics.relative_l2(np.array(got), np.array(want))
    return Check(error, metrics.TOLERANCES[case.dtype].relative_l2, f"{len(got)} sampled rows, all their keys")


def check_column_sums(case: Case, q: FloatArray, k: FloatArray, sums: FloatArray) -> Check:
    """Compare the sums of one causal head: the newest keys with the oracle, and all keys with their known total.

    Only the newest queries see the newest keys, so these rows decide them. Every query hands out a probability of 1.
    """
    rows = min(SUM_ROWS, case.shape.q_len)
    weights = oracle.probabilities(q[None, -rows:], k[None], mask="causal")[0]
    newest = metrics.relative_l2(sums[-rows:], weights[:, -rows:].sum(axis=0))
    total = abs(float(sums.sum()) / case.shape.q_len - 1.0)
    compared = f"the newest {rows} keys of one head, and the total of all keys"
    return Check(max(newest, total), metrics.TOLERANCES[case.dtype].relative_l2, compared)


def check_softmax(case: Case, scores: FloatArray, out: FloatArray) -> Check:
    """Compare rows of a softmax."""
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    error = metrics.relative_l2(out, weights / weights.sum(axis=-1, keepdims=True))
    return Check(error, metrics.TOLERANCES[case.dtype].relative_l2, f"{len(scores)} rows")


def gather_blocks(case: Case, seed: int) -> IntArray:
    """Random distinct blocks to keep, ascending, `(batch, kv_heads, entries)`."""
    shape = case.shape
    rng = np.random.default_rng(seed)
    entries, blocks = shape.kv_len // shape.block_rows, shape.rows_held // shape.block_rows
    order = np.argsort(rng.random((shape.batch, shape.kv_heads, blocks)), axis=-1)[..., :entries]
    blocks_kept: IntArray = np.sort(order, axis=-1)
    return blocks_kept


def gathered_rows(case: Case, table: IntArray) -> IntArray:
    """Row numbers that a list of blocks stands for."""
    offsets = np.arange(case.shape.block_rows)
    rows: IntArray = (table[..., None] * case.shape.block_rows + offsets).reshape(*table.shape[:-1], -1)
    return rows
