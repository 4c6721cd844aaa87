"""How tokens were routed to the experts of the rank that was timed (collector/helper.py of ai-dynamo/aiconfigurator).

``balanced`` tokens go to experts at even distances. ``power_law_A`` draws tokens per expert from a power law with
exponent A, none above all tokens, puts the busiest rank first, and deals its experts' tokens out one expert after the
other. Draws are not published, so that the mean of others is taken. What reaches a kernel differs by how it was called:

- ``masked``: all tokens enter the layer, which leaves out experts of other ranks;
- ``grouped``: the same, but the layer's own router picks groups of experts first (DeepSeek-V3, arXiv:2412.19437,
  section 2.1.2). Routers see only chosen or not chosen, so that ties are many and go to the lowest experts of rank 0;
- ``collapsed``: tokens without any expert here are left out, and experts of other ranks count as the first one
  (collect_moe.py of the collector for sglang clamps their number to 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from algorithms.chip.layers.grouped import Routing
from algorithms.rounding import ceil_div
from studies.validate.measured.rows.prediction import UnsupportedRowError

DRAWS, SEED = 5, 0
"""Of a power law, as many as are timed."""
MOST_SIZES = 12
"""Different numbers of tokens per expert that are told apart."""
SKEWED = "power_law_"
GROUPS, CHOSEN_GROUPS, OF_GROUP = 8, 4, 2
"""Of DeepSeek-V3's router: groups, how many of them a token takes, and experts whose scores add up to a group's."""
Reaching = Literal["masked", "grouped", "collapsed"]
Counts = NDArray[np.float64]
Chosen = NDArray[np.int64]


@dataclass(frozen=True)
class Load:
    """What the timed rank is given.

    Parameters
    ----------
    routing
        Tokens of its experts.
    tokens
        That enter the layer, whether they have an expert here or not.
    """

    routing: Routing
    tokens: int


@lru_cache(maxsize=4096)
def load_of(
    tokens: int, experts: int, chosen: int, ranks: int, distribution: str, reaching: Reaching = "masked"
) -> Load:
    """What the timed one of ``ranks`` gets of ``tokens`` that take ``chosen`` of ``experts`` each.

    Raises
    ------
    UnsupportedRowError
        A distribution that is not known.
    """
    local = experts // ranks
    found, entering = [], []
    for draw in range(1 if distribution == "balanced" else DRAWS):
        taken = _taken(tokens, experts, chosen, ranks, distribution, draw)
        if reaching == "grouped":
            taken = _grouped(taken, experts)
        counts = np.bincount(taken[taken < local], minlength=local).astype(np.float64)
        here = tokens
        if reaching == "collapsed" and ranks > 1:
            here = int((taken < local).any(axis=1).sum())
            counts[0] += here * chosen - counts.sum()
        found.append(np.sort(counts)[::-1])
        entering.append(here)
    return Load(_counted(np.mean(found, axis=0)), max(round(float(np.mean(entering))), 1))


def _taken(tokens: int, experts: int, chosen: int, ranks: int, distribution: str, draw: int) -> Chosen:
    """Experts of every token `(tokens, chosen)`, no two the same."""
    if distribution == "balanced":
        apart = ceil_div(experts, chosen)
        token = np.arange(tokens)[:, None] * (1.0 if tokens >= apart else apart / tokens)
        return np.asarray((token + np.arange(chosen) * apart) % experts, np.int64)
    counts = _drawn(tokens, experts, chosen, ranks, _exponent(distribution), draw)
    most_first = np.argsort(-counts, kind="stable")
    return np.repeat(most_first, counts[most_first]).reshape(chosen, tokens).T


def _exponent(distribution: str) -> float:
    try:
        if distribution.startswith(SKEWED):
            return float(distribution.removeprefix(SKEWED))
    except ValueError:
        pass
    raise UnsupportedRowError(f"routing {distribution!r} is not known")


def _drawn(tokens: int, experts: int, chosen: int, ranks: int, exponent: float, draw: int) -> Chosen:
    """Tokens of each expert, those of the busiest rank first, `(experts,)`."""
    generator = np.random.default_rng((SEED, draw))
    low, high = (1.0, 0.8 * tokens) if tokens * chosen > experts else (0.01, 2.0)
    power = 1 - exponent
    sizes = ((high**power - low**power) * generator.random(experts) + low**power) ** (1 / power)
    counts = np.minimum(np.rint(sizes / sizes.sum() * tokens * chosen).astype(np.int64), tokens)
    groups = counts.reshape(ranks, -1)
    missing = tokens * chosen - int(groups.sum())
    while missing:
        step = 1 if missing > 0 else -1
        for rank in range(ranks):
            share = abs(missing) // (ranks - rank)
            _evened(groups[rank], share, step, tokens)
            missing -= step * share
        missing = tokens * chosen - int(groups.sum())
    busiest = int(groups.sum(axis=1).argmax())
    groups[[0, busiest]] = groups[[busiest, 0]]
    return np.asarray(groups.ravel(), np.int64)


def _evened(counts: Chosen, times: int, step: int, most: int) -> None:
    """Add one to the smallest (or take one off the largest, by a negative ``step``) so many times, in place."""
    while times:
        edge, end = (counts.min(), most) if step > 0 else (counts.max(), 0)
        if edge == end:
            return
        others = counts[counts != edge]
        until = end if not len(others) else others.min() if step > 0 else others.max()
        same = np.flatnonzero(counts == edge)[:times]
        high = min(abs(int(until - edge)), times // len(same))
        counts[same] += step * high
        times -= high * len(same)


def _grouped(taken: Chosen, experts: int) -> Chosen:
    """What a router of groups makes of `taken`: the groups with most of them, then others of these groups."""
    tokens, chosen = taken.shape
    size = experts // GROUPS
    group = taken // size
    weight = np.zeros((tokens, GROUPS), np.int64)
    np.add.at(weight, (np.arange(tokens)[:, None], group), 1)
    kept = np.argsort(-np.minimum(weight, OF_GROUP), axis=1, kind="stable")[:, :CHOSEN_GROUPS]
    inside = (group[:, :, None] == kept[:, None, :]).any(axis=2)
    first = kept.min(axis=1)
    # what is still missing are the lowest experts of the lowest group that were not taken already
    lowest = np.zeros((tokens, size), bool)
    rows, places = np.nonzero(group == first[:, None])
    lowest[rows, taken[rows, places] % size] = True
    missing = chosen - inside.sum(axis=1)
    filled = ~lowest & (np.cumsum(~lowest, axis=1) <= missing[:, None])
    out = np.where(inside, taken, -1)
    out[~inside] = (np.nonzero(filled)[1] + size * np.repeat(first, missing))[: int((~inside).sum())]
    return out


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
