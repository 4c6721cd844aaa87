"""Predicts rows of experts: a layer's two grouped products with what stands between them, as one rank sees it.

How tokens were routed (collector/*/collect_moe.py of ai-dynamo/aiconfigurator): ``balanced`` rows give a rank its even
share of the tokens, each of which goes to as many local experts as the model routes to; ``power_law_A`` rows draw
tokens per expert from a power law with exponent A and time the rank with the most. Draws are not published, so that
the mean of others is taken.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from algorithms.chip.layers.grouped import Routing
from algorithms.chip.layers.served import ServedProduct
from algorithms.chip.timing.calls import CallEstimate, Part
from algorithms.rounding import ceil_div
from studies.validate.measured.rows.prediction import Binned, UnsupportedRowError, predicts
from studies.validate.measured.rows.products import EDGES, ProductRows

DRAWS, SEED = 10, 0
"""Of a power law, as many as are timed."""
MOST_SIZES = 12
"""Different numbers of tokens per expert that are told apart."""
SKEWED = "power_law_"
Counts = NDArray[np.float64]


@lru_cache(maxsize=4096)
def routed(tokens: int, experts: int, chosen: int, ranks: int, distribution: str) -> Routing:
    """Tokens of the experts of the timed rank.

    Raises
    ------
    UnsupportedRowError
        A distribution that is not known.
    """
    local = experts // ranks
    if distribution == "balanced":
        rows = ceil_div(tokens, ranks) * min(chosen, local)
        return _counted(np.array([rows // local + (number < rows % local) for number in range(local)], np.float64))
    if not distribution.startswith(SKEWED):
        raise UnsupportedRowError(f"routing {distribution!r} is not known")
    try:
        exponent = float(distribution.removeprefix(SKEWED))
    except ValueError:
        raise UnsupportedRowError(f"routing {distribution!r} is not known") from None
    return _counted(_busiest(tokens, experts, chosen, ranks, exponent))


def _busiest(tokens: int, experts: int, chosen: int, ranks: int, exponent: float) -> Counts:
    """Tokens per expert of the rank with the most, most first, mean of some draws, `(experts / ranks,)`."""
    generator = np.random.default_rng(SEED)
    low, high = (1.0, 0.8 * tokens) if tokens * chosen > experts else (0.01, 2.0)
    power = 1 - exponent
    drawn = generator.random((DRAWS, experts))
    sizes = ((high**power - low**power) * drawn + low**power) ** (1 / power)
    counts = np.rint(sizes / sizes.sum(axis=1, keepdims=True) * tokens * chosen)
    groups = counts.reshape(DRAWS, ranks, experts // ranks)
    most = groups[np.arange(DRAWS), groups.sum(axis=2).argmax(axis=1)]
    return np.asarray(np.sort(most, axis=1)[:, ::-1].mean(axis=0))


def _counted(counts: Counts) -> Routing:
    """Experts with tokens, few different numbers of them: where there are more, neighbours share their mean."""
    ordered = np.sort(counts[counts >= 0.5])[::-1]
    if not len(ordered):
        return Routing(((1, 1),))
    different = len(np.unique(ordered))
    parts = np.split(ordered, np.flatnonzero(np.diff(ordered)) + 1) if different <= MOST_SIZES else None
    sizes: dict[int, int] = {}
    for part in parts or np.array_split(ordered, MOST_SIZES):
        size = max(round(float(part.mean())), 1)
        sizes[size] = sizes.get(size, 0) + len(part)
    return Routing(tuple(sorted(sizes.items(), reverse=True)))


@predicts("moe", bins=(Binned("tokens", "tokens", EDGES), Binned("tp", "tp"), Binned("ep", "ep")))
class ExpertRows(ProductRows):
    """Layers of experts."""

    def format_of(self, row: int) -> str:
        """Number format, as the table names it."""
        return str(self.table.words["moe_dtype"][row])

    def estimate(self, product: ServedProduct, row: int) -> CallEstimate:
        """Time of a row by a profile."""
        numbers = {name: int(column[row]) for name, column in self.table.numbers.items()}
        experts, ranks, tokens = numbers["experts"], numbers["ep"], numbers["tokens"]
        if experts % ranks or numbers["inter"] % numbers["tp"]:
            raise UnsupportedRowError("experts or their width do not divide by the ranks")
        distribution = str(self.table.words["distribution"][row])
        routing = routed(tokens, experts, min(numbers["topk"], experts), ranks, distribution)
        inner, hidden = numbers["inter"] // numbers["tp"], numbers["hidden"]
        parts: tuple[Part, ...] = product.expert_parts(routing, hidden, inner, ceil_div(tokens, ranks), self.chip)
        weights = product.experts("up", routing, 3 * inner, hidden).weight_bytes
        return product.estimate_parts(parts, self.chip, warm=weights <= self.cache_bytes)
