"""Predicts rows of experts: a layer's two grouped products with what stands between them, as one rank sees it.

Which tokens reach the rank that was timed is said in `studies.validate.measured.rows.routing`.
"""

from __future__ import annotations

from algorithms.chip.layers.served import ServedProduct
from algorithms.chip.timing.calls import CallEstimate, Part
from studies.validate.measured.rows.prediction import Binned, GroupKey, UnsupportedRowError, predicts
from studies.validate.measured.rows.products import EDGES, ProductRows
from studies.validate.measured.rows.routing import Reaching, load_of
from studies.validate.measured.tables.table import MeasuredTable

GROUPED = {"sglang": ("0.5.14",), "vllm": ("0.24.0",)}
"""Versions whose layer was timed with the router of its model."""
GROUPED_MODEL = {"hidden": 7168, "experts": 256}
"""Sizes of the one whose router picks groups (DeepSeek-V3)."""
COLLAPSED = ("sglang_fused_moe_triton", "sglang_marlin_moe")
"""Kernels that sglang's collector calls without a layer, version 0.5.10 always, 0.5.14 where a model needs no router of
its own, which here are those of eight experts (Mixtral)."""
FEW_EXPERTS = 8


@predicts("moe", bins=(Binned("tokens", "tokens", EDGES), Binned("tp", "tp"), Binned("ep", "ep")))
class ExpertRows(ProductRows):
    """Layers of experts."""

    def __init__(self, key: GroupKey, table: MeasuredTable) -> None:
        super().__init__(key, table)
        self.made: dict[tuple[int, str, float], tuple[tuple[Part, ...], bool]] = {}

    def format_of(self, row: int) -> str:
        """Number format, as the table names it."""
        return str(self.table.words["moe_dtype"][row])

    def estimate(self, product: ServedProduct, row: int) -> CallEstimate:
        """Time of a row by a profile."""
        known = row, product.name, product.profile.quantise_element_ops  # the only number that launches depend on
        if known not in self.made:
            self.made[known] = self._made(product, row)
        parts, warm = self.made[known]
        return product.estimate_parts(parts, self.chip, warm=warm)

    def _made(self, product: ServedProduct, row: int) -> tuple[tuple[Part, ...], bool]:
        """Launches of a row, and whether its weights are in the caches."""
        numbers = {name: int(column[row]) for name, column in self.table.numbers.items()}
        experts, ranks, tokens = numbers["experts"], numbers["ep"], numbers["tokens"]
        if experts % ranks or numbers["inter"] % numbers["tp"]:
            raise UnsupportedRowError("experts or their width do not divide by the ranks")
        distribution = str(self.table.words["distribution"][row])
        chosen = min(numbers["topk"], experts)
        load = load_of(tokens, experts, chosen, ranks, distribution, self._reaching(numbers))
        inner, hidden = numbers["inter"] // numbers["tp"], numbers["hidden"]
        parts = product.expert_parts(load.routing, hidden, inner, load.tokens, chosen, self.chip)
        weights = product.experts("up", load.routing, 3 * inner, hidden).weight_bytes
        return parts, weights <= self.cache_bytes

    def _reaching(self, numbers: dict[str, int]) -> Reaching:
        key = self.key
        if key.kernel in COLLAPSED and (key.stack_version == "0.5.10" or numbers["experts"] <= FEW_EXPERTS):
            return "collapsed"
        model = all(numbers[name] == size for name, size in GROUPED_MODEL.items())
        return "grouped" if model and key.stack_version in GROUPED.get(key.stack, ()) else "masked"
