"""Products of tokens with the experts they are routed to, all experts in one launch (grouped GEMM)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from algorithms.chip.layers.formats import WeightFormat
from algorithms.chip.layers.gemm import Gemm, GemmTile, chosen_tile, memory_load_bytes
from algorithms.chip.plan.parameters import cached_bytes
from algorithms.chip.plan.plan import Launch, joined_runs
from algorithms.rounding import ceil_div
from algorithms.workload.shape import FloatArray
from hwmodels.chips.accelerator import Accelerator


@dataclass(frozen=True)
class Routing:
    """How many tokens each expert of a chip gets.

    Parameters
    ----------
    counts
        Pairs (tokens, experts with so many), most tokens first; experts without tokens are left out.
    """

    counts: tuple[tuple[int, int], ...]

    @property
    def rows(self) -> int:
        """Tokens of all experts together: those that take several count for each."""
        return sum(tokens * experts for tokens, experts in self.counts)

    @property
    def experts(self) -> int:
        """Experts that have any."""
        return sum(experts for _, experts in self.counts)


def expected_routing(tokens: int, experts: int, active: int, local: int | None = None) -> Routing:
    """Tokens of each of ``local`` experts (all if None) when every token takes ``active`` of ``experts`` at random.

    As many experts have tokens as are expected to, ``1 - (1 - active / experts)^tokens`` of them, and share the
    expected number of rows as evenly as whole tokens go.
    """
    here = experts if local is None else local
    if not tokens:
        return Routing(())
    rows = max(round(tokens * active * here / experts), 1)
    hit = -math.expm1(tokens * math.log1p(-active / experts)) if active < experts else 1.0
    busy = min(max(round(here * hit), 1), rows, here)
    least, more = divmod(rows, busy)
    return Routing(tuple((count, times) for count, times in ((least + 1, more), (least, busy - more)) if times))


@dataclass(frozen=True)
class GroupedGemm:
    """One product for each expert that has tokens.

    Parameters
    ----------
    name
        Name of the launch.
    routing
        Tokens of each expert.
    columns, depth
        Outputs and inputs of every expert.
    weights, activations
        Number formats of weights and of activations.
    ops_per_output, outputs_per_column
        Elementwise work behind the product, counted like that of `Gemm`.
    results
        Format of the results; empty for that of the activations.
    """

    name: str
    routing: Routing
    columns: int
    depth: int
    weights: WeightFormat
    activations: str = "bfloat16"
    ops_per_output: int = 1
    outputs_per_column: float = 1.0
    results: str = ""

    def products(self) -> tuple[Gemm, ...]:
        """One for every number of tokens."""
        return tuple(
            Gemm(
                self.name,
                tokens,
                self.columns,
                self.depth,
                self.weights,
                self.activations,
                count=experts,
                ops_per_output=self.ops_per_output,
                outputs_per_column=self.outputs_per_column,
                results=self.results,
            )
            for tokens, experts in self.routing.counts
        )

    @property
    def flops(self) -> int:
        """Useful ones."""
        return sum(product.flops for product in self.products())

    @property
    def weight_bytes(self) -> int:
        """Of all experts that have tokens."""
        return self.routing.experts * self.weights.matrix_bytes(self.columns, self.depth)

    def launch(self, chip: Accelerator) -> Launch:
        """All products with the tile for even shares: who launches does not know yet who has how many tokens."""
        products = self.products()
        even = replace(products[0], rows=ceil_div(self.routing.rows, self.routing.experts), count=self.routing.experts)
        tile = replace(chosen_tile(even, chip), splits=1)
        launches = [product.launch(chip, tile) for product in products]
        stored = sum(product.output_bytes for product in products)
        return replace(
            launches[0],
            items=joined_runs(run for launch in launches for run in launch.items),
            unique_load_bytes=sum(memory_load_bytes(product, tile, chip) for product in products),
            kept_store_bytes=cached_bytes(chip, 2 * stored) // 2,
        )

    def values(self, tokens: FloatArray, weights: FloatArray, chosen: FloatArray, tile: GemmTile) -> FloatArray:
        """Rows `(rows, depth)` each with the weights `(experts, columns, depth)` of its own of ``chosen`` `(rows,)`.

        Rows are put in the order of their experts, multiplied expert by expert, and put back.
        """
        order = np.argsort(chosen, kind="stable")
        out = np.zeros((len(tokens), self.columns))
        for expert in np.unique(chosen):
            rows = order[chosen[order] == expert]
            product = Gemm(self.name, len(rows), self.columns, self.depth, self.weights, self.activations)
            out[rows] = product.values(tokens[rows], weights[int(expert)], tile)
        return out
