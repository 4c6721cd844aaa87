"""Compress a video cache at a memory limit by temporal redundancy and value norm."""

from __future__ import annotations

import numpy as np

from algorithms.kv import (
    Array,
    KVCache,
    KVPolicy,
    LayerContext,
    Mask,
    PolicyState,
    Sizes,
    Step,
    Work,
    at_least,
    kv_policy,
    problems_to_error,
    ranking_work,
    top_mask,
)
from algorithms.kv.parts.frames import adaptive_pool
from hwmodels.reading.errors import Problem


@kv_policy("infinipot_v")
class InfiniPotV(KVPolicy):
    """InfiniPot-V (Kim et al. 2025, arXiv:2506.15745; aiha-lab/InfiniPot-V 81a4dbe).

    When more than `frames` frames are held behind the system prompt, the visual part shrinks to as many
    tokens as `frames` frames have. The newest ``int(held * query_ratio)`` frames stay whole. TaR: older keys
    least similar (mean cosine at the same patch) to those frames are added until `tar_ratio` of the budget
    is used. VaN: values with the largest norm fill the rest. Patches are told apart by rank in the cache, as
    in the published code, so after the first compression they are approximate.

    The published code fails when the newest frames alone exceed the TaR share; here they are then fewer.

    Parameters
    ----------
    frame
        Tokens per frame.
    frames
        Frames' worth of tokens kept; what fits in the budget when None.
    system
        Tokens before the first frame, always kept.
    tar_ratio, query_ratio
        Shares, see above.
    pooling
        Whether value norms are averaged over neighbours, less in higher layers.
    grid_rows
        Rows of patches per frame, for two-dimensional pooling.
    """

    example = "infinipot_v(frame=2,system=2)"
    needs = frozenset({"keys", "values", "grid"})
    synthetic_evaluable = False
    frame: int = 196
    frames: int | None = None
    system: int = 0
    tar_ratio: float = 0.5
    query_ratio: float = 0.25
    pooling: bool = False
    grid_rows: int = 14

    def __post_init__(self) -> None:
        problems = at_least(self, frame=1, frames=1, system=0, tar_ratio=0, query_ratio=0)
        for name in ("tar_ratio", "query_ratio"):
            if getattr(self, name) > 1:
                problems.append(Problem("must be at most 1", field=f"policy.infinipot_v.{name}"))
        if self.pooling and self.frame % self.grid_rows:
            problems.append(Problem("must divide frame", field="policy.infinipot_v.grid_rows"))
        problems_to_error(problems)

    def fixed_tokens(self) -> int | None:
        return None if self.frames is None else self.system + self.frames * self.frame

    def least_tokens(self) -> int:
        return self.system + self.frame

    @classmethod
    def sized(cls, sizes: Sizes) -> str:
        return f"{cls.name}(frame={sizes.frame})"

    def spare_tokens(self) -> int:
        return self.frame - 1

    def start(self, layer: LayerContext) -> PolicyState:
        return _InfiniPotState(self, layer)


class _InfiniPotState(PolicyState):
    policy: InfiniPotV

    def frames_kept(self, cache: KVCache) -> int:
        """Frames' worth of tokens that stay."""
        return max(1, (self.capacity(cache) - self.policy.system) // self.policy.frame)

    def allowance(self, cache: KVCache) -> int:
        # a frame that has not arrived whole is left alone
        return self.policy.system + (self.frames_kept(cache) + 1) * self.policy.frame - 1

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        p = self.policy
        held = (cache.count - p.system) // p.frame
        kept = self.frames_kept(cache)
        if held <= kept:
            return None
        whole = slice(p.system, p.system + held * p.frame)
        keys, values = cache.keys[:, whole], cache.values[:, whole]
        chosen = self._temporal(keys.astype(np.float64), held, kept)
        norms = np.linalg.norm(values.astype(np.float64), axis=-1)
        if p.pooling:
            norms = adaptive_pool(norms, self.layer, p.frame, p.grid_rows)
        lifted = np.where(chosen, norms.max() + 1, norms)
        self._charge(cache, held, kept)
        mask = np.ones((cache.heads, cache.count), bool)
        mask[:, whole] = top_mask(lifted, kept * p.frame)
        return mask

    def _temporal(self, keys: Array, held: int, kept: int) -> Mask:
        """Tokens that TaR secures `(heads, held * frame)`, the newest frames included."""
        p, heads = self.policy, keys.shape[0]
        total = kept * p.frame
        room = total - round((1 - p.tar_ratio) * kept * p.frame)
        recent = min(int(held * p.query_ratio), room // p.frame)
        chosen = np.zeros(keys.shape[:2], bool)
        if recent == 0:
            return chosen
        unit = keys / (np.linalg.norm(keys, axis=-1, keepdims=True) + 1e-9)
        unit = unit.reshape(heads, held, p.frame, -1)
        reference = unit[:, held - recent :].mean(1)
        novelty = -np.einsum("hftd,htd->hft", unit[:, : held - recent], reference).reshape(heads, -1)
        old = novelty.shape[1]
        chosen[:, :old] = top_mask(novelty, room - recent * p.frame)
        chosen[:, old:] = True
        return chosen

    def _charge(self, cache: KVCache, held: int, kept: int) -> None:
        p, shape = self.policy, self.layer.shape
        recent = int(held * p.query_ratio)
        tokens = held * p.frame
        macs = (held - recent) * recent * p.frame * shape.head_dim + tokens * shape.value_dim
        self.spend(
            Work(
                "temporal redundancy and value norms",
                macs=cache.heads * macs,
                read_bytes=cache.heads * tokens * shape.token_bytes,
            )
        )
        self.spend(ranking_work("choose tokens", cache.heads, tokens, kept * p.frame, "after", "none"))
