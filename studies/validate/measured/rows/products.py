"""Predicts rows of products with weights.

How they were measured (collector/*/collect_gemm.py of ai-dynamo/aiconfigurator): a replayed graph holds the same
product with several copies of the weights, so that weights come from the main memory unless all copies fit into the
caches; all copies multiply the same activations, which stay there if they fit.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from functools import cache
from typing import Self

from algorithms.chip.layers.gemm import Gemm
from algorithms.chip.layers.served import SERVED_PRODUCTS, ProductProfile, ServedProduct, find_product
from algorithms.chip.timing.calls import CallEstimate
from algorithms.rounding import ceil_div
from hwmodels.chips.accelerator import Accelerator
from studies.validate.measured.rows.prediction import (
    Binned,
    FittedRows,
    GroupKey,
    RowPrediction,
    UnsupportedRowError,
    predicts,
)
from studies.validate.measured.tables.table import MeasuredTable

MOST_COPIES = 6
"""Copies of the weights that a graph goes through."""
FILLING, MOST_FILLING = "trtllm", 5
"""The stack whose copies are as many as fill the cache, up to so many."""
EDGES = (1.5, 16.5, 128.5, 1024.5, 8192.5)


class ProductRows(FittedRows):
    """Rows whose profile is one of ``served_products``."""

    def __init__(self, key: GroupKey, table: MeasuredTable) -> None:
        super().__init__(key, table)
        self.chip: Accelerator = key.chip()
        self.cache_bytes = round(sum(tier.capacity_bytes for tier in self.chip.caches))
        self.replaced: dict[str, ProductProfile] = {}

    def by(self, kernel: str, numbers: dict[str, float]) -> Self:
        """The same rows with other fitted numbers of one ``kernel``."""
        other = copy.copy(self)
        other.replaced = self.replaced | {kernel: SERVED_PRODUCTS.load(kernel).profile.fitted_to(**numbers)}
        return other

    def product(self, row: int) -> ServedProduct:
        """Of a row; raises UnsupportedRowError without one."""
        key, number_format = self.key, self.format_of(row)
        found = _found(key.table, key.stack, key.stack_version, key.kernel, number_format, self.chip)
        if found is None:
            what = f"{key.kernel!r} for {number_format} in {key.stack} on {self.chip.name}"
            raise UnsupportedRowError(f"there is no profile of {what}")
        return found.with_profile(self.replaced[found.name]) if found.name in self.replaced else found

    def kernel_of(self, row: int) -> str:
        """Name of the profile that predicts a row; raises UnsupportedRowError without one."""
        return self.product(row).name

    def format_of(self, row: int) -> str:
        """Number format, as the table names it."""
        return str(self.table.words["dtype"][row])

    def _predict(self, row: int) -> RowPrediction:
        product = self.product(row)
        found = self.estimate(product, row)
        return RowPrediction(found.seconds * 1e6, product.name, found.dominating)

    @abstractmethod
    def estimate(self, product: ServedProduct, row: int) -> CallEstimate:
        """Time of a row by a profile."""


_found = cache(find_product)


@predicts(
    "gemm",
    bins=(Binned("m", "m", EDGES), Binned("n", "n", EDGES), Binned("k", "k", EDGES)),
)
class GemmRows(ProductRows):
    """Products of tokens with weights."""

    def estimate(self, product: ServedProduct, row: int) -> CallEstimate:
        """Time of a row by a profile."""
        gemm, warm = self.gemm(product, row)
        return product.estimate((gemm,), self.chip, warm=warm)

    def gemm(self, product: ServedProduct, row: int) -> tuple[Gemm, bool]:
        """What a row multiplies, and whether its weights are in the caches."""
        numbers = self.table.numbers
        gemm = product.gemm("product", *(int(numbers[name][row]) for name in ("m", "n", "k")))
        return gemm, self.copies(gemm) * gemm.weight_bytes + gemm.input_bytes <= self.cache_bytes

    def copies(self, gemm: Gemm) -> int:
        """Of the weights in the graph that was timed."""
        if self.key.stack != FILLING:
            return MOST_COPIES
        return max(1, min(MOST_FILLING, ceil_div(self.cache_bytes, gemm.weight_bytes)))


LATENT_SIZES = {"mla_gen_pre": (512, 128), "mla_gen_post": (128, 512)}
"""Outputs and inputs of a head's products around latent attention (DeepSeek-V3): queries to the latent, and back."""


@predicts("mla_bmm", bins=(Binned("tokens", "tokens", EDGES), Binned("heads", "heads")))
class HeadProductRows(ProductRows):
    """One product for each head, with weights of its own."""

    def estimate(self, product: ServedProduct, row: int) -> CallEstimate:
        """Time of a row by a profile."""
        name = str(self.table.words["op_name"][row])
        if name not in LATENT_SIZES:
            raise UnsupportedRowError(f"operation {name!r} is not modelled")
        heads, tokens = (int(self.table.numbers[column][row]) for column in ("heads", "tokens"))
        gemm = product.gemm("product", tokens, *LATENT_SIZES[name], count=heads)
        return product.estimate((gemm,), self.chip, warm=gemm.weight_bytes + gemm.input_bytes <= self.cache_bytes)
