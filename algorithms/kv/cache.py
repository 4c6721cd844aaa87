"""The keys that are resident in one layer: ascending positions, ragged per head, with their slots.

Rows are KV heads and columns are ranks in order of position. Everything kept per key (the key itself, a
score, a counter) is a named column and follows its key through appends and evictions, so policies never
re-align anything. Where a key lies physically is its *slot*, which only accounting looks at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from algorithms.compiled import compiled
from algorithms.kv.ranking import IntArray, Mask, indices_of

Array = NDArray[np.floating]
Column = NDArray[Any]
"""A quantity of every key: floating, whole or boolean, as it was made."""
Span = tuple[int, int, int]
"""Part of a source stream: which stream, first token, and the token behind the last."""
Layout = Literal["slots", "shift", "rewrite"]
"""Treatment of the holes of evicted keys: ``slots`` reuses them in place (a slot map), ``shift`` closes
them by moving the keys behind, ``rewrite`` copies the whole cache as `torch.cat` and `gather` do."""

PAD = np.iinfo(np.int64).max
"""Position in unused columns of ragged rows: larger than any real one, so rows stay ascending."""


_SPARSE = 4
"""A column that is less than one part in so many full is copied to a smaller one; otherwise its gaps are closed."""


@compiled
def _close_gaps(column: Array, kept: IntArray, lengths: IntArray) -> None:
    """Move the `kept` entries `(heads, n)` of each row to its front, in place; what they leave behind stays."""
    for head in range(column.shape[0]):
        for rank in range(lengths[head]):
            source = kept[head, rank]
            if source != rank:
                column[head, rank] = column[head, source]


@dataclass(frozen=True)
class Dropped:
    """Record of an eviction: keys dropped per head, and rows that had to move."""

    tokens: tuple[int, ...]
    moved: int


class KVCache:
    """Resident keys of the KV heads of one layer (or of some of them, where heads differ in policy).

    Parameters
    ----------
    heads
        KV heads.
    layout
        Treatment of holes.
    source
        Whole streams of keys `(heads, tokens, head_dim)` and values `(heads, tokens, value_dim)` that
        `append` takes its rows from by position. Nothing is copied while nothing has been dropped. Without
        it rows are handed to `append`.
    """

    def __init__(self, heads: int, layout: Layout = "slots", source: tuple[Array, Array] | None = None) -> None:
        self.heads = heads
        self.layout = layout
        self.tokens_seen = 0
        self.lengths: IntArray = np.zeros(heads, np.int64)
        self._source = source
        self._columns: dict[str, Column] = {}
        self._fills: dict[str, float] = {}
        self._intact = True
        self._free: list[IntArray] = [np.empty(0, np.int64) for _ in range(heads)]
        self._high_water: IntArray = np.zeros(heads, np.int64)

    # what is there

    @property
    def count(self) -> int:
        """Columns: keys of the longest row."""
        return int(self.lengths.max())

    @property
    def uniform(self) -> bool:
        """Whether all heads hold equally many keys."""
        return bool((self.lengths == self.lengths[0]).all())

    @property
    def intact(self) -> bool:
        """Whether nothing was ever dropped, so that rank, position and slot are the same."""
        return self._intact

    @property
    def valid(self) -> Mask | None:
        """`(heads, count)` of real columns; None when all are."""
        return None if self.uniform else np.arange(self.count) < self.lengths[:, None]

    @property
    def positions(self) -> IntArray:
        """`(heads, count)`, ascending, `PAD` behind the end of a row."""
        return self._identity() if self._intact else self._view("position")

    @property
    def slots(self) -> IntArray:
        """`(heads, count)`; without a slot map the rank."""
        if self._intact or self.layout != "slots":
            return self._identity()
        return self._view("slot")

    @property
    def keys(self) -> Array:
        """`(heads, count, head_dim)`."""
        return self._rows("key", 0)

    @property
    def values(self) -> Array:
        """`(heads, count, value_dim)`."""
        return self._rows("value", 1)

    def span(self, start: int, stop: int) -> Span | None:
        """Name of the rows `start` to `stop` among all caches over the same source; None for rows of its own."""
        return (id(self._source), start, stop) if self._intact and self._source is not None else None

    def column(self, name: str, fill: float = 0.0, dtype: DTypeLike = np.float64) -> Array:
        """The `(heads, count)` view of a per-key quantity, made with `fill` when it is new.

        Writing to the view changes the quantity; keys appended later start at `fill`.
        """
        if name not in self._columns:
            capacity = max(16, self.count)
            self._columns[name] = np.full((self.heads, capacity), fill, dtype)
            self._fills[name] = fill
        return self._view(name)

    def has(self, name: str) -> bool:
        """Whether a column of that name exists."""
        return name in self._columns

    def replace(self, where: Mask, keys: Array, values: Array) -> None:
        """New keys and values `(n, dim)` for the chosen entries of `where` `(heads, count)`."""
        self._own_rows(self.positions)
        self._view("key")[where] = keys
        self._view("value")[where] = values

    # what changes

    def append(self, positions: IntArray, keys: Array | None = None, values: Array | None = None) -> IntArray:
        """Add `positions` `(m,)` to every head, with rows `(heads, m, dim)` unless a source has them.

        Returns
        -------
        slots : `(heads, m)`
            Slots of the new rows.
        """
        m = len(positions)
        if self._intact and not np.array_equal(positions, np.arange(self.tokens_seen, self.tokens_seen + m)):
            self._materialise(np.array(self._identity()))
        start = self.lengths.copy()
        self.lengths = self.lengths + m
        self.tokens_seen += m
        for name in self._columns:
            self._reserve(name)
            self._fill_new(name, start, m)
        slots = self._take_slots(m)
        if not self._intact:
            self._put("position", start, np.broadcast_to(positions, (self.heads, m)), np.int64, PAD)
            self._put("slot", start, slots, np.int64, 0)
        self._append_rows(start, positions, keys, values)
        return slots

    def retain(self, mask: Mask, compact: bool = False) -> Dropped:
        """Keep the marked columns and drop the others.

        Parameters
        ----------
        mask
            `(heads or 1, count)`.
        compact
            Close all holes even in a slot map, as one gather after a prefill does.
        """
        mask = np.broadcast_to(mask, (self.heads, self.count))
        valid = self.valid
        if valid is not None:
            mask = mask & valid
        kept, lengths = indices_of(mask)
        dropped = self.lengths - lengths
        if not dropped.any():
            return Dropped((0,) * self.heads, 0)
        moved = self._moved(mask, kept, lengths, compact)
        self._release_slots(mask, compact)
        for name, column in self._columns.items():
            if kept.shape[1] < column.shape[1] // _SPARSE:
                index = kept if column.ndim == 2 else kept[:, :, None]
                self._columns[name] = np.take_along_axis(column, index, 1)
            else:
                _close_gaps(column.view(f"u{column.itemsize}"), kept, lengths)
                for head, length in enumerate(lengths):
                    column[head, length : self.count] = self._fills[name]
        if self._intact:
            self._materialise(kept)
        self.lengths = lengths
        if not self.uniform:
            padding = np.arange(self.count) >= lengths[:, None]
            self._view("position")[padding] = PAD
        if compact and self.layout == "slots":
            self._view("slot")[:] = np.arange(self.count)
            self._free = [np.empty(0, np.int64) for _ in range(self.heads)]
            self._high_water = lengths.copy()
        return Dropped(tuple(int(n) for n in dropped), moved)

    def pages(self, page_tokens: int, shared_by_heads: bool) -> int:
        """Pages of `page_tokens` slots that cannot be given back, over all heads.

        With `shared_by_heads` a page holds the slots of all heads, so one live head keeps all of it; it then
        counts once per head.
        """
        if self._intact or self.layout != "slots":
            per_head = -(-self.lengths // page_tokens)
            return int(per_head.max()) * self.heads if shared_by_heads else int(per_head.sum())
        if self.count == 0:
            return 0
        page = self.slots // page_tokens
        pages = int(page.max()) + 1
        key = page if shared_by_heads else page + np.arange(self.heads)[:, None] * pages
        valid = self.valid
        live = np.bincount(key.ravel() if valid is None else key[valid]) > 0
        return int(live.sum()) * (self.heads if shared_by_heads else 1)

    # slots

    def _take_slots(self, m: int) -> IntArray:
        taken = np.empty((self.heads, m), np.int64)
        for head, free in enumerate(self._free):
            reused = min(m, free.size)
            taken[head, :reused] = free[:reused]
            taken[head, reused:] = self._high_water[head] + np.arange(m - reused)
            self._free[head] = free[reused:]
            self._high_water[head] += m - reused
        return taken

    def _release_slots(self, mask: Mask, compact: bool) -> None:
        if self.layout != "slots":
            self._high_water = mask.sum(1)
            return
        if compact:
            return
        slots, lengths = self.slots, self.lengths
        for head in range(self.heads):
            gone = slots[head, : lengths[head]][~mask[head, : lengths[head]]]
            self._free[head] = np.sort(np.concatenate([self._free[head], gone]))

    def _moved(self, mask: Mask, kept: IntArray, lengths: IntArray, compact: bool) -> int:
        """Rows whose place changes."""
        if self.layout == "rewrite" or (compact and self.layout == "slots"):
            return int(lengths.sum())
        if self.layout == "slots":
            return 0
        stays = np.cumprod(mask, axis=1).sum(1)
        return int((lengths - stays).sum())

    # columns

    def _identity(self) -> IntArray:
        ranks = np.broadcast_to(np.arange(self.count), (self.heads, self.count))
        valid = self.valid
        return ranks if valid is None else np.where(valid, ranks, PAD)

    def _view(self, name: str) -> Column:
        return self._columns[name][:, : self.count]

    def _materialise(self, kept: IntArray) -> None:
        """Write down what was implied while rank, position and slot agreed, for the columns `kept`."""
        self._own_rows(kept)
        self._intact = False
        for name, fill in (("position", PAD), ("slot", 0)):
            self._columns[name], self._fills[name] = kept.copy(), fill

    def _own_rows(self, positions: IntArray) -> None:
        """Copy the rows at `positions` from the source, once."""
        if self._source is not None and "key" not in self._columns:
            for name, stream in zip(("key", "value"), self._source, strict=True):
                self._columns[name] = np.take_along_axis(stream, positions[:, :, None], 1)
                self._fills[name] = 0.0

    def _rows(self, name: str, which: int) -> Array:
        if name in self._columns:
            return self._view(name)
        if self._source is None:
            raise RuntimeError("this cache holds no keys and values")
        return self._source[which][:, : self.count]

    def _append_rows(self, start: IntArray, positions: IntArray, keys: Array | None, values: Array | None) -> None:
        if self._source is not None:
            if "key" not in self._columns:
                return
            keys, values = (stream[:, positions] for stream in self._source)
        if keys is None or values is None:
            raise RuntimeError("append needs keys and values when the cache has no source")
        self._put("key", start, keys, keys.dtype, 0.0)
        self._put("value", start, values, values.dtype, 0.0)

    def _reserve(self, name: str) -> None:
        """Room for `count` columns; capacity grows by a quarter so that appends stay cheap on average."""
        column = self._columns[name]
        if column.shape[1] < self.count:
            capacity = max(16, self.count + self.count // 4)
            grown = np.full((self.heads, capacity, *column.shape[2:]), self._fills[name], column.dtype)
            grown[:, : column.shape[1]] = column
            self._columns[name] = grown

    def _fill_new(self, name: str, start: IntArray, m: int) -> None:
        column = self._columns[name]
        if (start == start[0]).all():
            column[:, start[0] : start[0] + m] = self._fills[name]
        else:
            rows = np.arange(self.heads)[:, None]
            column[rows, start[:, None] + np.arange(m)] = self._fills[name]

    def _put(self, name: str, start: IntArray, rows: Column, dtype: DTypeLike, fill: float) -> None:
        """Write `rows` `(heads, m, ...)` behind `start`."""
        m = rows.shape[1]
        if name not in self._columns:
            self._columns[name] = np.full((self.heads, max(16, self.count), *rows.shape[2:]), fill, dtype)
            self._fills[name] = fill
        self._reserve(name)
        column = self._columns[name]
        if (start == start[0]).all():
            column[:, start[0] : start[0] + m] = rows
        else:
            column[np.arange(self.heads)[:, None], start[:, None] + np.arange(m)] = rows
