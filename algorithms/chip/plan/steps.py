"""Costs of one tile step: products, exponentials, elementwise operations and bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from algorithms.chip.plan.parameters import TileParameters
from algorithms.chip.plan.plan import Matmul, TileStep, WorkItem, run_lengths
from algorithms.chip.plan.tiles import QueryTile, Tiling
from algorithms.workload.shape import Workload

OPS_PER_SCORE = 4
"""Scale and subtract the maximum (one multiply-add), compare for the maximum, add to the sum, convert."""
OPS_PER_MASKED_SCORE = 2
"""Compare positions and select (flash-attention, mask.h), in tiles that cross the edge of the mask or the last key."""
OPS_PER_ROW = 2
"""Compare with the running maximum, rescale the running sum."""
OPS_PER_OUTPUT = 2
"""Divide by the sum, convert for the store."""


@dataclass(frozen=True)
class Steps:
    """Tile steps and work items of a tiled workload whose queries stay in a core while keys pass by."""

    tiling: Tiling
    parameters: TileParameters
    _made: dict[tuple[int, int, int, bool], TileStep] = field(default_factory=dict, repr=False)

    @property
    def workload(self) -> Workload:
        """The workload that is tiled."""
        return self.tiling.workload

    def rows_issued(self, tile: QueryTile) -> int:
        """Rows that are computed for ``tile``: whole tiles on hardware that only masks what is not there."""
        return self.tiling.tile_rows if self.parameters.edge == "padded" else len(tile.rows)

    def columns_issued(self, keys: range) -> int:
        """Keys that are computed for ``keys``, likewise."""
        return self.tiling.tile_columns if self.parameters.edge == "padded" else len(keys)

    def masked(self, tile: QueryTile, keys: range) -> bool:
        """Whether some of the scores that are computed do not count."""
        return self.tiling.crosses_mask(tile, keys) or self.columns_issued(keys) > len(keys)

    def step(self, tile: QueryTile, keys: range) -> TileStep:
        """One tile of keys against a tile of queries."""
        made = (self.rows_issued(tile), self.columns_issued(keys), len(keys), self.masked(tile, keys))
        if made not in self._made:
            self._made[made] = self._make(*made)
        return self._made[made]

    def _make(self, rows: int, columns: int, loaded: int, masked: bool) -> TileStep:
        work = self.workload
        per_score = OPS_PER_SCORE + (OPS_PER_MASKED_SCORE if masked else 0)
        return TileStep(
            load_bytes=loaded * (work.head_dim + work.v_head_dim) * work.dtype_bytes,
            scores=(Matmul(rows, columns, work.head_dim),),
            exps=rows * (columns + 1),  # one more per row: by what the sums so far are rescaled
            vector_ops=rows * (per_score * columns + work.v_head_dim + OPS_PER_ROW),
            values=(Matmul(rows, work.v_head_dim, columns),),
            rearranged_bytes=2 * columns * work.v_head_dim * work.dtype_bytes * self.parameters.rearranged_values,
        )

    def item(self, tile: QueryTile, keys: range | None = None, *, store_bytes: int) -> WorkItem:
        """A tile of queries against all of ``keys`` that it sees."""
        work = self.workload
        start, stop = (0, work.kv_len) if keys is None else (keys.start, keys.stop)
        size = self.tiling.tile_columns
        plain = max(min(tile.seen_by_all, stop) - start, 0) // size  # whole tiles that every row sees
        edge = [self.step(tile, part) for part in self.tiling.key_spans(tile, range(start + plain * size, stop))]
        whole = [(self.step(tile, range(start, start + size)), plain)] if plain else []
        return WorkItem(
            steps=(*whole, *run_lengths(edge)),
            first_load_bytes=len(tile.rows) * work.head_dim * work.dtype_bytes,
            last_vector_ops=OPS_PER_OUTPUT * self.rows_issued(tile) * work.v_head_dim,
            last_store_bytes=store_bytes,
        )
