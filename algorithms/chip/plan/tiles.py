"""Tiles of query rows and of keys, and which of them see each other.

Query heads that share a KV head can be packed: their rows lie side by side, token by token, so that one tile of rows
meets a tile of keys once for all of them (as ``pack_gqa`` of FlashAttention-3, hopper/pack_gqa.h). Row `r` of a packed
tile then belongs to token ``r // group_size``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from algorithms.rounding import ceil_div, spans
from algorithms.workload.shape import FloatArray, Workload


@dataclass(frozen=True)
class QueryTile:
    """A tile of query rows.

    Parameters
    ----------
    rows
        Positions of its rows within a head (or a packed group of heads).
    seen
        Keys that any of its rows sees: the first so many.
    seen_by_all
        Keys that every row sees.
    """

    rows: range
    seen: int
    seen_by_all: int


@dataclass(frozen=True)
class Tiling:
    """A workload cut into tiles.

    Parameters
    ----------
    workload
        Workload that is tiled.
    tile_rows, tile_columns
        Query rows and keys of a tile.
    packed
        Whether the query heads of a KV head share tiles.
    """

    workload: Workload
    tile_rows: int
    tile_columns: int
    packed: bool

    @cached_property
    def query_tiles(self) -> tuple[QueryTile, ...]:
        """Tiles of the rows of one head; cut when they are asked for, since there may be millions."""
        return tuple(self._cut())

    @property
    def query_tile_count(self) -> int:
        """How many there are."""
        return ceil_div(self.rows, self.tile_rows)

    @property
    def rows_per_token(self) -> int:
        """Neighbouring rows that belong to one token."""
        return self.workload.group_size if self.packed else 1

    @property
    def rows(self) -> int:
        """Query rows of one head, or of one packed group of heads."""
        return self.workload.q_len * self.rows_per_token

    @property
    def heads(self) -> int:
        """Heads, or packed groups of heads, of all sequences."""
        return self.workload.batch * self.workload.heads // self.rows_per_token

    def keys_of(self, token: int) -> int:
        """Keys that a token sees; causal masks are aligned to the bottom right."""
        work = self.workload
        if work.mask == "full":
            return work.kv_len
        return min(max(token + 1 + work.kv_len - work.q_len, 0), work.kv_len)

    def key_spans(self, tile: QueryTile, keys: range | None = None) -> list[range]:
        """Tiles of those ``keys`` (all if not given) that some row of ``tile`` sees; hidden tiles are left out."""
        start, stop = (0, self.workload.kv_len) if keys is None else (keys.start, keys.stop)
        return spans(start, min(stop, tile.seen), self.tile_columns)

    def passes(self) -> Iterator[tuple[range, Sequence[QueryTile]]]:
        """Passes with keys outside: every tile of keys that anyone sees, with the query tiles that see some of it.

        Later tiles see as many keys or more, so these are the last ones.
        """
        seen = [tile.seen for tile in self.query_tiles]
        for keys in self.key_spans(self.query_tiles[-1]):
            yield keys, self.query_tiles[bisect_right(seen, keys.start) :]

    def crosses_mask(self, tile: QueryTile, keys: range) -> bool:
        """Whether some row of ``tile`` does not see some of ``keys``."""
        return keys.stop > tile.seen_by_all

    def visible(self, tile: QueryTile, keys: range) -> NDArray[np.bool_] | None:
        """Which row sees which key, `(rows, keys)`; None where all see all."""
        if not self.crosses_mask(tile, keys):
            return None
        tokens = np.arange(tile.rows.start, tile.rows.stop) // self.rows_per_token
        limits = np.array([self.keys_of(int(token)) for token in tokens])
        return np.arange(keys.start, keys.stop) < limits[:, None]

    def laid_out(self, q: FloatArray) -> FloatArray:
        """Queries `(batch, heads, q_len, d)` as `(batch, kv_heads, streams, rows, d)`."""
        work = self.workload
        grouped = q.reshape(work.batch, work.kv_heads, work.group_size, work.q_len, -1)
        if not self.packed:
            return grouped
        return grouped.swapaxes(2, 3).reshape(work.batch, work.kv_heads, 1, self.rows, -1)

    def restored(self, rows: FloatArray) -> FloatArray:
        """`(batch, kv_heads, streams, rows, d_v)` as `(batch, heads, q_len, d_v)`."""
        work = self.workload
        if self.packed:
            rows = rows.reshape(work.batch, work.kv_heads, work.q_len, work.group_size, -1).swapaxes(2, 3)
        return rows.reshape(work.batch, work.heads, work.q_len, -1)

    def _cut(self) -> Iterator[QueryTile]:
        for rows in spans(0, self.rows, self.tile_rows):
            first, last = rows.start // self.rows_per_token, (rows.stop - 1) // self.rows_per_token
            yield QueryTile(rows, self.keys_of(last), self.keys_of(first))
