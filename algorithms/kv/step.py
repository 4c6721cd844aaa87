"""Things that pass between a stream and a policy in one step: new tokens, a selection, what attention showed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from algorithms.kv.cache import Array
from algorithms.kv.ranking import IntArray, Mask, indices_of
from algorithms.kv.run.attention import Attended, Summaries


class StepDetails(TypedDict, total=False):
    """Optional fields of `Step`, as keyword arguments."""

    phase: Literal["prefill", "decode", "frame"]
    closes: bool
    causal: bool
    information: NDArray[np.floating] | None
    modality: IntArray | None
    next_q: Array | None
    question: bool
    final: bool


@dataclass(frozen=True, eq=False)
class Step:
    """Tokens that arrive in one step of one layer.

    Parameters
    ----------
    index
        Step number from 0.
    positions
        Positions of the new tokens, ascending `(m,)`.
    q, k, v
        `(query_heads, m, head_dim)`, `(kv_heads, m, head_dim)`, `(kv_heads, m, value_dim)`. A `q` of fewer rows holds
        the queries of the last tokens only: a sample that stands for all of them (see `algorithms.kv.run.timing`).
    phase
        ``prefill``, ``decode`` or ``frame``.
    closes
        Whether this step ends the prefill.
    causal
        False when the tokens of the step see each other in both directions, as those of a frame may.
    information
        Self-information `-log p` of each new token in nats `(m,)`, where a language head exists.
    modality
        0 for text, 1 for vision `(m,)`.
    next_q
        Guess of the next step's query `(query_heads, head_dim)`, for policies that look ahead.
    question
        Whether the step asks something (policies that retrieve per question look then).
    final
        Whether the stream ends here.
    """

    index: int
    positions: IntArray
    q: Array
    k: Array
    v: Array
    phase: Literal["prefill", "decode", "frame"] = "decode"
    closes: bool = False
    causal: bool = True
    information: NDArray[np.floating] | None = None
    modality: IntArray | None = None
    next_q: Array | None = None
    question: bool = True
    final: bool = False

    @property
    def tokens(self) -> int:
        """New tokens."""
        return len(self.positions)

    @property
    def sampled(self) -> bool:
        """Whether `q` holds a sample of the step's queries."""
        sampled: bool = self.q.shape[1] < self.tokens
        return sampled

    @property
    def query_positions(self) -> IntArray:
        """Positions of the rows of `q`."""
        return self.positions[len(self.positions) - self.q.shape[1] :]


@dataclass(frozen=True, eq=False)
class Selection:
    """Resident keys that the queries of a step see, by rank, ascending.

    Parameters
    ----------
    indices
        Ranks `(kv_heads, n)`, padded with 0 behind the end of a row.
    lengths
        Keys per row `(kv_heads,)`.
    bias, value_weight
        Bias and weight per key `(kv_heads, n)`, on top of the cache's own.
    pair_bias, pair_count
        Bias and count per query and key `(m, n)`; see `algorithms.kv.run.attention.Visible`.
    summaries
        Entries that stand for keys that are not read.
    keys, values
        Stand-ins for the stored rows, `(kv_heads, n, dim)`, e.g. dequantised ones.
    """

    indices: IntArray
    lengths: IntArray
    bias: Array | None = None
    value_weight: Array | None = None
    pair_bias: Array | None = None
    pair_count: Array | None = None
    summaries: Summaries | None = None
    keys: Array | None = None
    values: Array | None = None

    @classmethod
    def of_mask(cls, mask: Mask, heads: int) -> Selection:
        """The marked keys of `mask` `(heads or 1, count)`."""
        return cls(*indices_of(np.broadcast_to(mask, (heads, mask.shape[1]))))

    def mask(self, count: int) -> Mask:
        """`(kv_heads, count)` of selected ranks."""
        marked = np.zeros((len(self.lengths), count), bool)
        real = np.arange(self.indices.shape[1]) < self.lengths[:, None]
        rows = np.broadcast_to(np.arange(len(self.lengths))[:, None], self.indices.shape)
        marked[rows[real], self.indices[real]] = True
        return marked


@dataclass(frozen=True, eq=False)
class Seen:
    """Results of attention, with the selection it ran over (None: every resident key)."""

    attended: Attended
    selection: Selection | None
    kv_heads: int

    def column_sums(self, count: int) -> Array:
        """Probability of each resident key summed over queries, mean over each group: `(kv_heads, count)`."""
        return self._spread(self.attended.column_sums, count)

    def last_probabilities(self, count: int) -> Array:
        """Probabilities of the last query, mean over each group: `(kv_heads, count)`."""
        return self._spread(self.attended.last_probabilities, count)

    def add_column_sums(self, column: Array) -> None:
        """Add `column_sums` to a per-key quantity, touching only what was selected."""
        mean = self._group_mean(self.attended.column_sums)
        if self.selection is None:
            column += mean
        elif (self.selection.lengths == mean.shape[1]).all():
            rows = np.arange(self.kv_heads)[:, None]
            column[rows, self.selection.indices] += mean
        else:
            column += self._spread(self.attended.column_sums, column.shape[1])

    def _group_mean(self, per_query_head: Array | None) -> Array:
        if per_query_head is None:
            raise RuntimeError("the policy did not declare that it needs probabilities")
        means: Array = per_query_head.reshape(self.kv_heads, -1, per_query_head.shape[-1]).mean(1)
        return means

    def _spread(self, per_query_head: Array | None, count: int) -> Array:
        mean = self._group_mean(per_query_head)
        if self.selection is None:
            return mean
        spread = np.zeros((self.kv_heads, count), mean.dtype)
        real = np.arange(mean.shape[1]) < self.selection.lengths[:, None]
        rows = np.broadcast_to(np.arange(self.kv_heads)[:, None], mean.shape)
        spread[rows[real], self.selection.indices[real]] = mean[real]
        return spread
