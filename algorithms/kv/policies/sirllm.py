"""Keep the tokens that carried most information when they came."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    SCORE_BYTES,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    PolicyState,
    Step,
    at_least,
    kv_policy,
    newest,
    oldest,
    problems_to_error,
    ranking_work,
    top_mask,
)
from hwmodels.reading.errors import InputError, Problem


@kv_policy("sirllm")
class SirLLM(KVPolicy):
    """SirLLM (Yao et al. 2024, arXiv:2405.12528; Zoeyyao27/SirLLM 4c95578).

    Before `m` tokens arrive that would not fit, room is made: the first `sink` tokens, the `entropy - m`
    tokens with the highest self-information, and then the newest until `sink + recent + entropy - m` are
    kept, the same for all heads and layers. The self-information of a token is its `-log p` under the
    language head; a stream without it cannot be run.

    Parameters
    ----------
    sink, recent
        First and newest tokens; `recent` only adds to the size, as in the published code.
    entropy
        Size of the entropy list; the rest of the budget when None.
    decay
        Factor on all stored values every time room is made (0.7, 0.9 or 1 in the paper's tasks).
    """

    example = "sirllm(sink=2)"
    needs = frozenset({"logits"})
    heads = "model"
    sink: int = 4
    recent: int = 0
    entropy: int | None = None
    decay: float = 1.0

    def __post_init__(self) -> None:
        problems = at_least(self, sink=0, recent=0, entropy=1, decay=0)
        if self.decay > 1:
            problems.append(Problem(f"must be at most 1 (got {self.decay})", field="policy.sirllm.decay"))
        problems_to_error(problems)

    def fixed_tokens(self) -> int | None:
        return None if self.entropy is None else self.sink + self.recent + self.entropy

    def least_tokens(self) -> int:
        return self.sink + self.recent + 1

    def start(self, layer: LayerContext) -> PolicyState:
        return _SirState(self, layer)


class _SirState(PolicyState):
    policy: SirLLM

    def make_room(self, step: Step, cache: KVCache) -> Mask | None:
        capacity = self.capacity(cache)
        if cache.count + step.tokens <= capacity:
            return None
        return self._keep(cache, step.tokens, capacity)

    def _keep(self, cache: KVCache, coming: int, capacity: int) -> Mask:
        stored = self.column(cache, "information")
        listed = capacity - self.policy.sink - self.policy.recent - coming
        chosen = top_mask(np.asarray(stored[:1]), max(0, listed)) | oldest(cache, self.policy.sink)[:1]
        self.spend(ranking_work("choose tokens", 1, cache.count, max(1, listed), "before", "host"))
        room = max(0, capacity - coming)
        if chosen.sum() > room:
            chosen = chosen & top_mask(np.where(chosen, np.arange(cache.count, dtype=float), -np.inf), room)
        missing = room - int(chosen.sum())
        if missing > 0:
            chosen[0, np.flatnonzero(~chosen[0])[-missing:]] = True
        stored *= self.policy.decay
        return chosen

    def append(self, step: Step, cache: KVCache) -> None:
        if step.information is None:
            raise InputError(Problem("sirllm needs the self-information of tokens, which this stream does not have"))
        self.column(cache, "information")[:, cache.count - step.tokens :] = step.information

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        capacity = self.capacity(cache)
        # only when more tokens came at once than the whole cache holds
        return newest(cache, capacity) if cache.count > capacity else None

    def state_bytes(self, cache: KVCache) -> float:
        return float(cache.count) * 2 * SCORE_BYTES / self.layer.shape.layers
