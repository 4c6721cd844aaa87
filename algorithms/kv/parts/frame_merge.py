"""Memories of whole frames that shrink by averaging two frames into one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from algorithms.kv.cache import Array, KVCache
from algorithms.kv.checks import at_least, problems_to_error
from algorithms.kv.cost import Work
from algorithms.kv.layer import HeadScope, Need
from algorithms.kv.policy import KVPolicy, PolicyState
from algorithms.kv.ranking import Mask
from algorithms.kv.step import Step


@dataclass(frozen=True)
class FrameMerge(KVPolicy):
    """A bank of frames: the newest whole, older ones merged.

    Parameters
    ----------
    frame
        Tokens per frame.
    short
        Newest frames, never merged.
    long
        Merged frames kept; what fits in the budget when None.
    count_bias
        Whether a merged token counts in the softmax as often as tokens were merged into it.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"keys", "values", "grid"})
    heads: ClassVar[HeadScope] = "layer"
    frame: int = 196
    short: int = 4
    long: int | None = None
    count_bias: bool = False

    def __post_init__(self) -> None:
        problems_to_error(at_least(self, frame=1, short=1, long=2))

    def fixed_tokens(self) -> int | None:
        return None if self.long is None else (self.short + self.long) * self.frame

    def spare_tokens(self) -> int:
        return self.frame - 1

    def least_tokens(self) -> int:
        return (self.short + 2) * self.frame


class FrameMergeState(PolicyState):
    """State of a frame bank; subclasses choose the pair to merge."""

    policy: FrameMerge

    def pair(self, likeness: Array, long_frames: int) -> tuple[int, int]:
        """Two of the first `long_frames` frames, the earlier first, from `likeness` `(frames, frames)`."""
        raise NotImplementedError

    def frames_kept(self, cache: KVCache) -> int:
        """Frames that fit."""
        return max(self.policy.short + 2, self.capacity(cache) // self.policy.frame)

    def allowance(self, cache: KVCache) -> int:
        # a frame that has not arrived whole is left alone
        return (self.frames_kept(cache) + 1) * self.policy.frame - 1

    def append(self, step: Step, cache: KVCache) -> None:
        self.column(cache, "count", 1.0)

    def keep(self, step: Step, cache: KVCache) -> Mask | None:
        frame = self.policy.frame
        frames, kept = cache.count // frame, self.frames_kept(cache)
        if frames <= kept:
            return None
        whole = frames * frame
        shape = (cache.heads, frames, frame)
        keys = np.array(cache.keys[:, :whole], np.float64).reshape(*shape, -1)
        values = np.array(cache.values[:, :whole], np.float64).reshape(*shape, -1)
        counts = np.array(self.column(cache, "count", 1.0)[:, :whole]).reshape(shape)
        alive = list(range(frames))
        changed = np.zeros(frames, bool)
        directions = _directions(keys)
        likeness = directions @ directions.T
        while len(alive) > kept:
            first, second = self._merge_one(keys, values, counts, alive, likeness)
            directions[first] = _directions(keys[:, first : first + 1])
            likeness[first] = likeness[:, first] = directions @ directions[first]
            changed[first] = True
            alive.remove(second)
        self._write(cache, keys, values, counts, changed & np.isin(np.arange(frames), alive))
        mask = np.ones((1, cache.count), bool)
        mask[0, :whole] = np.repeat(np.isin(np.arange(frames), alive), frame)
        return mask

    def _merge_one(
        self, keys: Array, values: Array, counts: Array, alive: list[int], likeness: Array
    ) -> tuple[int, int]:
        long_frames = len(alive) - self.policy.short
        older = alive[:long_frames]
        one, other = self.pair(likeness[np.ix_(older, older)], long_frames)
        first, second = alive[one], alive[other]
        total = counts[:, first] + counts[:, second]
        share = (counts[:, first] / total)[..., None]
        for rows in (keys, values):
            rows[:, first] = share * rows[:, first] + (1 - share) * rows[:, second]
        counts[:, first] = total
        self._charge(long_frames)
        return first, second

    def _write(self, cache: KVCache, keys: Array, values: Array, counts: Array, changed: Mask) -> None:
        """Store merged frames in the place of their first one."""
        frame, heads = self.policy.frame, cache.heads
        where = np.zeros((heads, cache.count), bool)
        where[:, : changed.size * frame] = np.repeat(changed, frame)
        cache.replace(
            where,
            keys[:, changed].reshape(-1, keys.shape[-1]),
            values[:, changed].reshape(-1, values.shape[-1]),
        )
        self.column(cache, "count", 1.0)[where] = counts[:, changed].ravel()
        if self.policy.count_bias:
            cache.column("bias")[where] = np.log(counts[:, changed]).ravel()

    def _charge(self, long_frames: int) -> None:
        shape, frame = self.layer.shape, self.policy.frame
        tokens = shape.kv_heads * frame
        self.spend(
            Work(
                "merge frames",
                macs=tokens * (long_frames * shape.head_dim + 2 * (shape.head_dim + shape.value_dim)),
                compares=long_frames,
                read_bytes=tokens * (long_frames * shape.key_bytes + 2 * shape.token_bytes),
                write_bytes=tokens * shape.token_bytes,
                serial_depth=max(1, long_frames - 1).bit_length(),
                barrier="layer",
            )
        )

    def state_bytes(self, cache: KVCache) -> float:
        return cache.count / self.policy.frame * 4


def _directions(keys: Array) -> Array:
    """Unit keys of each frame in one row: `(frames, heads * tokens * dim)` from `(heads, frames, tokens, dim)`."""
    unit = keys / np.maximum(np.linalg.norm(keys, axis=-1, keepdims=True), 1e-12)
    rows: Array = unit.swapaxes(0, 1).reshape(keys.shape[1], -1)
    return rows
