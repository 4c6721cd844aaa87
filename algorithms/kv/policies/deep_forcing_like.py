"""Deep sinks and participative compression, for caches of video diffusion."""

from __future__ import annotations

from algorithms.kv import (
    Array,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    ScoreState,
    Step,
    Work,
    at_least,
    group_reduce,
    kv_policy,
    newest,
    oldest,
    problems_to_error,
)
from algorithms.kv.parts.window import RecentQueries
from hwmodels.reading.errors import Problem


@kv_policy("deep_forcing_like")
class DeepForcingLike(KVPolicy):
    """Modelled after Deep Forcing (Yi et al. 2025, arXiv:2512.05081): a deep sink and the best of the rest.

    From the abstract: about half of the window is a permanent sink of first-frame tokens whose temporal
    phase is moved to the present in every step, and the middle is cut to the tokens that recent queries
    attend most. Assumed here, because the paper's sizes were not found: the share of the recent part, the
    number of observing queries, and that scores are probabilities summed over those queries and averaged
    over a group.

    Parameters
    ----------
    tokens
        Keys kept; the budget when None.
    sink_share, recent_share
        Shares of the kept keys that are the first and the newest.
    queries
        Recent queries that score.
    """

    example = "deep_forcing_like(queries=3)"
    needs = frozenset({"window_probs"})
    tokens: int | None = None
    sink_share: float = 0.5
    recent_share: float = 0.25
    queries: int = 16

    def __post_init__(self) -> None:
        problems = at_least(self, tokens=4, sink_share=0, recent_share=0, queries=1)
        if self.sink_share + self.recent_share > 1:
            problems.append(Problem("sink_share and recent_share exceed 1", field="policy.deep_forcing_like"))
        problems_to_error(problems)

    def fixed_tokens(self) -> int | None:
        return self.tokens

    def least_tokens(self) -> int:
        return 4

    def start(self, layer: LayerContext) -> ScoreState:
        return _DeepForcingState(self, layer)


class _DeepForcingState(ScoreState):
    policy: DeepForcingLike

    def __init__(self, policy: DeepForcingLike, layer: LayerContext) -> None:
        super().__init__(policy, layer)
        self._recent = RecentQueries(policy.queries)

    def append(self, step: Step, cache: KVCache) -> None:
        self._recent.add(step)
        sink = min(int(self.policy.sink_share * self.capacity(cache)), cache.count)
        shape = self.layer.shape
        self.spend(Work("re-align sinks", macs=2 * shape.kv_heads * sink * shape.head_dim, moment="fused"))

    def score(self, step: Step, cache: KVCache) -> Array:
        self.spend(self._recent.work(self.layer, cache))
        return group_reduce(self._recent.probabilities(cache), cache.heads, "mean")

    def protected(self, step: Step, cache: KVCache) -> Mask:
        capacity = self.capacity(cache)
        recent = max(1, int(self.policy.recent_share * capacity))
        return oldest(cache, int(self.policy.sink_share * capacity)) | newest(cache, recent)
